#include "tests/support/tar_image.h"

#include <fcntl.h>

#include <algorithm>

#include "base/fd.h"
#include "image/tar.h"

namespace dupengine::test {
namespace {

class MemoryOutput final : public image::TarOutput {
  public:
    explicit MemoryOutput(Bytes& bytes) : bytes_(bytes) {}
    void append(std::span<const std::byte> bytes) override {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    void commit() override {}

  private:
    Bytes& bytes_;
};

void copy_chunks(const Bytes& disk, std::uint64_t chunk, std::span<std::byte> buffer) {
    const std::size_t begin = chunk * image::kChunkBytes;
    const auto part = std::span(disk).subspan(begin, std::min(buffer.size(), disk.size() - begin));
    std::ranges::fill(buffer, std::byte{0});
    std::ranges::copy(part, buffer.begin());
}

}  // namespace

Bytes make_tar_image(const TarImageRecipe& recipe) {
    image::Manifest draft;
    draft.name = recipe.name;
    draft.created = 1;
    draft.source = "a test";
    draft.size_bytes = recipe.disk.size();
    draft.table = "none";
    image::TarImageWriter writer(draft, block::ExtentSet{{0, recipe.disk.size()}}, recipe.first,
                                 recipe.most_known);
    Bytes chunk(image::kChunkBytes), disk = recipe.disk, tar;
    for (std::uint64_t i = 0; i * chunk.size() < disk.size(); ++i) {
        copy_chunks(disk, i, chunk);
        writer.put(i, chunk);
    }
    if (recipe.change) recipe.change(disk);
    MemoryOutput output(tar);
    writer.write([&](std::uint64_t first, std::span<std::byte> bytes) { copy_chunks(disk, first, bytes); },
                 recipe.sign, output, [] {});
    return tar;
}

std::vector<TarEntry> read_tar(std::span<const std::byte> tar) {
    bool is_read = false;
    image::TarScanner scanner(
        {[&] { return std::exchange(is_read, true) ? std::span<const std::byte>() : tar; }, {}}, "a tar");
    std::vector<TarEntry> entries;
    while (const auto entry = scanner.next()) {
        entries.push_back({entry->file, Bytes(entry->size_bytes), entry->offset - 512});
        scanner.read(entries.back().content);
    }
    return entries;
}

Bytes write_tar(const std::vector<TarEntry>& entries) {
    Bytes tar;
    image::TarWriter writer(
        [&](std::span<const std::byte> bytes) { tar.insert(tar.end(), bytes.begin(), bytes.end()); }, 1);
    for (const TarEntry& entry : entries)
        writer.add(entry.file, entry.content);
    writer.finish();
    return tar;
}

void write_file(const std::string& path, std::span<const std::byte> content) {
    const Fd fd = open_path(path, O_WRONLY | O_CREAT | O_TRUNC, Code::kInternal);
    pwrite_exact(fd.get(), 0, content, Code::kInternal, path);
}

}  // namespace dupengine::test
