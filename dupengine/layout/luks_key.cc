#include "layout/luks_key.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>

#include "base/fd.h"
#include "layout/luks_memory.h"
#include "layout/luks_reader.h"

namespace dupengine::layout {

Secret read_key_file(const std::string& path) {
    constexpr std::size_t kLargest = 8 * kMiB;
    const Fd fd = open_path(path, O_RDONLY, Code::kRefused);
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be examined", path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || static_cast<std::uint64_t>(st.st_size) > kLargest)
        throw_error(Code::kRefused, "{}: is no key file: a regular file of 1 byte to 8 MiB", path);
    forbid_core_dumps();
    Secret key(static_cast<std::size_t>(st.st_size));
    pread_exact(fd.get(), 0, key.all(), Code::kRefused, path);
    return key;
}

bool is_key_file_loose(const std::string& path) {
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

Plaintext LuksKeys::find(const block::Reader& part, const LuksHeader& header) {
    Plaintext open = first_.find(part, header);
    if (open.reader != nullptr) return open;
    LuksInMemory copy = LuksInMemory::copy_of(part, header);
    for (const Secret& key : keys_) {
        std::optional<Secret> volume_key = copy.unlock(key);
        if (!volume_key) continue;
        if (header.cipher != kUnderstoodCipher)
            return {nullptr, fmt::format("encrypted with {}, which is not understood", header.cipher)};
        auto payload = std::make_shared<block::Window>(part, header.payload, part.name());
        return {std::make_unique<LuksReader>(std::move(payload), header, std::move(*volume_key),
                                             LuksReader::Direction::kDecrypt, part.name() + ", decrypted"),
                "opened with the key"};
    }
    throw_error(Code::kRefused, "{}: no key that was given opens this LUKS{} container", part.name(),
                header.version);
}

}  // namespace dupengine::layout
