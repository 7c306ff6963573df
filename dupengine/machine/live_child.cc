#include "machine/live_child.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <optional>

namespace dupengine::machine {
namespace {

using Clock = std::chrono::steady_clock;

// Seconds since it was asked last.
class Laps {
  public:
    double lap() {
        const auto now = Clock::now();
        return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
    }

  private:
    Clock::time_point last_ = Clock::now();
};

// However it ends.
class ClosedGate {
  public:
    explicit ClosedGate(const LiveOptions& options) : options_(options) {
        try {
            options_.close_gate();
        } catch (...) {
            options_.open_gate();
            throw;
        }
    }
    ~ClosedGate() {
        if (!stays_closed_) options_.open_gate();
    }
    void leave_closed() { stays_closed_ = true; }
    ClosedGate(const ClosedGate&) = delete;
    ClosedGate& operator=(const ClosedGate&) = delete;

  private:
    const LiveOptions& options_;
    bool stays_closed_ = false;
};

// However the pause ends, and in this order: guardians are frozen processes, too, and nobody waits for them
// before they are thawed.
class Pause {
  public:
    Pause(SnapshotMaker& maker, FrozenFilesystems& frozen, std::chrono::milliseconds deadline)
        : maker_(maker), frozen_(frozen), guard_(deadline) {}
    ~Pause() { end(); }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

    /// Whether it was in time.
    bool end() {
        maker_.free_image();
        const bool was_in_time = frozen_.thaw();
        maker_.thaw();
        guard_.end();
        return was_in_time;
    }
    PauseGuard& guard() { return guard_; }

  private:
    SnapshotMaker& maker_;
    FrozenFilesystems& frozen_;
    PauseGuard guard_;
};

// A library's read-only part of this size is a table that something else is looked up in (ICU's has 30 MiB).
constexpr std::size_t kMostReadOnly = 8 * kMiB;

bool is_table(const ElfW(Phdr) & part) {
    return (part.p_flags & (PF_W | PF_X)) == 0 && part.p_memsz > kMostReadOnly;
}

// All programs and libraries that this process runs on are read now: while disks are at rest, or another
// machine's, it would be late. What else it has is locked as it is used; all of it would be in the image.
void stay_in_memory() {
    ::dl_iterate_phdr(
        [](dl_phdr_info* object, std::size_t, void*) {
            for (unsigned i = 0; i < object->dlpi_phnum; ++i) {
                const auto& part = object->dlpi_phdr[i];
                if (part.p_type == PT_LOAD && !is_table(part))
                    ::mlock(reinterpret_cast<const void*>(object->dlpi_addr + part.p_vaddr), part.p_memsz);
            }
            return 0;
        },
        nullptr);
    ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

}  // namespace

LiveProcess::Child::Child(HotDisk& hot, const LiveOptions& options, const PhysicalMemory& memory,
                          const LetterRoom& letter, Shared& shared, int rest)
    : hot_(hot),
      options_(options),
      passes_(memory, options.key, options.most_kept_pages),
      letter_(letter),
      shared_(shared),
      rest_(rest),
      command_(::getppid()) {}

void LiveProcess::Child::run(int socket) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
        ::signal(signal, SIG_IGN);
    ::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_NAME, "dupengine-live");
    ::prctl(PR_SET_DUMPABLE, 0);  // a core file would be written to what is at rest
    stay_in_memory();
    for (Order order{}; ::recv(socket, &order, sizeof order, 0) == sizeof order;) {
        Reply reply;
        try {
            obey(order, reply);
        } catch (const Error& e) {
            reply.code = e.code();
            std::string(e.what()).copy(reply.text, sizeof reply.text - 1);
        } catch (const std::exception& e) {
            reply.code = Code::kInternal;
            std::string(e.what()).copy(reply.text, sizeof reply.text - 1);
        }
        if (::send(socket, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply) break;
    }
    ::_exit(0);
}

void LiveProcess::Child::obey(Order order, Reply& reply) {
    switch (order) {
        case Order::kBeginPass:
            if (std::exchange(has_begun_, true)) options_.make_room();
            passes_.begin_pass();
            break;
        case Order::kNext:
            reply.group_bytes = passes_.next(shared_.group).size();
            break;
        case Order::kBlackOut:
            black_out(reply);
            break;
        case Order::kNextOfImage:
            reply.group_bytes = passes_.next_of_image(shared_.group).size();
            break;
    }
    reply.pass = passes_.report();
    reply.image = passes_.image();
}

void LiveProcess::Child::black_out(Reply& reply) {
    shared_.may_be_prepared = true;
    try {
        options_.prepare();
    } catch (...) {
        shared_.may_be_prepared = false;  // who threw has told them
        throw;
    }
    AtRest rest;
    try {
        rest = pause(reply.pause);
    } catch (...) {
        options_.resume(false);
        shared_.may_be_prepared = false;
        throw;
    }
    const auto notes = options_.resume(rest.is_moment);
    shared_.may_be_prepared = false;
    rest.notes.insert(rest.notes.end(), notes.begin(), notes.end());
    rest.pause = reply.pause.total();
    write_rest(rest);
}

AtRest LiveProcess::Child::pause(PauseReport& took) {
    const DiskUses uses = options_.look_at_uses();
    const OpenFilesystems filesystems(uses.mounts);
    filesystems.sync();
    const std::unique_ptr<SnapshotMaker> maker = options_.make_snapshot();
    // Guardians are frozen with all others: they are for when all others are thawed and this one is gone.
    FrozenFilesystems frozen(filesystems, options_.deadline, FrozenFilesystems::Begin::kLater);
    ::malloc_trim(0);
    options_.make_room();
    Laps laps;
    Pause pause(*maker, frozen, options_.deadline);
    maker->freeze();
    took.processes = laps.lap();
    frozen.freeze();
    const bool is_the_same = options_.look_at_uses() == uses;
    options_.on_rest();
    const PageNumbers dead_before = dead_pages();
    took.filesystems = laps.lap();
    if (!make_image(*maker, pause.guard())) wake(*maker, frozen);
    took.image = laps.lap();
    // Making it the kernel may have moved pages: only what was dead before and is after was so in between.
    PageNumbers dead;
    std::ranges::set_intersection(dead_before, dead_pages(), std::back_inserter(dead));
    passes_.take_image([&](std::span<std::byte> page) { return maker->next_page(page); }, dead);
    took.memory = laps.lap();
    AtRest rest = hot_.take_frozen(uses);
    took.disk = laps.lap();
    const bool was_in_time = pause.end();
    took.thaw = laps.lap();
    rest.is_moment = rest.is_moment && is_the_same && was_in_time;
    for (const std::string& path : frozen.not_frozen())
        rest.notes.push_back(path + ": its filesystem cannot be frozen; it was written out instead");
    return rest;
}

PageNumbers LiveProcess::Child::dead_pages() const {
    std::vector<std::span<const std::byte>> rooms = passes_.rooms();
    rooms.emplace_back(shared_.group);
    return options_.dead_pages(command_, rooms);
}

// False where this is the other machine: there the gate stays closed, and the deadline counts no more.
bool LiveProcess::Child::make_image(SnapshotMaker& maker, PauseGuard& guard) {
    guard.hold();
    std::optional<ClosedGate> gate(std::in_place, options_);
    shared_.may_be_elsewhere = true;
    bool is_here = true;
    try {
        is_here = maker.create();
    } catch (...) {
        shared_.may_be_elsewhere = false;
        guard.release();
        throw;
    }
    if (!is_here) {
        guard.end();
        gate->leave_closed();
        return false;
    }
    shared_.may_be_elsewhere = false;
    gate.reset();
    guard.release();
    return true;
}

// -- on the other machine

class LiveProcess::Child::AwakeHere final : public Awake {
  public:
    AwakeHere(SnapshotMaker& maker, FrozenFilesystems& frozen, const LetterRoom& letter, pid_t command,
              pid_t holder)
        : maker_(maker), frozen_(frozen), letter_(letter), command_(command), holder_(holder) {}
    Bytes letter() const override { return letter_.read(); }
    void thaw_kernel() override { maker_.free_image(); }
    void thaw_filesystems() override { frozen_.thaw(); }
    void thaw_processes() override {
        // It would go on with a duplication that it is the result of. It dies before it runs again.
        ::kill(command_, SIGKILL);
        if (holder_ > 0) {
            ::kill(holder_, SIGKILL);
            ::waitpid(holder_, nullptr, 0);
        }
        maker_.thaw();
    }

  private:
    SnapshotMaker& maker_;
    FrozenFilesystems& frozen_;
    const LetterRoom& letter_;
    pid_t command_, holder_;
};

void LiveProcess::Child::wake(SnapshotMaker& maker, FrozenFilesystems& frozen) {
    // The kernel thaws everything when nobody has the device open any more. So this process is not the only
    // one until it thaws itself: if it dies before, everything stays at rest.
    const pid_t holder = ::fork();
    if (holder == 0)
        for (;;)
            ::pause();
    AwakeHere awake(maker, frozen, letter_, command_, holder);
    try {
        options_.on_wake(awake);
        ::_exit(0);
    } catch (const std::exception&) {
        // What it is was said by whoever threw. It stays as it is: nobody, and nobody's second.
        for (;;)
            ::pause();
    }
}

// -- to the command

// As read_rest() reads it: extents, each with what it holds.
void LiveProcess::Child::write_rest(const AtRest& rest) const {
    Bytes bytes;
    const auto number = [&](std::uint64_t value) {
        bytes.resize(bytes.size() + 8);
        store_le<std::uint64_t>(std::span(bytes).last(8), 0, value);
    };
    const auto text = [&](const std::string& value) {
        number(value.size());
        bytes.insert(bytes.end(), as_bytes(value).begin(), as_bytes(value).end());
    };
    number(rest.is_moment ? 1 : 0);
    number(rest.notes.size());
    for (const std::string& note : rest.notes)
        text(note);
    number(rest.extents.count());
    for (const block::Extent e : rest.extents) {
        number(e.begin);
        number(e.end);
    }
    number(rest.held.size());
    for (const auto& [offset, held] : rest.held) {
        number(offset);
        number(held.size());
        bytes.insert(bytes.end(), held.begin(), held.end());
    }
    if (::ftruncate(rest_, 0) != 0) throw_errno(Code::kInternal, errno, "the last changes of the disk");
    pwrite_exact(rest_, 0, bytes, Code::kInternal, "the last changes of the disk");
}

}  // namespace dupengine::machine
