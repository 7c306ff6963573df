// What the project ships must itself be right: its roles, and the example of the manual page.

#include <gmock/gmock.h>

#include <filesystem>

#include "base/fd.h"
#include "base/subprocess.h"
#include "profiles/merge.h"
#include "tests/support/paths.h"

namespace dupengine::profiles {
namespace {

const std::string kSource = test::source_folder();

Merged node_with(const std::string& roles) {
    const Layer node =
        parse_layer("schema = 1\nkind = \"node\"\nnode = \"n1\"\nroles = [" + roles + "]\n", "n1.toml");
    return merge(node, find_roles(node.profile, {kSource + "/profiles/roles"}));
}

TEST(ShippedRoles, AreGoodAndFitTogether) {
    for (const auto& entry : std::filesystem::directory_iterator(kSource + "/profiles/roles"))
        EXPECT_NO_THROW(node_with('"' + entry.path().stem().string() + '"')) << entry.path();
    EXPECT_NO_THROW(node_with("\"base\", \"web\", \"storage\""));
}

TEST(ShippedRoles, BaseMakesEveryIdentityAnother) {
    const Profile p = node_with("\"base\"").profile;
    for (const Item& item : {p.machine_id, p.disk_guid, p.part_guid, p.fs_uuid, p.swap_uuid})
        EXPECT_EQ(item.mode, Mode::kDerive);
    EXPECT_EQ(p.ssh_host_keys.mode, Mode::kDerive);
    EXPECT_EQ(p.random_seed.mode, Mode::kRegenerate);
    EXPECT_EQ(p.enrolment.mode, Mode::kRemove);
    EXPECT_EQ(p.hostname, (Item{Mode::kSet, "n1"}));
}

TEST(ShippedRoles, EnableOnlyUnitsThatTheyBringOrThatEveryDebianHas) {
    for (const char* role : {"web", "storage"}) {
        const Profile p = node_with('"' + std::string(role) + '"').profile;
        EXPECT_THAT(p.services.enable, ::testing::Contains("role-" + std::string(role) + ".service"));
        for (const std::string& unit : p.services.enable) {
            const bool brought = std::any_of(p.files.begin(), p.files.end(), [&](const File& file) {
                return file.path == "/etc/systemd/system/" + unit &&
                       file.content.find("\n[Install]\nWantedBy=") != std::string::npos;
            });
            EXPECT_TRUE(brought || unit == "fstrim.timer") << unit;  // fstrim.timer: util-linux
        }
    }
}

TEST(ShippedRoles, ScriptsAreScripts) {
    unsigned scripts = 0;
    for (const File& file : node_with("\"web\", \"storage\"").profile.files) {
        if (!file.content.starts_with("#!/bin/sh\n")) continue;
        ++scripts;
        EXPECT_EQ(file.mode, 0755u) << file.path;
        RunOptions options;
        options.input = file.content;
        const RunResult checked = run_program({"sh", "-n"}, options);
        EXPECT_EQ(checked.status, 0) << file.path << ": " << checked.complaint();
    }
    EXPECT_EQ(scripts, 1u);
}

TEST(ManualPage, GivesAnExampleThatIsGood) {
    const std::string page = read_file(kSource + "/man/dupengine-profile.5", Code::kInternal);
    const std::size_t begin = page.find("schema = 1\n");
    ASSERT_NE(begin, std::string::npos);
    std::string example = page.substr(begin, page.find(".RE\n", begin) - begin);
    for (std::size_t at; (at = example.find("\\-")) != std::string::npos;)
        example.replace(at, 2, "-");
    const CheckedProfile checked = check_profile(example, "dupengine-profile.5");
    for (const Problem& problem : checked.problems)
        ADD_FAILURE() << problem.text();
    EXPECT_EQ(checked.layer.profile.node, "rack3-n07");
}

}  // namespace
}  // namespace dupengine::profiles
