// dupengine copy SOURCE TARGET: duplicates a disk or image onto another and verifies it. See
// dupengine-copy(8).

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>

#include "base/fd.h"
#include "base/units.h"
#include "block/open.h"
#include "cli/command.h"
#include "cli/confirm.h"
#include "cli/copy_view.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"
#include "cli/shrinking.h"
#include "cli/terminal.h"
#include "engine/apply.h"
#include "engine/grow.h"
#include "engine/refusals.h"

namespace dupengine::cli {
namespace {

struct CopyArguments {
    std::string source, target;
    engine::CopyOptions options;
    bool busy_source = false;
    bool create = false;
    bool shrink = false;
    bool nice = false;
};

// "50M" as a number for the option behind it.
CLI::Validator size_reader() {
    return {[](std::string& text) {
                try {
                    text = std::to_string(parse_size(text));
                    return std::string();
                } catch (const Error& e) {
                    return std::string(e.what());
                }
            },
            "", "size"};
}

// Processor time and the disks to others first (ionice(1), class idle). Threads made later inherit it.
void go_last() {
    constexpr int kOfThisThread = 1,
                  kIdle = 3 << 13;  // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_IDLE (linux/ioprio.h)
    constexpr int kNicest = 19;
    static_cast<void>(::setpriority(PRIO_PROCESS, 0, kNicest));
    static_cast<void>(::syscall(SYS_ioprio_set, kOfThisThread, 0, kIdle));
}

// A sparse file as large as the source. Never below /dev: a mistyped device name must not become a file.
void create_target_file(const std::string& path, std::uint64_t size_bytes) {
    const std::filesystem::path parent = std::filesystem::absolute(path).parent_path();
    struct statfs fs {};
    if (::statfs(parent.c_str(), &fs) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be created", path);
    const bool in_dev = std::filesystem::weakly_canonical(parent).string().starts_with("/dev/") &&
                        !std::filesystem::weakly_canonical(parent).string().starts_with("/dev/shm");
    if (in_dev || std::filesystem::weakly_canonical(parent) == "/dev")
        throw_error(Code::kRefused, "{}: does not exist, and no file is ever made below /dev", path);
    const Fd fd = open_path(path, O_RDWR | O_CREAT | O_EXCL, Code::kRefused);
    if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0) {
        const int failed = errno;
        ::unlink(path.c_str());
        throw_errno(Code::kRefused, failed, "{}: cannot be made {} bytes long", path, size_bytes);
    }
}

// The file that --create made goes away again unless something was written to it, by us or by anybody.
class CreatedFile {
  public:
    CreatedFile() = default;
    CreatedFile(const CreatedFile&) = delete;
    CreatedFile& operator=(const CreatedFile&) = delete;
    ~CreatedFile() {
        struct stat st {};
        if (!path_.empty() && ::stat(path_.c_str(), &st) == 0 && st.st_blocks == 0) ::unlink(path_.c_str());
    }
    void made(std::string path) { path_ = std::move(path); }
    void keep() { path_.clear(); }

  private:
    std::string path_;
};

std::vector<std::string> refuse_if_busy(const CopyArguments& arguments) {
    return engine::refuse_if_in_use(
        arguments.source, arguments.target,
        arguments.busy_source ? engine::BusySource::kAccept : engine::BusySource::kRefuse);
}

engine::CopyReport execute(const engine::CopyPlan& plan, const CopyArguments& arguments,
                           const block::Reader& source, const block::SourceHold& held, const Globals& globals,
                           CreatedFile& created) {
    const InterruptWatch interrupt;
    const auto target = block::open_target(arguments.target, plan.protected_regions(),
                                           plan.target.geometry.is_block_device
                                               ? std::nullopt
                                               : std::optional<std::uint32_t>(plan.sector_bytes));
    // While the question stood, somebody may have mounted a file; a device is held alone from here on.
    if (!plan.target.geometry.is_block_device) refuse_if_busy(arguments);
    Progress progress;
    const ProgressView view(progress, globals.progress);
    const auto grow = [&](const engine::CopyPlan& planned, const block::Target& grown) {
        engine::grow_filesystem(planned, grown, interrupt.token());
    };
    const auto source_change = [&]() -> std::string {
        if (arguments.busy_source) return "";
        if (held.has_changed()) return "was written";
        const std::string uses = engine::name_changing_uses(arguments.source);
        return uses.empty() ? "" : "came into use (" + uses + ")";
    };
    engine::ApplyContext context{progress, interrupt.token(), std::time(nullptr), grow, source_change};
    try {
        engine::CopyReport report = engine::apply_plan(plan, source, *target, context);
        created.keep();
        return report;
    } catch (...) {
        // From the first write on it is an unfinished copy, and says so.
        if (target->bytes_written() != 0 || target->bytes_zeroed() != 0) created.keep();
        throw;
    }
}

int run_copy(const CopyArguments& arguments, const Globals& globals) {
    const auto source = block::open_source(arguments.source);
    block::SourceHold held(arguments.source);
    CreatedFile created;
    if (arguments.create && ::access(arguments.target.c_str(), F_OK) != 0) {
        create_target_file(arguments.target, source->geometry().size_bytes);
        created.made(arguments.target);
    }
    // Everything that can be refused is refused here, while the target is open for reading only.
    block::refuse_if_read_only(arguments.target);
    const auto notes = refuse_if_busy(arguments);
    if (!arguments.busy_source) held.take_alone();
    engine::CopyPlan plan;
    engine::Shrunk shrunk;
    {
        const auto target = block::open_source(arguments.target);
        shrunk = shrink_if_asked(arguments.shrink, *source, *target, arguments.options, globals);
        plan = engine::make_plan(shrunk.view ? *shrunk.view : *source, *target, arguments.options);
        engine::refuse_if_growing_is_impossible(plan, *target);
    }
    plan.notes.insert(plan.notes.end(), shrunk.notes.begin(), shrunk.notes.end());
    plan.notes.insert(plan.notes.end(), notes.begin(), notes.end());

    const DrawingStyle style = look_at_terminal(STDOUT_FILENO).style;
    if (!globals.json && shrunk.view) fmt::print("{}", draw_before(shrunk.before, style));
    if (!globals.json) fmt::print("{}", draw_plan(plan, style));
    if (globals.dry_run) {
        if (globals.json) fmt::print("{}\n", copy_json(plan, nullptr));
        return 0;
    }
    std::fflush(stdout);
    if (!globals.yes) confirm_overwrite(arguments.target);
    if (arguments.nice) go_last();
    engine::CopyReport report =
        execute(plan, arguments, shrunk.view ? *shrunk.view : *source, held, globals, created);
    if (!block::reread_partitions(arguments.target))
        report.notes.emplace_back(
            "the kernel still uses the target's old table: partitions of it are in use; reboot");
    if (globals.json)
        fmt::print("{}\n", copy_json(plan, &report));
    else
        fmt::print("{}", draw_report(report, plan, style));
    return 0;
}

}  // namespace

void add_copy(CLI::App& app, Globals& globals, Action& action) {
    static const std::map<std::string, engine::Unused> kUnused = {{"discard", engine::Unused::kDiscard},
                                                                  {"zero", engine::Unused::kZero},
                                                                  {"keep", engine::Unused::kKeep}};
    static const std::map<std::string, engine::Verify> kVerify = {
        {"used", engine::Verify::kUsed}, {"all", engine::Verify::kAll}, {"none", engine::Verify::kNone}};
    static const std::map<std::string, engine::Delta> kDelta = {
        {"auto", engine::Delta::kAuto}, {"always", engine::Delta::kAlways}, {"never", engine::Delta::kNever}};
    CLI::App* verb = app.add_subcommand("copy", "Duplicate a disk or image onto another and verify it");
    const auto arguments = std::make_shared<CopyArguments>();
    verb->add_option("SOURCE", arguments->source, "Block device or raw image file to read")->required();
    verb->add_option("TARGET", arguments->target, "Block device or raw image file to overwrite")->required();
    verb->add_option("--unused", arguments->options.unused,
                     "What the source doesn't use becomes: discard, zero, keep")
        ->transform(one_of(kUnused))
        ->option_text("WHAT");
    verb->add_option("--verify", arguments->options.verify,
                     "Read back: used (what was copied), all (zeroed ranges too), none")
        ->transform(one_of(kVerify))
        ->option_text("HOW");
    verb->add_option("--delta", arguments->options.delta,
                     "Read the target first and write only what differs: auto, always, never")
        ->transform(one_of(kDelta))
        ->option_text("WHEN");
    verb->add_flag("--grow", arguments->options.grow, "Extend the last partition and its ext filesystem");
    verb->add_option(
            "--protect", arguments->options.protect,
            "Keep what the target has there: BEGIN+SIZE, BEGIN..END, PARTLABEL or PARTUUID; may be repeated")
        ->option_text("REGION")
        ->allow_extra_args(false);
    verb->add_flag("--tolerate-bad-sectors", arguments->options.tolerate_bad_sectors,
                   "Copy what can be read of a failing source; the report names the rest");
    verb->add_option("--rate", arguments->options.tuning.bytes_per_second,
                     "At most this many bytes a second: 50M")
        ->transform(size_reader())
        ->option_text("SIZE");
    verb->add_flag("--nice", arguments->nice,
                   "Let other programs go first, on the processor and on the disks");
    verb->add_option("--workers", arguments->options.tuning.workers, "Threads that copy")
        ->check(CLI::Range(1, 64).description(""))
        ->option_text("N");
    verb->add_option("--depth", arguments->options.tuning.depth, "Chunks under way in each of them")
        ->check(CLI::Range(1, 64).description(""))
        ->option_text("N");
    verb->add_option("--chunk-size", arguments->options.tuning.chunk_bytes,
                     "Size of a chunk, a power of two from 64K to 8M")
        ->transform(size_reader())
        ->check(CLI::Validator(
            [](std::string& text) {
                const std::uint64_t size = std::stoull(text);
                const bool good = size >= 64 * kKiB && size <= 8 * kMiB && std::has_single_bit(size);
                return good ? std::string() : "not a power of two from 64K to 8M";
            },
            "", "chunk size"))
        ->option_text("SIZE");
    verb->add_flag("--create", arguments->create, "Make TARGET, a raw image file, if it does not exist");
    // A filesystem that changes while it is made smaller would be neither the old nor the new one.
    CLI::Option* shrink = verb->add_flag(
        "--shrink", arguments->shrink,
        "Onto a smaller target: move partitions, make ext, NTFS and btrfs filesystems smaller");
    verb->add_flag("--busy-source", arguments->busy_source, "Copy a source that is mounted or used as swap")
        ->excludes(shrink);
    verb->add_flag("--ignore-target-table", arguments->options.ignore_target_table,
                   "Overwrite a target whose damaged table may name a profile");
    add_plan_options(*verb, globals);
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback(
        [arguments, &globals, &action] { action = [=, &globals] { return run_copy(*arguments, globals); }; });
}

}  // namespace dupengine::cli
