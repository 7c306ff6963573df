// dupengine clone [DISK...] dup://HOST: the disks of this machine, while it runs from them, onto those of a
// machine that waits (receive). See dupengine-clone(8).

#include <unistd.h>

#include <memory>

#include "base/random.h"
#include "base/subprocess.h"
#include "base/units.h"
#include "cli/ask_alike.h"
#include "cli/clone_preview.h"
#include "cli/copy_arguments.h"
#include "cli/interrupt.h"
#include "cli/life_view.h"
#include "cli/live_clone.h"
#include "cli/participants.h"
#include "cli/peers_option.h"
#include "cli/send.h"
#include "cli/source_disks.h"
#include "cli/source_report.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/write_tracking.h"
#include "machine/digest_tracker.h"
#include "machine/disk_uses.h"
#include "machine/disks_in_use.h"
#include "profiles/wake.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CloneArguments {
    std::vector<std::string> disks;  ///< none: those that are in use
    std::string target, store, track;
    bool disks_only = false, move = false, nice = false;
    double max_pause = 2;
    PeerOptions peers;
};

std::string draw_rounds(const machine::HotReport& report) {
    std::string text;
    for (std::size_t i = 0; i < report.round_bytes.size(); ++i)
        text += fmt::format("round {:<3} {} written meanwhile{}\n", i + 1, format_size(report.round_bytes[i]),
                            i + 1 == report.round_bytes.size() ? ", at rest" : "");
    return text + fmt::format("pause     {:.3f} s at the end, {:.3f} s at the start\n", report.last_pause,
                              report.first_pause);
}

std::chrono::milliseconds to_milliseconds(double seconds) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

void refuse_if_not_in_use(const std::vector<std::string>& disks) {
    for (const std::string& disk : disks) {
        const machine::DiskUses uses = machine::look_at_uses(disk);
        if (uses.mounts.empty() && uses.swap.empty())
            throw_error(Code::kRefused, "{}: is not in use: copy it (dupengine copy {} dup://HOST)", disk,
                        disk);
    }
}

std::vector<std::string> find_disks(const CloneArguments& arguments) {
    if (!arguments.disks.empty()) return arguments.disks;
    std::vector<std::string> found = machine::find_disks_in_use();
    if (found.empty())
        throw_error(Code::kRefused,
                    "no disk was found that this machine runs from, and whose writes can be followed; name "
                    "the disks");
    fmt::print(stderr, "dupengine: the disks in use: {}\n", fmt::join(found, ", "));
    return found;
}

machine::HotOptions hot_options(const CloneArguments& arguments, const SourceDisks& disks,
                                Participants& participants) {
    machine::HotOptions options;
    options.max_pause = to_milliseconds(arguments.max_pause);
    options.freeze_deadline = std::max(options.freeze_deadline, 2 * options.max_pause);
    options.look_at_uses = [followed = disks.followed()] { return machine::look_at_uses(followed); };
    options.prepare = [&] { participants.prepare(); };
    options.resume = [&](bool is_done) { participants.resume(is_done); };
    return options;
}

// The live process prepares and resumes; `live` is there before anything is asked.
machine::HotOptions live_options(const CloneArguments& arguments, const SourceDisks& disks,
                                 const std::unique_ptr<LiveClone>& live, const std::stop_token& stop) {
    machine::HotOptions options;
    options.max_pause = to_milliseconds(arguments.max_pause);
    options.freeze_deadline = std::max(options.freeze_deadline, 2 * options.max_pause);
    options.look_at_uses = [followed = disks.followed()] {
        machine::DiskUses uses = machine::look_at_uses(followed);
        uses.swap = {};  // what is written there from here on is memory of the duplicate
        return uses;
    };
    options.wait_for_rest = [&live, stop] { return live->wait_for_rest(stop); };
    options.most_rounds = 4000;  // most of them are for passes over memory that take longer than a wait
    options.rest = [&live] { return live->rest(); };
    return options;
}

struct Cloned {
    Sent sent;
    machine::HotReport disk;
    std::optional<machine::LiveReport> memory;
    std::optional<std::string> life;  ///< what the duplicate said
};

void print_result(const std::string& source, const Cloned& cloned, const Participants& participants,
                  const Globals& globals) {
    if (globals.json) {
        Json json = sent_json(source, cloned.sent);
        json["rounds"] = rounds_json(cloned.disk, participants.count());
        if (cloned.memory) json["memory"] = memory_json(*cloned.memory);
        if (cloned.memory) json["target_lives"] = cloned.life.has_value();
        if (cloned.life) json["target_said"] = Json::parse(*cloned.life, nullptr, false);
        fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
        return;
    }
    const Charset charset = look_at_terminal(STDOUT_FILENO).style.charset;
    fmt::print("{}{}{}", draw_rounds(cloned.disk), cloned.memory ? draw_live(*cloned.memory) : "",
               sent_text(source, cloned.sent, charset));
    if (cloned.life) fmt::print("{}", draw_life(Json::parse(*cloned.life, nullptr, false), charset));
}

// Before anything is paused.
void refuse_if_not_alike(const wire::PeerReference& to, const PeerOptions& peers, const SourceDisks& disks,
                         const std::stop_token& stop) {
    const auto differences = ask_alike(to.address, peers, disks.sizes(), stop);
    if (!differences.empty())
        throw_error(
            Code::kUnsupported,
            "{}: cannot become this machine while it runs: {}. What works: clone --disks-only, and starting "
            "the target from its disk",
            to.address.text(), printable(fmt::format("{}", fmt::join(differences, "; ")), Charset::kUtf8));
}

// The target's last word can be lost with the connection, when it has everything and becomes this machine.
void take_life_for_result(Cloned& cloned, LiveClone& live, const wire::PeerReference& to,
                          const std::stop_token& stop) {
    cloned.life = live.wait_for_life(stop);
    cloned.sent.answered.result.target = to.address.text();
    cloned.sent.answered.result.verified = true;
    cloned.sent.answered.result.notes.emplace_back(
        "the connection was lost before the target said that all had arrived; that it lives shows it");
}

void say(const std::string& remark) {
    if (!remark.empty()) fmt::print(stderr, "dupengine: {}\n", printable(remark, Charset::kUtf8));
}

Cloned duplicate(const CloneArguments& arguments, const wire::PeerReference& to, const SourceDisks& disks,
                 machine::HotDisk& hot, LiveClone* live, std::size_t participants,
                 const std::stop_token& stop, const Globals& globals) {
    // Nothing waits before somebody is there who wants the disks.
    std::optional<wire::Peer> first = call(to.address, arguments.peers, stop);
    wire::OfferedDisk offered{"disk", hot};
    offered.row = disks.row();
    hot.look_at_rest(
        [&] { return offered.preparation->get(hot, wire::Lasting::kForGood, offered.row)->ranges; });
    say(hot.remark());
    offered.change = [] { return std::string(); };  // it changes, and rounds tell how
    offered.round = [&](std::uint32_t number) { return hot.round(number); };
    offered.report = [&hot, live, participants] {
        if (live == nullptr) return source_report(hot.report(), nullptr, participants);
        const machine::LiveReport memory = live->report();
        return source_report(hot.report(), &memory, participants);
    };
    if (live != nullptr) {
        offered.memory = live->offered();
        offered.group = [live](std::uint32_t number) { return live->group(number); };
    }
    SystemRandom random;
    wire::Offer offer(random);
    offer.add(offered);
    const auto call_again = [&](const std::stop_token& over) {
        if (!first) return call(to.address, arguments.peers, over);
        wire::Peer peer = std::move(*first);
        first.reset();
        return peer;
    };
    Cloned cloned;
    try {
        cloned.sent = send_offer(offer, call_again, stop, globals);
    } catch (const Error& e) {
        if (live == nullptr || e.code() != Code::kPeer || !live->is_all_given()) throw;
        take_life_for_result(cloned, *live, to, stop);
        if (!cloned.life) throw;
    }
    cloned.disk = hot.report();
    if (live == nullptr) return cloned;
    cloned.memory = live->report();
    if (!cloned.life) cloned.life = live->wait_for_life(stop);
    return cloned;
}

// In order, as a person would: what runs here is told, and its disks are left clean.
void switch_off() {
    const RunResult result = run_program({"systemctl", "poweroff"});
    if (result.status != 0)
        throw_error(Code::kInternal, "the target lives, but this machine does not switch off: {}",
                    result.complaint());
}

int show_preview(const CloneArguments& arguments, const wire::PeerReference& to, const SourceDisks& disks,
                 const WriteTracking& tracking, const Participants& participants, const Globals& globals) {
    SystemRandom random;
    // What waits to be written has no place on the disk yet, and would not be counted.
    machine::OpenFilesystems(machine::look_at_uses(disks.followed()).mounts).sync();
    // Throws what would stop the following of writes.
    const auto tracker = start_tracking(tracking, disks, random);
    tracker->look(disks.reader(), {});
    const machine::ChangeTracker::Seconds asked(arguments.max_pause), longest(machine::kLongestReadingPause);
    if (const auto most = std::min(asked, longest); tracker->compares() && tracker->time_to_take() > most)
        machine::refuse_a_long_pause(Code::kUnsupported, disks.name(), tracker->time_to_take(), most);
    ClonePreview preview = look_ahead(disks.disks(), !arguments.disks_only);
    for (const std::string& remark : {tracking.reason, tracker->remark()})
        if (!remark.empty()) preview.notes.push_back(remark);
    preview.target = to.address.text();
    preview.participants = participants.count();
    preview.notes.emplace_back(arguments.disks_only
                                   ? "the target was not asked: it plans when the disks are sent to it"
                                   : "the target is like this machine, and waits");
    if (globals.json)
        fmt::print("{}\n", preview_json(preview).dump(2, ' ', false, Json::error_handler_t::replace));
    else
        fmt::print("{}", preview_text(preview, look_at_terminal(STDOUT_FILENO).style.charset));
    return 0;
}

int run_clone(const CloneArguments& arguments, const Globals& globals) {
    const auto to = wire::parse_peer_reference(arguments.target);
    if (!to || !to->name.empty())
        throw_error(Code::kUsage, "{}: is not a machine that receives (dup://HOST)", arguments.target);
    if (arguments.move && arguments.disks_only)
        throw_error(Code::kUsage, "--move waits for the target's life, and --disks-only does not start it");
    if (!arguments.store.empty()) profiles::check_wake_store(arguments.store);
    if (arguments.nice) go_last();
    const std::vector<std::string> paths = find_disks(arguments);
    refuse_if_not_in_use(paths);
    SourceDisks disks(paths);
    if (!arguments.disks_only) refuse_if_memory_cannot_go(disks.followed());
    const WriteTracking tracking = choose_tracking(arguments.track, !arguments.disks_only);
    const InterruptWatch interrupt;
    Participants participants(to->address.text(), interrupt.token());
    if (!arguments.disks_only) refuse_if_not_alike(*to, arguments.peers, disks, interrupt.token());
    if (globals.dry_run) return show_preview(arguments, *to, disks, tracking, participants, globals);
    say(tracking.reason);
    disks.hold();
    std::unique_ptr<LiveClone> live;
    SystemRandom random;
    machine::HotDisk hot(disks.reader(), start_tracking(tracking, disks, random),
                         arguments.disks_only ? hot_options(arguments, disks, participants)
                                              : live_options(arguments, disks, live, interrupt.token()));
    if (!arguments.disks_only)
        live = std::make_unique<LiveClone>(
            hot, participants,
            LiveCloneOptions{disks.followed(), to->address, to_milliseconds(arguments.max_pause),
                             arguments.store},
            random);
    Cloned cloned =
        duplicate(arguments, *to, disks, hot, live.get(), participants.count(), interrupt.token(), globals);
    std::vector<std::string>& notes = cloned.sent.answered.result.notes;
    for (const auto& more : {cloned.disk.notes, participants.take_notes()})
        for (const std::string& note : more)  // some are of each pause
            if (std::ranges::find(notes, note) == notes.end()) notes.push_back(note);
    print_result(disks.name(), cloned, participants, globals);
    if (live && !cloned.life)
        throw_error(
            Code::kPeer,
            "{}: was given everything, and has not said that it lives; its console tells who it became",
            to->address.text());
    if (arguments.move) switch_off();
    return 0;
}

}  // namespace

void add_clone(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb =
        app.add_subcommand("clone", "Duplicate this machine, while it runs, onto one that receives");
    const auto arguments = std::make_shared<CloneArguments>();
    verb->add_option("TARGET", arguments->disks,
                     "Whole disks of this machine, in use (all that are), and the machine that receives them "
                     "(dup://HOST)")
        ->option_text("[DISK...] dup://HOST")
        ->required();
    verb->add_flag("--disks-only", arguments->disks_only,
                   "Without memory and CPU state: the target starts from the disk");
    verb->add_flag("--move", arguments->move,
                   "Switch this machine off when the target has said that it lives");
    verb->add_option("--max-pause", arguments->max_pause,
                     "Go on in rounds until writers are expected to wait no longer than this (2)")
        ->check(CLI::Range(0.01, 3600.0).description(""))
        ->option_text("SECONDS");
    verb->add_option("--track", arguments->track,
                     "How writes are found: bpf, digest (with --disks-only: bpf, else digest)")
        ->check(CLI::IsMember({"bpf", "digest"}).description(""))
        ->option_text("HOW");
    verb->add_option("--store", arguments->store,
                     "Where the target finds its profile (the profile partition of its disk)")
        ->option_text("STORE");
    add_peer_options(*verb, arguments->peers);
    verb->add_flag("--nice", arguments->nice,
                   "Let other programs go first, on the processor and on the disks");
    verb->add_flag("--dry-run", globals.dry_run,
                   "Show what would go, or what stands against it, and stop: nothing comes to rest");
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback([arguments, &globals, &action] {
        action = [=, &globals] {
            arguments->target = arguments->disks.back();
            arguments->disks.pop_back();
            return run_clone(*arguments, globals);
        };
    });
}

}  // namespace dupengine::cli
