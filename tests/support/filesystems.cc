#include "tests/support/filesystems.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"

namespace dupengine::test {
namespace {

void write_file(const std::string& path, std::uint64_t size_bytes, std::uint64_t seed, ByteOffset at = 0) {
    const Fd fd = open_path(path, O_WRONLY | O_CREAT, Code::kInternal);
    Bytes content(size_bytes);
    fill_pattern(content, seed);
    pwrite_exact(fd.get(), at, content, Code::kInternal, path);
}

}  // namespace

std::string make_tree(const ScratchFolder& scratch, const std::string& name, std::uint64_t seed) {
    SeededRandom random(seed);
    const std::string root = scratch.file(name);
    const auto in = [&](const std::string& leaf) { return root + "/" + leaf; };
    std::filesystem::create_directories(in("deep/er/still"));
    std::filesystem::create_directories(in("many"));
    write_file(in("empty"), 0, 0);
    write_file(in("one byte"), 1, seed);
    write_file(in("deep/er/still/large"), 3 * kMiB + random.below(2 * kMiB), seed + 1);
    for (ByteOffset at = 64 * kKiB; at < 2 * kMiB; at += 256 * kKiB)
        write_file(in("sparse"), 5000, seed + at, at);
    for (unsigned i = 0; i < 150; ++i)
        write_file(in(fmt::format("many/file with a rather long name {}", i)), random.below(9000), seed + i);
    std::filesystem::create_symlink("deep/er", in("short link"));
    std::filesystem::create_symlink(std::string(200, 'x'), in("long link"));
    return root;
}

std::string make_ext(const ScratchFolder& scratch, const std::string& name, std::uint64_t size_bytes,
                     const std::vector<std::string>& arguments, const std::string& tree) {
    const std::string image = scratch.sparse_file(name, size_bytes);
    std::vector<std::string> argv = {"mke2fs", "-q", "-F"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    if (!tree.empty()) argv.insert(argv.end(), {"-d", tree});
    argv.push_back(image);
    must_run(argv);
    return image;
}

Look look_at(const std::string& image) {
    const auto reader = block::open_source(image);
    Look look;
    look.signature = layout::probe_signature(*reader);
    look.used = layout::find_used_extents(*reader, look.signature);
    return look;
}

layout::UsedExtents used_as(const block::Reader& part, const std::string& type) {
    layout::Signature signature;
    signature.type = type;
    return layout::find_used_extents(part, signature);
}

void rebuild(const std::string& image, const layout::UsedExtents& used, std::byte fill,
             const std::string& path) {
    const auto reader = block::open_source(image);
    const std::uint64_t size = reader->geometry().size_bytes;
    const Fd fd = open_path(path, O_RDWR | O_CREAT | O_TRUNC, Code::kInternal);
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw_errno(Code::kInternal, errno, "{}", path);
    constexpr std::uint64_t kStep = kMiB;
    const Bytes filler(kStep, fill);
    if (fill != std::byte{0})
        for (ByteOffset at = 0; at < size; at += kStep)
            pwrite_exact(fd.get(), at, std::span(filler).first(std::min(kStep, size - at)), Code::kInternal,
                         path);
    for (block::Extent extent : used.blank)
        for (ByteOffset at = extent.begin; at < extent.end; at += kStep)
            pwrite_exact(fd.get(), at, Bytes(std::min(kStep, extent.end - at)), Code::kInternal, path);
    for (block::Extent extent : used.used)
        for (ByteOffset at = extent.begin; at < extent.end; at += kStep) {
            const Bytes bytes = block::read_extent(*reader, {at, std::min(at + kStep, extent.end)});
            pwrite_exact(fd.get(), at, bytes, Code::kInternal, path);
        }
}

void extract_ext(const std::string& image, const std::string& folder) {
    std::filesystem::create_directories(folder);
    must_run({"debugfs", "-R", "rdump / " + folder, image});
    std::filesystem::remove_all(folder + "/lost+found");
}

std::uint64_t dumpe2fs_number(const std::string& image, const std::string& field) {
    const std::string text = must_run({"dumpe2fs", "-h", image});
    const std::size_t at = text.find("\n" + field + ":");
    if (at == std::string::npos) throw_error(Code::kInternal, "dumpe2fs says nothing of {}", field);
    return std::stoull(text.substr(at + field.size() + 2));
}

}  // namespace dupengine::test
