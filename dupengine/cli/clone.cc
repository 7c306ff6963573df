// dupengine clone DISK dup://HOST: a disk of this machine, while it runs from it, onto the disk of a machine
// that waits (receive). See dupengine-clone(8).

#include <unistd.h>

#include <memory>

#include "base/random.h"
#include "base/units.h"
#include "block/open.h"
#include "cli/copy_arguments.h"
#include "cli/interrupt.h"
#include "cli/peers_option.h"
#include "cli/send.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "machine/disk_uses.h"
#include "machine/quiesce_participants.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CloneArguments {
    std::string disk, target;
    bool disks_only = false, nice = false;
    double max_pause = 2;
    PeerOptions peers;
};

std::string host_name() {
    char name[256] = "";
    if (::gethostname(name, sizeof name - 1) != 0) throw_errno(Code::kInternal, errno, "no host name");
    return name;
}

// Those who asked to be prepared are, around the last pause.
class Participants {
  public:
    Participants(std::string target, std::stop_token stop) : target_(std::move(target)) {
        auto found = machine::find_participants();
        machine::require_callable(found);
        count_ = found.participants.size();
        machine::QuiesceOptions options;
        options.on_call = [this](const machine::CallReport& call) {
            if (call.answer.outcome != machine::Outcome::kDone)
                notes_.push_back(fmt::format("{}: {} went wrong: {}", call.name,
                                             machine::phase_name(call.phase), call.answer.text));
        };
        options.is_called_off = [stop = std::move(stop)] { return stop.stop_requested(); };
        quiesce_ = std::make_unique<machine::Quiesce>(std::move(found.participants), std::move(options));
    }
    void prepare() { quiesce_->prepare({host_name(), target_}); }
    void resume(bool is_done) {
        try {
            is_done ? quiesce_->resume_source() : quiesce_->abort();
        } catch (const std::exception& e) {
            notes_.push_back(fmt::format("not all participants were told to go on: {}", e.what()));
        }
    }
    std::size_t count() const { return count_; }
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    std::string target_;
    std::size_t count_ = 0;
    std::vector<std::string> notes_;
    std::unique_ptr<machine::Quiesce> quiesce_;
};

std::string draw_rounds(const machine::HotReport& report) {
    std::string text;
    for (std::size_t i = 0; i < report.round_bytes.size(); ++i)
        text += fmt::format("round {:<3} {} written meanwhile{}\n", i + 1, format_size(report.round_bytes[i]),
                            i + 1 == report.round_bytes.size() ? ", at rest" : "");
    return text + fmt::format("pause     {:.3f} s at the end, {:.3f} s at the start\n", report.last_pause,
                              report.first_pause);
}

Json rounds_json(const machine::HotReport& report, const Participants& participants) {
    return {{"bytes", report.round_bytes},
            {"first_pause_seconds", report.first_pause},
            {"last_pause_seconds", report.last_pause},
            {"participants", participants.count()}};
}

std::chrono::milliseconds to_milliseconds(double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

void refuse_if_not_in_use(const std::string& disk) {
    const machine::DiskUses uses = machine::look_at_uses(disk);
    if (uses.mounts.empty() && uses.swap.empty())
        throw_error(Code::kRefused, "{}: is not in use: copy it (dupengine copy {} dup://HOST)", disk, disk);
}

machine::HotOptions hot_options(const CloneArguments& arguments, Participants& participants) {
    machine::HotOptions options;
    options.max_pause = to_milliseconds(arguments.max_pause);
    options.freeze_deadline = std::max(options.freeze_deadline, 2 * options.max_pause);
    options.look_at_uses = [disk = arguments.disk] { return machine::look_at_uses(disk); };
    options.prepare = [&] { participants.prepare(); };
    options.resume = [&](bool is_done) { participants.resume(is_done); };
    return options;
}

void print_result(const CloneArguments& arguments, const Sent& sent, const machine::HotReport& report,
                  const Participants& participants, const Globals& globals) {
    if (globals.json) {
        Json json = sent_json(arguments.disk, sent);
        json["rounds"] = rounds_json(report, participants);
        fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
        return;
    }
    const Charset charset = look_at_terminal(STDOUT_FILENO).style.charset;
    fmt::print("{}{}", draw_rounds(report), sent_text(arguments.disk, sent, charset));
}

int run_clone(const CloneArguments& arguments, const Globals& globals) {
    if (!arguments.disks_only)
        throw_error(
            Code::kUnsupported,
            "memory and CPU state cannot be duplicated yet; --disks-only copies the disk of a running "
            "machine, and the target starts from it");
    const auto to = wire::parse_peer_reference(arguments.target);
    if (!to || !to->name.empty())
        throw_error(Code::kUsage, "{}: is not a machine that receives (dup://HOST)", arguments.target);
    if (arguments.nice) go_last();
    refuse_if_not_in_use(arguments.disk);
    const InterruptWatch interrupt;
    Participants participants(to->address.text(), interrupt.token());
    const auto disk = block::open_source(arguments.disk);
    const block::SourceHold hold(disk->native_fd(), arguments.disk);
    machine::HotDisk hot(*disk, arguments.disk, hot_options(arguments, participants));
    // Nothing waits before somebody is there who wants the disk.
    std::optional<wire::Peer> first = call(to->address, arguments.peers, interrupt.token());
    wire::OfferedDisk offered{"disk", hot};
    hot.look_at_rest([&] { return offered.preparation->get(hot, wire::Lasting::kForGood)->ranges; });
    offered.change = [] { return std::string(); };  // it changes, and rounds tell how
    offered.round = [&](std::uint32_t number) { return hot.round(number); };
    SystemRandom random;
    wire::Offer offer(random);
    offer.add(offered);
    const auto call_again = [&] {
        if (!first) return call(to->address, arguments.peers, interrupt.token());
        wire::Peer peer = std::move(*first);
        first.reset();
        return peer;
    };
    Sent sent = send_offer(offer, call_again, interrupt.token(), globals);
    const machine::HotReport report = hot.report();
    for (const auto* notes : {&report.notes, &participants.notes()})
        sent.answered.result.notes.insert(sent.answered.result.notes.end(), notes->begin(), notes->end());
    print_result(arguments, sent, report, participants, globals);
    return 0;
}

}  // namespace

void add_clone(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb =
        app.add_subcommand("clone", "Duplicate this machine, while it runs, onto one that receives");
    const auto arguments = std::make_shared<CloneArguments>();
    verb->add_option("DISK", arguments->disk, "Whole disk of this machine, in use")->required();
    verb->add_option("TARGET", arguments->target, "Machine that receives (dup://HOST)")->required();
    verb->add_flag("--disks-only", arguments->disks_only,
                   "Without memory and CPU state: the target starts from the disk");
    verb->add_option("--max-pause", arguments->max_pause,
                     "Go on in rounds until writers are expected to wait no longer than this (2)")
        ->check(CLI::Range(0.01, 3600.0).description(""))
        ->option_text("SECONDS");
    add_peer_options(*verb, arguments->peers);
    verb->add_flag("--nice", arguments->nice,
                   "Let other programs go first, on the processor and on the disks");
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback([arguments, &globals, &action] {
        action = [=, &globals] { return run_clone(*arguments, globals); };
    });
}

}  // namespace dupengine::cli
