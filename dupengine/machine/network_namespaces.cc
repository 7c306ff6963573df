#include "machine/network_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/error.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;
constexpr const char* kOwn = "/proc/thread-self/ns/net";

class Found {
  public:
    // What is gone meanwhile is no namespace of this machine any more.
    void add(const std::string& path, const std::string& name) {
        Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        struct stat st {};
        if (!fd.valid() || ::fstat(fd.get(), &st) != 0 || !known_.insert(st.st_ino).second) return;
        all_.push_back(
            std::make_shared<const NetworkNamespace>(NetworkNamespace{name, st.st_ino, std::move(fd)}));
    }
    std::vector<NamespacePointer> take() { return std::move(all_); }
    bool empty() const { return all_.empty(); }

  private:
    std::set<std::uint64_t> known_;
    std::vector<NamespacePointer> all_;
};

bool is_number(const std::string& text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void add_of_processes(Found& found) {
    std::error_code gone;
    for (fs::directory_iterator process("/proc", gone), end; process != end; process.increment(gone)) {
        if (!is_number(process->path().filename())) continue;
        std::error_code ended;
        for (fs::directory_iterator task(process->path() / "task", ended), last; task != last;
             task.increment(ended)) {
            found.add(task->path() / "ns/net", "of process " + process->path().filename().string());
            if (ended) break;
        }
        if (gone) break;
    }
}

// ID PARENT MAJOR:MINOR ROOT POINT ...; ROOT of a namespace is "net:[4026531840]". Spaces of a point are
// \040.
void add_of_mounts(Found& found) {
    std::ifstream mounts("/proc/thread-self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream fields(line);
        std::string id, parent, device, root, point;
        fields >> id >> parent >> device >> root >> point;
        if (!root.starts_with("net:[")) continue;
        for (std::size_t at = 0; (at = point.find("\\040", at)) != std::string::npos;)
            point.replace(at, 4, " ");
        found.add(point, point);
    }
}

}  // namespace

std::vector<NamespacePointer> find_network_namespaces() {
    Found found;
    found.add(kOwn, "");
    if (found.empty())
        throw_errno(Code::kUnsupported, errno, "{}: cannot be opened; is /proc mounted?", kOwn);
    add_of_mounts(found);
    add_of_processes(found);
    return found.take();
}

InsideNamespace::InsideNamespace(const NetworkNamespace& where)
    : before_(open_path(kOwn, O_RDONLY, Code::kUnsupported)) {
    if (::setns(where.fd.get(), CLONE_NEWNET) != 0)
        throw_errno(Code::kUnsupported, errno, "the network namespace {} cannot be entered", where.name);
}

InsideNamespace::~InsideNamespace() {
    if (::setns(before_.get(), CLONE_NEWNET) != 0) std::abort();
}

}  // namespace dupengine::machine
