#include "layout/open_mappings.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "layout/storage_lineage.h"

namespace dupengine::layout {
namespace {

// What the descriptor of a part reads.
std::optional<block::PathIdentity> identity_of(int fd) {
    struct stat st {};
    if (fd < 0 || ::fstat(fd, &st) != 0) return std::nullopt;
    if (S_ISBLK(st.st_mode)) return block::PathIdentity{true, st.st_rdev, 0};
    return block::PathIdentity{false, st.st_dev, st.st_ino};
}

// "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-NAME" is how cryptsetup calls its mappings.
bool is_made_from(const std::string& mapping_uuid, const LuksHeader& header) {
    std::string plain = header.uuid;
    plain.erase(std::remove(plain.begin(), plain.end(), '-'), plain.end());
    return mapping_uuid.starts_with(fmt::format("CRYPT-LUKS{}-{}-", header.version, plain));
}

}  // namespace

OpenMappings::OpenMappings(For purpose, const SystemRoots& roots)
    : OpenMappings(purpose, roots, [control = roots.dev + "/mapper/control"](DeviceNumber mapped) {
          return ask_crypt_table(control, mapped);
      }) {}

OpenMappings::OpenMappings(For purpose, const SystemRoots& roots, AskTable ask)
    : purpose_(purpose), roots_(roots), ask_(std::move(ask)) {}

std::optional<DeviceNumber> OpenMappings::mapping_on(const block::Reader& part,
                                                     const BlockGraph& graph) const {
    const auto asked = identity_of(part.native_fd());
    if (!asked) return std::nullopt;
    for (const DeviceNumber mapped : graph.mapped_devices()) {
        const std::vector<DeviceNumber> slaves = graph.slaves(mapped);
        if (slaves.size() != 1 || !graph.attribute(mapped, "dm/uuid").starts_with("CRYPT-")) continue;
        const std::vector<Place> places = lineage({true, slaves.front(), 0}, graph, Mapped::kStop);
        const bool is_here = std::any_of(places.begin(), places.end(), [&](const Place& place) {
            return place.where == *asked && place.range.begin == part.native_offset();
        });
        if (is_here) return mapped;
    }
    return std::nullopt;
}

Plaintext OpenMappings::find(const block::Reader& part, const LuksHeader& header) {
    const BlockGraph graph(roots_);
    const auto mapped = mapping_on(part, graph);
    if (!mapped) return {nullptr, "closed"};
    const std::string name = graph.attribute(*mapped, "dm/name");
    const auto table = ask_(*mapped);
    const CryptTable wanted{graph.slaves(*mapped).front(), header.payload.begin, header.sector_bytes};
    if (!is_made_from(graph.attribute(*mapped, "dm/uuid"), header) || table != wanted)
        return {nullptr, fmt::format("open as {}, but not as its header says", name)};
    return open(name, roots_.dev + "/" + graph.kernel_name(*mapped));
}

std::string OpenMappings::open_without_header(const block::Reader& part) {
    const BlockGraph graph(roots_);
    const auto mapped = mapping_on(part, graph);
    // Others are plain dm-crypt (swap with a random key), BitLocker, VeraCrypt.
    if (!mapped || !graph.attribute(*mapped, "dm/uuid").starts_with("CRYPT-LUKS")) return "";
    return graph.attribute(*mapped, "dm/name");
}

Plaintext OpenMappings::open(const std::string& name, const std::string& node) {
    Plaintext found{block::open_source(node), "open as " + name};
    if (purpose_ == For::kLook) return found;
    const int alone = ::open(node.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
    if (alone >= 0) held_.emplace_back(alone);
    if (::fsync(found.reader->native_fd()) != 0)
        throw_errno(Code::kSourceIo, errno, "{}: what was written to it cannot be brought to its disk", node);
    return found;
}

}  // namespace dupengine::layout
