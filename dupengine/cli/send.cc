#include "cli/send.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/random.h"
#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/offered.h"
#include "cli/progress_view.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/version.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

void refuse_options_of_the_target(const CopyArguments& arguments, const wire::PeerReference& to,
                                  const Globals& globals) {
    if (!to.name.empty())
        throw_error(Code::kUsage, "{}: a machine that receives has one target; leave '/{}' out",
                    to.address.text(), to.name);
    const engine::CopyOptions usual;
    const engine::CopyOptions& options = arguments.options;
    if (!arguments.maps.empty() || !arguments.report.empty() || arguments.shrink || arguments.create ||
        globals.dry_run || options.grow || options.tolerate_bad_sectors || !options.protect.empty() ||
        options.unused != usual.unused || options.verify != usual.verify || options.delta != usual.delta ||
        options.ignore_target_table || options.tuning.bytes_per_second != 0 || options.tuning.workers != 0 ||
        options.tuning.depth != 0 || options.tuning.chunk_bytes != 0 || arguments.image.any_given() ||
        arguments.allow_older || !arguments.luks.key_files.empty())
        throw_error(Code::kUsage,
                    "a TARGET that is another machine takes SOURCE, --busy-source, --trust, --insecure, "
                    "--peers, --peer, --streams and --nice; the rest is said there, to receive");
}

// Progress of the other end, as if it was ours.
class TheirProgress {
  public:
    explicit TheirProgress(Progress& progress) : progress_(progress) {}
    void take(const wire::ProgressNote& note) {
        if (note.phase != phase_ || note.part != part_ || note.done_bytes < done_) {
            end();
            phase_ = note.phase, part_ = note.part, done_ = 0, total_ = note.total_bytes;
            progress_.set_part(note.part, note.parts);
            progress_.begin(note.phase, note.total_bytes);
        }
        progress_.advance(note.done_bytes - done_);
        done_ = note.done_bytes;
    }
    // Another phase, or the result: it got to its end after its last note.
    void end() {
        if (total_ > done_) progress_.advance(total_ - done_);
        total_ = 0;
    }

  private:
    Progress& progress_;
    std::string phase_;
    unsigned part_ = 0;
    std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

Json sent_json(const std::string& source, const Sent& sent) {
    const wire::Result& result = sent.answered.result;
    return {{"result", result.verified ? "verified" : "unverified"},
            {"source", source},
            {"target", result.target},
            {"bytes_used", result.bytes_used},
            {"bytes_read", result.bytes_read},
            {"bytes_equal", result.bytes_equal},
            {"bytes_written", result.bytes_written},
            {"bytes_verified", result.bytes_verified},
            {"bytes_sent", sent.answered.bytes_sent},
            {"bytes_received", sent.answered.bytes_received},
            {"seconds", sent.seconds},
            {"notes", result.notes}};
}

std::string sent_text(const std::string& source, const Sent& sent, Charset charset) {
    const wire::Result& result = sent.answered.result;
    std::string text =
        fmt::format("{}: {} is a copy of {}\n", result.verified ? "done and verified" : "done, not verified",
                    printable(result.target, charset), printable(source, charset));
    text += fmt::format("{} in use, {} were there already; {} went over the wire, in {}\n",
                        format_size(result.bytes_used), format_size(result.bytes_equal),
                        format_size(sent.answered.bytes_sent), format_duration(sent.seconds));
    if (sent.answered.times_broken != 0)
        text += fmt::format("note: the connection broke {} times and was made again\n",
                            sent.answered.times_broken);
    for (const std::string& note : result.notes)
        text += fmt::format("note: {}\n", printable(note, charset));
    return text;
}

Sent send_offer(const wire::Offer& offer, const wire::Calling& call, std::stop_token stop,
                const Globals& globals, unsigned streams) {
    Progress progress;
    TheirProgress theirs(progress);
    wire::AnswerOptions options;
    options.version = kVersion;
    options.stop = std::move(stop);
    options.on_progress = [&](const wire::ProgressNote& note) { theirs.take(note); };
    Sent sent;
    const auto start = std::chrono::steady_clock::now();
    {
        const ProgressView view(progress, globals.progress);
        sent.answered = wire::answer_until_done(call, offer, options, streams);
        theirs.end();
    }
    sent.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return sent;
}

int run_send(const CopyArguments& arguments, const wire::PeerReference& to, const Globals& globals) {
    refuse_options_of_the_target(arguments, to, globals);
    if (arguments.nice) go_last();
    OfferedSource source("disk", arguments.source, arguments);
    SystemRandom random;
    wire::Offer offer(random);
    offer.add(source.disk());
    const InterruptWatch interrupt;
    source.set_stop(interrupt.token());
    const auto call_target = [&](const std::stop_token& stop) {
        return call(to.address, arguments.peers, stop);
    };
    Sent sent = send_offer(offer, call_target, interrupt.token(), globals, arguments.peers.chosen_streams());
    for (const std::string& note : source.notes())
        sent.answered.result.notes.push_back(note);
    const Charset charset = look_at_terminal(STDOUT_FILENO).style.charset;
    if (globals.json)
        fmt::print("{}\n",
                   sent_json(arguments.source, sent).dump(2, ' ', false, Json::error_handler_t::replace));
    else
        fmt::print("{}", sent_text(arguments.source, sent, charset));
    return 0;
}

}  // namespace dupengine::cli
