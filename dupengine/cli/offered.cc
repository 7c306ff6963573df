#include "cli/offered.h"

namespace dupengine::cli {

OfferedSource::OfferedSource(std::string name, const std::string& endpoint, const CopyArguments& arguments)
    : name_(std::move(name)),
      source_(endpoint, arguments.trust, arguments.peers),
      notes_(engine::refuse_if_changing(source_.local_path(), arguments.busy())),
      is_busy_(!notes_.empty()) {
    if (source_.remote() != nullptr)
        throw_error(Code::kUsage, "{}: is at another machine already; one end has to be here", endpoint);
    if (!is_busy_) source_.take_alone();
    source_.take_whole();
}

wire::OfferedDisk OfferedSource::disk() const {
    wire::OfferedDisk disk{name_, source_.reader()};
    disk.is_busy = is_busy_ && !source_.local_path().empty();
    if (disk.is_busy) return disk;
    disk.could_change_unseen = source_.could_change_unseen();
    disk.change = [this] { return source_.change(); };
    disk.state = [this] { return source_.state(); };
    return disk;
}

}  // namespace dupengine::cli
