#pragma once
// What the tests of a system that runs share: a golden disk whose root is mounted in a place of its own.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/swap.h>

#include <cstring>
#include <functional>
#include <optional>

#include "profiles/assume.h"
#include "profiles/node_role.h"
#include "profiles/system/running_system.h"
#include "tests/support/disk_image.h"
#include "tests/system/assume_disk.h"

namespace dupengine::profiles {

class RunningDiskTest : public AssumeDisk {
  protected:
    // What is mounted here is seen by no other test, whose programs would hold it.
    static void SetUpTestSuite() {
        ASSERT_EQ(::unshare(CLONE_NEWNS | CLONE_NEWUTS), 0);  // and a host name of our own
        ASSERT_EQ(::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    }
    enum class Seed { kThere, kNot };
    void start(Seed seed = Seed::kThere) {
        golden_ = make("disk.img");
        loop_.emplace(golden_.path);
        nodes_.emplace(*loop_);
        if (seed == Seed::kThere) test::must_run({"tune2fs", "-O", "metadata_csum_seed", node(3)});
        profile_digest_ = range_digest(128);
        mount_root();
    }
    void mount_root(unsigned long flags = 0) {
        std::filesystem::create_directories(root_);
        ASSERT_EQ(::mount(node(3).c_str(), root_.c_str(), "ext4", flags, nullptr), 0) << std::strerror(errno);
    }
    void stop() {
        if (nodes_) ::swapoff(node(2).c_str());
        ::umount2(root_.c_str(), MNT_DETACH);
        nodes_.reset();
        loop_.reset();
    }
    void TearDown() override { stop(); }

    std::string node(unsigned number) const { return fmt::format("{}p{}", loop_->path(), number); }
    std::string range_digest(unsigned number) {
        const std::string text = test::must_run({"sgdisk", "-i", std::to_string(number), golden_.path});
        const auto value = [&](const std::string& key) {
            return std::stoull(text.substr(text.find(key) + key.size()));
        };
        return test::range_sha256(golden_.path,
                                  {value("First sector: ") * 512, (value("Last sector: ") + 1) * 512});
    }
    RunningSystem running() { return {{loop_->path()}, {root_, media_}}; }
    // Nobody can read the ESP where there is no vfat, so a person says that its references may stay.
    static AssumeOptions options() {
        AssumeOptions how;
        how.left_references = {"/boot/efi"};
        return how;
    }
    StoredRole role() { return read_role_from_medium(loop_->path(), media_); }
    AssumePlan planned(RunningSystem& system, const AssumeOptions& how) {
        const StoredRole stored = role();
        SystemRandom random;
        const Profile profile = merge_role(stored, {}, system.tree(), system.name());
        return plan_assume(profile, stored.profile.secret, system, random, how);
    }
    AssumePlan take_up(const std::function<void()>& before_applying = [] {}) {
        RunningSystem system = running();
        const NodeSecret secret = role().profile.secret;
        const AssumePlan made = planned(system, options());
        before_applying();
        apply_assume(made, secret, system);
        return made;
    }
    std::string text(const std::string& path) { return read_file(root_ + path, Code::kInternal); }
    static std::string after(const AssumePlan& plan, IdentifierKind kind, unsigned number) {
        for (const IdentifierChange& change : plan.identifiers)
            if (change.kind == kind && change.partition == number) return change.after;
        return "unchanged";
    }

    test::GoldenDisk golden_;
    std::optional<test::LoopDevice> loop_;
    std::optional<test::PartitionNodes> nodes_;
    block::Media media_;
    std::string root_ = folder.file("root");
    std::string profile_digest_;
};

}  // namespace dupengine::profiles
