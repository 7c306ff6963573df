#include "tests/support/faulty_disk.h"

#include <fcntl.h>

#include <filesystem>

#include "base/fd.h"

namespace dupengine::test {

FaultyDisk::FaultyDisk(const ScratchFolder& folder, const std::string& file, const Fault& fault)
    : pid_file_(folder.file("faulty.pid")) {
    const std::string mount = folder.file("faulty.export");
    if (!std::filesystem::exists(mount))
        static_cast<void>(Fd(open_path(mount, O_RDWR | O_CREAT, Code::kInternal)));
    std::string node = fmt::format(
        "driver=blkdebug,node-name=disk,image.driver=file,image.filename={},image.cache.direct=off", file);
    int rule = 0;
    for (const auto& [wanted, iotype] :
         {std::pair{fault.on_read, "read"}, std::pair{fault.on_write, "write"}})
        if (wanted)
            node += fmt::format(
                ",inject-error.{0}.event=none,inject-error.{0}.iotype={1},inject-error.{0}.sector={2},"
                "inject-error.{0}.errno=5,inject-error.{0}.once=off",
                rule++, iotype, fault.sector);
    must_run({"qemu-storage-daemon", "--blockdev", node, "--export",
              fmt::format("type=fuse,id=export,node-name=disk,mountpoint={},writable=on", mount),
              "--daemonize", "--pidfile", pid_file_});
    loop_ = std::make_unique<LoopDevice>(mount);
}

FaultyDisk::~FaultyDisk() {
    loop_.reset();
    try {
        const std::string pid = read_file(pid_file_, Code::kInternal);
        run_program({"sh", "-c", "kill $1; while kill -0 $1 2>/dev/null; do sleep 0.02; done", "sh",
                     pid.substr(0, pid.find('\n'))});
    } catch (const std::exception&) {
        // The daemon is gone already; nothing is left to stop.
    }
}

}  // namespace dupengine::test
