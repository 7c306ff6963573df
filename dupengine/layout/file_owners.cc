#include "layout/file_owners.h"

namespace dupengine::layout {

FileOwners find_file_owners(const block::Reader& part, const std::optional<Signature>& signature,
                            const block::ExtentSet& places) {
    FileOwners none;
    none.other_bytes = places.total_bytes();
    if (!signature) {
        none.reason = "no filesystem is recognised here";
        return none;
    }
    const std::string& type = signature->type;
    if (type != "ext2" && type != "ext3" && type != "ext4") {
        none.reason = fmt::format("files of {} are not looked up", type);
        return none;
    }
    try {
        return ext_file_owners(part, places);
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        none.reason = fmt::format("{}: {}", type, e.what());
        return none;
    }
}

}  // namespace dupengine::layout
