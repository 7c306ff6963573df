#include "tests/support/live_rig.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "block/open.h"
#include "cli/copy_arguments.h"
#include "cli/remote_source.h"
#include "machine/disk_uses.h"
#include "wire/offer.h"

namespace dupengine::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// The command prints its result.
class QuietOutput {
  public:
    QuietOutput() : before_(::dup(STDOUT_FILENO)) {
        std::fflush(stdout);
        const Fd nothing = open_path("/dev/null", O_WRONLY, Code::kInternal);
        ::dup2(nothing.get(), STDOUT_FILENO);
    }
    ~QuietOutput() {
        std::fflush(stdout);
        ::dup2(before_.get(), STDOUT_FILENO);
    }
    QuietOutput(const QuietOutput&) = delete;
    QuietOutput& operator=(const QuietOutput&) = delete;

  private:
    Fd before_;
};

machine::LiveOptions with_key(machine::LiveOptions options, RandomSource& random) {
    random.fill(options.key);
    return options;
}

// The source's end.
class LiveSource {
  public:
    /// `how` outlives it.
    LiveSource(BusyMachine& machine, const Duplication& how);
    const wire::Offer& offer() const { return offer_; }
    std::vector<machine::PauseReport> pauses() const { return memory_.report().pauses; }

  private:
    bool wait_for_rest();
    wire::OfferedDisk::Group group(std::uint32_t number);

    SeededRandom random_{1};
    std::unique_ptr<block::Reader> disk_;
    machine::HotDisk hot_;
    machine::LiveProcess process_;
    machine::LiveMemory memory_;
    wire::Offer offer_;
    bool may_rest_ = false;
};

LiveSource::LiveSource(BusyMachine& machine, const Duplication& how)
    : disk_(block::open_source(machine.disk())),
      hot_(*disk_, machine.disk(),
           {.max_pause = 10s,
            .look_at_uses = [path = machine.disk()] { return machine::look_at_uses(path); },
            .wait_for_rest = [this] { return wait_for_rest(); },
            .rest = [this] { return memory_.black_out(); },
            .most_rounds = 200}),
      process_(hot_, with_key(how.live ? *how.live : machine.options(), random_)),
      memory_(process_, 10s),
      offer_(random_) {
    wire::OfferedDisk offered{"disk", hot_};
    hot_.look_at_rest([&] { return offered.preparation->get(hot_, wire::Lasting::kForGood)->ranges; });
    offered.change = [] { return std::string(); };
    offered.round = [this, &how](std::uint32_t number) {
        how.before_round(number);
        return hot_.round(number);
    };
    const machine::MemoryShape& shape = process_.shape();
    offered.memory = wire::OfferedMemory{"a machine", shape.span_pages, shape.ram_pages, shape.key};
    offered.group = [this, &how](std::uint32_t number) {
        wire::OfferedDisk::Group next = group(number);
        how.on_group(number);
        return next;
    };
    offer_.add(std::move(offered));
}

bool LiveSource::wait_for_rest() {
    if (!std::exchange(may_rest_, true)) return false;
    return memory_.wait_until_ready(300ms, {});
}

wire::OfferedDisk::Group LiveSource::group(std::uint32_t number) {
    using Kind = wire::GroupHead::Kind;
    machine::MemoryGroup group = memory_.group(number);
    if (group.kind == machine::MemoryGroup::Kind::kGroup) return {Kind::kGroup, std::move(group.bytes)};
    return {group.kind == machine::MemoryGroup::Kind::kEnd ? Kind::kEnd : Kind::kNotYet, {}};
}

// The connection proves nothing here: each message is one that is sent.
wire::Peer as_peer(std::unique_ptr<wire::Transport> transport) {
    return {std::move(transport), {}, "the other end"};
}

void answer_as_source(std::unique_ptr<LiveSource> source, CutNetwork& network, const Duplication& how,
                      const PausesSeen& seen, Duplicated& result) {
    Clock::time_point paused = Clock::now();
    std::jthread watching([&](const std::stop_token& over) {
        while (!over.stop_requested() && !seen.is_at_rest)
            std::this_thread::sleep_for(1ms);
        paused = Clock::now();
    });
    unsigned calls = 0;
    const auto call = [&](const std::stop_token&) {
        if (!how.source_goes_on && calls++ > 0)
            throw_error(Code::kInterrupted, "the source's end was killed");
        return as_peer(network.call());
    };
    try {
        wire::answer_until_done(call, source->offer(), {.patience = how.patience});
    } catch (const Error& e) {
        result.source_error = e;
    }
    const auto end = Clock::now();
    watching = {};
    result.source_took = std::chrono::duration_cast<std::chrono::milliseconds>(end - paused);
    result.pauses = source->pauses();
}

// Returns when the machine would become the other.
Bytes receive_live(const std::shared_ptr<cli::RemoteSource>& source, const Duplication& how) {
    source->take_memory();
    cli::CopyArguments arguments;
    arguments.source = source->reader().name();
    arguments.target = how.target;
    arguments.options = how.options;
    cli::Globals globals;
    globals.json = globals.yes = true;
    globals.progress = cli::ProgressStyle::kNone;
    {
        const QuietOutput quiet;
        cli::run_copy(arguments, globals, std::make_shared<cli::CopySource>(source));
    }
    Bytes image;
    for (Bytes page(codec::kPageBytes); source->memory().next_page(page);)
        image.insert(image.end(), page.begin(), page.end());
    return image;
}

}  // namespace

Duplicated duplicate_live(BusyMachine& machine, const Duplication& how) {
    machine.start_over();
    machine.seen().is_held = how.hold_pause;
    auto source = std::make_unique<LiveSource>(machine, how);
    Duplicated result;
    CutNetwork network(how.cuts);
    std::jthread answering(
        [&] { answer_as_source(std::move(source), network, how, machine.seen(), result); });
    const std::jthread releasing([&](const std::stop_token& over) {
        while (!over.stop_requested() && network.cuts_done() < how.cuts.size())
            std::this_thread::sleep_for(1ms);
        machine.seen().is_held = false;
    });
    const auto next_call = [&](wire::Deadline deadline, const std::stop_token&) {
        auto transport = network.accept(deadline);
        if (transport == nullptr) throw_error(Code::kPeer, "nobody called in time");
        return as_peer(how.wrap ? how.wrap(std::move(transport)) : std::move(transport));
    };
    wire::LinkOptions options;
    options.patience = how.patience;
    if (how.target_goes_on) options.connect_again = next_call;
    try {
        const auto remote = std::make_shared<cli::RemoteSource>(next_call(wire::after(10s), {}), options);
        result.image = receive_live(remote, how);
    } catch (const Error& e) {
        result.target_error = e;
    }
    network.hang_up();
    answering.join();
    result.cuts = network.cuts_done();
    result.sends[0] = network.most_sends(true);
    result.sends[1] = network.most_sends(false);
    return result;
}

}  // namespace dupengine::test
