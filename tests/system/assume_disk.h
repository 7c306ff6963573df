#pragma once
// What the tests of `dupengine assume` on real disks share: a golden disk that holds a profile, the command,
// and what is looked at afterwards.

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/golden_disk.h"
#include "tests/support/scratch.h"

namespace dupengine {

inline constexpr const char* kProfile = R"(
schema = 1
kind = "node"
node = "web-1"
[identity]
machine_id = { mode = "derive" }
ssh_host_keys = { mode = "derive", types = ["ed25519", "ecdsa"] }
random_seed = { mode = "regenerate" }
[storage]
disk_guid = { mode = "derive" }
part_guid = { mode = "derive" }
fs_uuid = { mode = "derive" }
swap_uuid = { mode = "derive" }
[services]
enable = ["web.service"]
[[user]]
name = "ops"
ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE ops"]
)";

inline RunResult assume(const std::string& disk, std::vector<std::string> more = {"--yes"}) {
    std::vector<std::string> argv = {"assume", "--json", "--disk", disk};
    argv.insert(argv.end(), more.begin(), more.end());
    return test::run_dupengine(argv);
}

inline nlohmann::json must_assume(const std::string& disk, std::vector<std::string> more = {"--yes"}) {
    const RunResult result = assume(disk, std::move(more));
    EXPECT_EQ(result.status, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
}

class AssumeDisk : public ::testing::Test {
  protected:
    test::GoldenDisk make(const std::string& name, const test::GoldenRecipe& recipe = {}) {
        test::GoldenDisk made = test::make_golden_disk(folder, name, recipe);
        write_file_atomic(folder.file("profile.toml"), as_bytes(kProfile), 0644, Code::kInternal);
        const RunResult init = test::run_dupengine(
            {"profile", "init", "--store", "partition:" + made.path, "--from", folder.file("profile.toml")});
        EXPECT_EQ(init.status, 0) << init.err;
        return made;
    }
    void expect_sound(const test::GoldenDisk& golden) {
        const std::string part = folder.file("part.img");
        test::extract_range(golden.path, golden.root, part);
        const RunResult fsck = run_program({"e2fsck", "-fn", part});
        EXPECT_EQ(fsck.status, 0) << fsck.out;
        test::extract_range(golden.path, golden.esp, part);
        EXPECT_EQ(run_program({"fsck.fat", "-n", part}).status, 0);
        std::filesystem::remove(part);
        EXPECT_THAT(test::must_run({"sgdisk", "-v", golden.path}), ::testing::HasSubstr("No problems found"));
    }
    // Everything that a person would see: both trees and all identifiers.
    std::string picture(const test::GoldenDisk& golden) {
        const std::string part = folder.file("part.img");
        test::extract_range(golden.path, golden.root, part);
        std::string all = test::ext_tree_digest(folder, part);
        test::extract_range(golden.path, golden.esp, part);
        all += " " + test::fat_tree_digest(folder, part);
        std::filesystem::remove(part);
        for (const block::Extent place : {golden.esp, golden.swap, golden.root})
            all += " " + test::probed(golden.path, place, "UUID");
        for (const unsigned number : {1u, 2u, 3u, 128u})
            all += " " + test::partition_guid(golden, number);
        return all + " " + test::disk_guid(golden);
    }
    test::ScratchFolder folder;
};

}  // namespace dupengine
