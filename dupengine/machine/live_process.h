#pragma once
// The process that looks at this machine's memory, and brings all of it to rest for a moment. It is a child
// of the command with a single thread, started before there are others, because everything else is frozen in
// that moment: processes with what they have locked, and the command's own threads, too. It does what it is
// told, one thing at a time.
//
//     begin_pass, next ...     passes over memory (memory_passes.h)
//     black_out                participants prepared -> processes frozen -> filesystems frozen -> gate closed
//     -> image made
//                              here:              the image and the last of the disk into own memory
//                                                 -> image freed, gate opened, filesystems and processes
//                                                 thawed
//                              on the other machine, when it has become the image: on_wake
//     next_of_image ...        what of the image was not known, after all has gone on
//
// A pause that takes too long ends with the process: then everything goes on here, and the duplication is
// over. Used by one thread at a time.

#include <chrono>
#include <functional>

#include "machine/hot_disk.h"
#include "machine/image_letter.h"
#include "machine/memory_passes.h"
#include "machine/pause_guard.h"
#include "machine/snapshot_device.h"

namespace dupengine::machine {

/// How long what took, in seconds.
struct PauseReport {
    double processes = 0;    ///< until they were frozen
    double filesystems = 0;  ///< until they were
    double image = 0;        ///< until the kernel had made it
    double memory = 0;       ///< until what differs was copied out of it
    double disk = 0;         ///< until what was written last was read
    double thaw = 0;
    double total() const { return processes + filesystems + image + memory + disk + thaw; }
};

/// The machine that became the image, with everything but this process at rest.
class Awake {
  public:
    virtual ~Awake() = default;
    /// What the machine that became this one had to say. Throws as LetterRoom.
    virtual Bytes letter() const = 0;
    /// The kernel's own threads run again: filesystems can be written to once they are thawed.
    virtual void thaw_kernel() = 0;
    virtual void thaw_filesystems() = 0;
    /// Ends the command that this process belonged to on the other machine; then everybody runs.
    virtual void thaw_processes() = 0;
};

struct LiveOptions {
    codec::PageTagger::Key key{};
    std::uint64_t most_kept_pages = 0;
    std::chrono::milliseconds deadline{10000};
    std::function<DiskUses()> look_at_uses;
    /// Around the pause, here: those who are to be prepared. `prepare` throws to call it off; `resume` tells
    /// what is worth a note.
    std::function<void()> prepare = [] {};
    std::function<std::vector<std::string>(bool is_done)> resume = [](bool) {
        return std::vector<std::string>();
    };
    /// By the command, when the process died after `prepare`: what it knew of them is gone.
    std::function<void()> abort_all = [] {};
    /// Before the pause, and before each pass but the first, so that the pause changes little that was sent:
    /// what would only make the image larger goes.
    std::function<void()> make_room = [] {};
    /// When all is frozen, before the image is made and after: pages whose content is of no use to the
    /// duplicate, where `command` ends before it runs again, and `rooms` of this process are not needed.
    std::function<PageNumbers(pid_t command, const std::vector<std::span<const std::byte>>& rooms)>
        dead_pages = [](pid_t, const std::vector<std::span<const std::byte>>&) { return PageNumbers(); };
    /// When processes and filesystems are frozen, before the image: what the duplicate shall know of this
    /// moment.
    std::function<void()> on_rest = [] {};
    /// Around the image, while all is frozen: they allocate nothing and wait for nothing. `close_gate` throws
    /// what calls the pause off.
    std::function<void()> close_gate = [] {};
    std::function<void()> open_gate = [] {};
    /// On the other machine. If it returns or throws, everything there stays at rest.
    std::function<void(Awake&)> on_wake;
    std::function<std::unique_ptr<SnapshotMaker>()> make_snapshot = [] {
        return std::make_unique<SnapshotDevice>();
    };
    std::string proc = "/proc";
};

class LiveProcess {
  public:
    /// Starts it. `hot` outlives it; it works on a copy of that. Throws as PhysicalMemory.
    LiveProcess(HotDisk& hot, LiveOptions options);
    ~LiveProcess();
    LiveProcess(const LiveProcess&) = delete;
    LiveProcess& operator=(const LiveProcess&) = delete;

    const MemoryShape& shape() const { return shape_; }

    void begin_pass();
    /// Valid until the next call; empty: the pass is over.
    std::span<const std::byte> next();
    const PassReport& pass() const { return pass_; }

    struct Blackout {
        AtRest rest;
        PauseReport pause;
    };
    /// Throws kRefused if it took too long, kUnsupported if it cannot be.
    Blackout black_out();
    std::span<const std::byte> next_of_image();
    const ImageReport& image() const { return image_; }

  private:
    struct Shared;
    enum class Order : std::uint32_t { kBeginPass, kNext, kBlackOut, kNextOfImage };
    struct Reply;
    class Child;
    Reply ask(Order order);
    [[noreturn]] void throw_gone() const;
    AtRest read_rest() const;

    LiveOptions options_;
    MemoryShape shape_;
    LetterRoom letter_;
    Shared* shared_ = nullptr;  // with the child
    Fd socket_, rest_;
    int pid_ = -1;
    PassReport pass_;
    ImageReport image_;
};

}  // namespace dupengine::machine
