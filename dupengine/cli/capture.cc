#include "cli/capture.h"

#include <unistd.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/copy_source.h"
#include "cli/copy_view.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "engine/capture.h"
#include "engine/refusals.h"
#include "image/tar_names.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDefaultName = "disk";

bool is_to_pipe(const CaptureRequest& request) {
    return request.target.place == image::kPipe;
}

// Standard output may be the image.
void say(const CaptureRequest& request, const std::string& text) {
    fmt::print(is_to_pipe(request) ? stderr : stdout, "{}", text);
}

// The image of a store that has only one need not be named again.
std::string choose_name(const image::Reference& target, const image::StoreIndex& index) {
    if (target.name) return *target.name;
    if (index.images.empty()) return kDefaultName;
    return index.find(target).name;
}

// What nobody here can read back is not called verified.
std::string capture_text(const CaptureRequest& request, const engine::CaptureReport& report,
                         Charset charset) {
    std::string text = fmt::format(
        "{}: image:{}#{} holds {}{}\n", is_to_pipe(request) ? "sent, not read back" : "done and verified",
        printable(report.store, charset), report.image.text(), printable(report.source, charset),
        report.is_signed ? ", signed" : ", not signed");
    text += fmt::format("read {}, {} of data; {} were stored already, {} are new, in {}\n",
                        format_size(report.bytes_read), format_size(report.bytes_data),
                        format_size(report.bytes_shared), format_size(report.bytes_stored),
                        format_duration(report.seconds));
    for (const std::string& note : report.notes)
        text += fmt::format("note: {}\n", printable(note, charset));
    return text;
}

// `report` is null for a plan.
std::string capture_json(const CaptureRequest& request, const engine::CopyPlan& plan,
                         const engine::CaptureReport* report) {
    const char* done = is_to_pipe(request) ? "sent" : "verified";
    Json json = {{"result", report != nullptr ? done : "planned"},
                 {"source", plan.source.name},
                 {"target", plan.target.name},
                 {"bytes_used", plan.bytes_used}};
    if (report != nullptr) {
        json["name"] = report->image.name;
        json["version"] = report->image.version;
        json["signed"] = report->is_signed;
        json["bytes_read"] = report->bytes_read;
        json["bytes_data"] = report->bytes_data;
        json["bytes_shared"] = report->bytes_shared;
        json["bytes_stored"] = report->bytes_stored;
        json["seconds"] = report->seconds;
    }
    json["notes"] = report != nullptr ? report->notes : plan.notes;
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

image::Manifest draft_of(const engine::CopyPlan& plan, const CaptureRequest& request,
                         const std::string& name) {
    constexpr std::int64_t kDay = 86400;
    image::Manifest draft = engine::draft_manifest(plan);
    draft.name = name;
    draft.version = request.target.version.value_or(0);  // of a tar; a store knows better
    draft.created = std::time(nullptr);
    if (request.image.expires_days != 0) draft.expires = draft.created + request.image.expires_days * kDay;
    draft.target_class = request.image.target_class;
    return draft;
}

image::ImageWriter::Sign signer(const image::SigningKey* key) {
    if (key == nullptr) return {};
    return [key](std::span<const std::byte> manifest) { return key->sign(manifest); };
}

void add_to_store(const engine::CopyPlan& plan, const block::Reader& source, const CaptureRequest& request,
                  const image::SigningKey* key, engine::CaptureContext& context,
                  engine::CaptureReport& report) {
    image::Store::create(request.target.place);
    image::Store store(request.target.place, image::StoreLock::For::kWriting);
    image::ImageWriter writer(store, draft_of(plan, request, choose_name(request.target, store.index())),
                              engine::captured_extents(plan));
    report = engine::capture(plan, source, writer, context);
    writer.finish(signer(key));
    report.image = {writer.manifest().name, writer.manifest().version};
    report.bytes_data = writer.data_bytes();
    report.bytes_shared = writer.shared_bytes();
    report.bytes_stored = writer.stored_bytes();
    const auto notes = writer.notes();
    report.notes.insert(report.notes.end(), notes.begin(), notes.end());
}

void make_tar(const engine::CopyPlan& plan, const block::Reader& source, const CaptureRequest& request,
              const image::SigningKey* key, engine::CaptureContext& context, engine::CaptureReport& report) {
    const auto output = is_to_pipe(request) ? image::tar_pipe(STDOUT_FILENO, context.stop)
                                            : image::new_tar_file(request.target.place);
    image::TarImageWriter writer(draft_of(plan, request, request.target.name.value_or(kDefaultName)),
                                 engine::captured_extents(plan), engine::described_extents(plan, source));
    report = engine::capture_tar(plan, source, writer, signer(key), *output, context);
    report.image = {writer.manifest().name, writer.manifest().version};
}

engine::CaptureReport execute(const engine::CopyPlan& plan, const CopySource& source,
                              const CaptureRequest& request, const image::SigningKey* key,
                              const Globals& globals) {
    const InterruptWatch interrupt;
    source.set_stop(interrupt.token());
    Progress progress;
    const ProgressView view(progress, globals.progress);
    engine::CaptureContext context{
        progress, interrupt.token(),
        [&]() -> std::string { return request.busy_source ? "" : source.change(); },
        [&] { source.finish(); }};
    const auto start = std::chrono::steady_clock::now();
    engine::CaptureReport report;
    const auto take = image::is_tar(request.target.place) ? make_tar : add_to_store;
    take(plan, source.reader(), request, key, context, report);
    report.store = request.target.place;
    report.is_signed = key != nullptr;
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
}

// All that can be wrong with a tar is found before hours are spent.
void refuse_impossible_tar(const CaptureRequest& request) {
    if (!image::is_tar(request.target.place)) {
        if (request.target.version)
            throw_error(Code::kUsage, "{}: a new image gets the next version by itself",
                        request.target.text());
        return;
    }
    if (!is_to_pipe(request))
        image::new_tar_file(request.target.place);
    else if (::isatty(STDOUT_FILENO) != 0)
        throw_error(Code::kUsage, "image:- writes a tar to standard output, which is a terminal");
}

}  // namespace

int run_capture(const CaptureRequest& request, const Globals& globals) {
    refuse_impossible_tar(request);
    std::optional<image::SigningKey> key;
    if (!request.image.signing_key.empty()) key.emplace(request.image.signing_key);
    CopySource source(request.source, request.trust);
    const auto uses = engine::refuse_if_changing(
        source.local_path(), request.busy_source ? engine::BusySource::kAccept : engine::BusySource::kRefuse);
    if (!request.busy_source) source.take_alone();
    SourcePlaintext plaintext(request.luks);
    engine::CopyOptions options = request.options;
    options.plaintext = &plaintext.finder();
    engine::CopyPlan plan = engine::make_capture_plan(source.reader(), request.target.text(), options);
    plaintext.forget_keys();
    plan.notes.insert(plan.notes.end(), source.notes().begin(), source.notes().end());
    plan.notes.insert(plan.notes.end(), uses.begin(), uses.end());
    plan.notes.insert(plan.notes.end(), plaintext.notes().begin(), plaintext.notes().end());
    if (!request.busy_source && source.could_change_unseen())
        plan.notes.push_back(fmt::format(
            "nothing would show that {} is written while it is captured: see to it that nobody does",
            source.local_path()));
    const DrawingStyle style = look_at_terminal(is_to_pipe(request) ? STDERR_FILENO : STDOUT_FILENO).style;
    if (!globals.json) say(request, draw_capture(plan, style));
    if (globals.dry_run) {
        if (globals.json) say(request, capture_json(request, plan, nullptr) + "\n");
        return 0;
    }
    std::fflush(stdout);
    const engine::CaptureReport report = execute(plan, source, request, key ? &*key : nullptr, globals);
    say(request, globals.json ? capture_json(request, plan, &report) + "\n"
                              : capture_text(request, report, style.charset));
    return 0;
}

}  // namespace dupengine::cli
