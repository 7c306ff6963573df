#include "engine/refit/shrink_programs.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace dupengine::engine {

std::span<const Shrinker> all_shrinkers() {
    static const std::vector<const char*> kExtPrograms = {"e2fsck", "resize2fs"};
    static const std::array<Shrinker, 5> kShrinkers = {
        {{"ext4", "e2fsprogs", kExtPrograms, find_least_ext, shrink_ext, ""},
         {"ext3", "e2fsprogs", kExtPrograms, find_least_ext, shrink_ext, ""},
         {"ext2", "e2fsprogs", kExtPrograms, find_least_ext, shrink_ext, ""},
         {"btrfs",
          "btrfs-progs",
          {"btrfs", "btrfstune", "unshare", "mount", "umount"},
          find_least_btrfs,
          shrink_btrfs,
          ""},
         {"ntfs",
          "ntfs-3g",
          {"ntfsresize"},
          find_least_ntfs,
          shrink_ntfs,
          "Windows checks it (chkdsk) when it starts the next time"}}};
    return kShrinkers;
}

const Shrinker* find_shrinker(const std::string& type) {
    const std::span<const Shrinker> all = all_shrinkers();
    const auto found = std::ranges::find_if(all, [&](const Shrinker& one) { return one.type == type; });
    return found == all.end() ? nullptr : &*found;
}

std::uint64_t used_of_filesystem(const layout::UsedExtents& used) {
    if (used.filesystem_bytes == 0) return used.used.total_bytes();
    return used.used.clipped_to({0, used.filesystem_bytes}).total_bytes();
}

RunResult run_patiently(const std::vector<std::string>& argv, const std::stop_token& stop,
                        std::vector<std::string> environment) {
    RunOptions options;
    // Moving the tail of a large disk takes hours; only who started it may lose patience.
    options.deadline = std::chrono::hours(7 * 24);
    options.stop = stop;
    options.extra_environment = std::move(environment);
    return run_program(argv, options);
}

std::uint64_t number_behind(const std::string& text, const std::string& words, const std::string& program) {
    const std::size_t at = text.find(words);
    std::uint64_t number = 0;
    if (at != std::string::npos) {
        std::size_t begin = text.find_first_not_of(' ', at + words.size());
        begin = std::min(begin, text.size());
        if (std::from_chars(text.data() + begin, text.data() + text.size(), number).ec == std::errc())
            return number;
    }
    throw_error(Code::kUnsupported, "{} does not say \"{}\": its version is not known here", program, words);
}

}  // namespace dupengine::engine
