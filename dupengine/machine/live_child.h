#pragma once
// The child's side of live_process.h.

#include <atomic>

#include "machine/live_process.h"

namespace dupengine::machine {

struct LiveProcess::Shared {
    /// From before the kernel makes the image until it is known which machine this is: always, where this is
    /// the other one.
    std::atomic<bool> may_be_elsewhere{false};
    /// Participants were asked, and not told yet how it went on.
    std::atomic<bool> may_be_prepared{false};
    std::array<std::byte, kMiB> group;
};

struct LiveProcess::Reply {
    Code code{};  // 0: done
    char text[1024] = "";
    std::uint64_t group_bytes = 0;
    PassReport pass;
    ImageReport image;
    PauseReport pause;
};

class LiveProcess::Child {
  public:
    Child(HotDisk& hot, const LiveOptions& options, const PhysicalMemory& memory, const LetterRoom& letter,
          Shared& shared, int rest);
    /// Until nobody is at the other end of the socket.
    [[noreturn]] void run(int socket);

  private:
    class AwakeHere;
    void obey(Order order, Reply& reply);
    void black_out(Reply& reply);
    AtRest pause(PauseReport& took);
    PageNumbers dead_pages() const;
    bool make_image(SnapshotMaker& maker, PauseGuard& guard);
    [[noreturn]] void wake(SnapshotMaker& maker, FrozenFilesystems& frozen);
    void write_rest(const AtRest& rest) const;

    HotDisk& hot_;
    const LiveOptions& options_;
    MemoryPasses passes_;
    const LetterRoom& letter_;
    Shared& shared_;
    int rest_;
    pid_t command_;
    bool has_begun_ = false;
};

}  // namespace dupengine::machine
