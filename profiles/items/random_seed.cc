// The seed that the system feeds to the kernel's generator at its start: two machines with one seed draw the
// same "random" keys. The one on the root (systemd-random-seed.service(8)) and the boot loader's (bootctl(1),
// "random-seed").

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kFolder = "/var/lib/systemd";
constexpr const char* kSeed = "/var/lib/systemd/random-seed";
constexpr std::size_t kLeastBytes = 32, kUsualBytes = 512, kMostBytes = 4096;

Node fresh_seed(const Node& there, RandomSource& random) {
    std::size_t size = kUsualBytes;
    if (there.kind == NodeKind::kFile)
        size = std::min(std::max<std::size_t>(there.size_bytes, kLeastBytes), kMostBytes);
    std::string seed(size, '\0');
    random.fill(std::as_writable_bytes(std::span(seed.data(), seed.size())));
    // A new file: the attribute "user.random-seed-creditable", which vouches for the old bytes, is not taken
    // over.
    return Node::file(std::move(seed), 0600);
}

}  // namespace

void stage_random_seed(ItemContext& context, const std::vector<std::string>& boot_folders) {
    const Mode mode = context.profile.random_seed.mode;
    if (mode == Mode::kIgnore) return;
    if (mode != Mode::kRegenerate && mode != Mode::kRemove) refuse_mode("random_seed", mode);
    // Fresh once for each copy; from then on the system itself renews it.
    if (mode == Mode::kRegenerate && !context.remembered.emplace("random_seed", "done").second) return;
    Staged& staged = context.staged;
    std::vector<std::string> seeds;
    if (staged.look(resolve(staged, kFolder)).kind == NodeKind::kFolder) seeds.emplace_back(kSeed);
    for (const std::string& folder : boot_folders) {
        const std::string seed = folder + "/loader/random-seed";
        if (staged.look(resolve(staged, seed)).kind == NodeKind::kFile) seeds.push_back(seed);
    }
    for (const std::string& seed : seeds) {
        const Node there = staged.take(resolve(staged, seed));
        if (mode == Mode::kRemove)
            staged.change("random_seed", seed, {}, "the source's", "(none)");
        else
            staged.change("random_seed", seed, fresh_seed(there, context.random), "the source's",
                          "fresh bytes");
    }
}

}  // namespace dupengine::profiles
