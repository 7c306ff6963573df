#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <map>

#include "base/units.h"
#include "cli/copy_arguments.h"

namespace dupengine::cli {

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

void go_last() {
    constexpr int kOfThisThread = 1,
                  kIdle = 3 << 13;  // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_IDLE (linux/ioprio.h)
    constexpr int kNicest = 19;
    static_cast<void>(::setpriority(PRIO_PROCESS, 0, kNicest));
    static_cast<void>(::syscall(SYS_ioprio_set, kOfThisThread, 0, kIdle));
}

void add_target_options(CLI::App& verb, CopyArguments& arguments) {
    static const std::map<std::string, engine::Unused> kUnused = {{"discard", engine::Unused::kDiscard},
                                                                  {"zero", engine::Unused::kZero},
                                                                  {"keep", engine::Unused::kKeep}};
    static const std::map<std::string, engine::Verify> kVerify = {
        {"used", engine::Verify::kUsed}, {"all", engine::Verify::kAll}, {"none", engine::Verify::kNone}};
    static const std::map<std::string, engine::Delta> kDelta = {
        {"auto", engine::Delta::kAuto}, {"always", engine::Delta::kAlways}, {"never", engine::Delta::kNever}};
    verb.add_option("--unused", arguments.options.unused,
                    "What the source doesn't use becomes: discard, zero, keep")
        ->transform(one_of(kUnused))
        ->option_text("WHAT");
    verb.add_option("--verify", arguments.options.verify,
                    "Read back: used (what was copied), all (zeroed ranges too), none")
        ->transform(one_of(kVerify))
        ->option_text("HOW");
    verb.add_option("--delta", arguments.options.delta,
                    "Read the target first and write only what differs: auto, always, never")
        ->transform(one_of(kDelta))
        ->option_text("WHEN");
    verb.add_flag("--grow", arguments.options.grow, "Extend the last filesystem to fill a larger target");
    verb.add_option(
            "--protect", arguments.options.protect,
            "Keep what the target has there: BEGIN+SIZE, BEGIN..END, PARTLABEL or PARTUUID; may be repeated")
        ->option_text("REGION")
        ->allow_extra_args(false);
    verb.add_flag("--tolerate-bad-sectors", arguments.options.tolerate_bad_sectors,
                  "Copy what can be read of a failing source; the report names the rest");
    verb.add_option("--rate", arguments.options.tuning.bytes_per_second,
                    "At most this many bytes a second: 50M")
        ->transform(size_reader())
        ->option_text("SIZE");
    verb.add_flag("--nice", arguments.nice, "Let other programs go first, on the processor and on the disks");
    verb.add_option("--workers", arguments.options.tuning.workers, "Threads that copy")
        ->check(CLI::Range(1, 64).description(""))
        ->option_text("N");
    verb.add_option("--depth", arguments.options.tuning.depth, "Chunks under way in each of them")
        ->check(CLI::Range(1, 64).description(""))
        ->option_text("N");
    verb.add_option("--chunk-size", arguments.options.tuning.chunk_bytes,
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
    verb.add_flag("--ignore-target-table", arguments.options.ignore_target_table,
                  "Overwrite a target whose damaged table may name a profile");
}

}  // namespace dupengine::cli
