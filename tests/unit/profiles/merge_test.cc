#include "profiles/merge.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Layer role(const std::string& name, const std::string& more) {
    return parse_layer("schema = 1\nkind = \"role\"\nrole = \"" + name + "\"\n" + more, name + ".toml");
}

Layer node(const std::string& more) {
    return parse_layer("schema = 1\nkind = \"node\"\nnode = \"n1\"\n" + more, "node.toml");
}

std::string explanation(const Merged& merged, const std::string& key) {
    for (const Explained& line : merged.explain)
        if (line.key == key) return line.value + " " + line.origin.text();
    return "absent";
}

template <typename Work>
std::string message_of(Work work) {
    try {
        work();
    } catch (const Error& e) {
        return e.what();
    }
    return "accepted";
}

TEST(Merge, LetsTheLaterFileWinItemByItem) {
    const Merged m =
        merge(node("[storage]\nfs_uuid = { mode = \"ignore\" }\n"),
              {role("a",
                    "[identity]\nmachine_id = { mode = \"derive\" }\n[storage]\nfs_uuid = { mode = "
                    "\"derive\" }\nswap_uuid = { mode = \"derive\" }\n"),
               role("b", "[identity]\nmachine_id = { mode = \"remove\" }\n")});
    EXPECT_EQ(m.profile.machine_id.mode, Mode::kRemove);
    EXPECT_EQ(m.profile.fs_uuid.mode, Mode::kIgnore) << "an explicit ignore wins over a role";
    EXPECT_EQ(m.profile.swap_uuid.mode, Mode::kDerive);
    EXPECT_EQ(explanation(m, "identity.machine_id"), "remove b.toml:5");
    EXPECT_EQ(explanation(m, "storage.fs_uuid"), "ignore node.toml:5");
    EXPECT_EQ(explanation(m, "storage.swap_uuid"), "derive a.toml:8");
}

TEST(Merge, NamesTheHostAfterTheNodeUnlessToldOtherwise) {
    const Merged plain = merge(node(""), {});
    EXPECT_EQ(plain.profile.hostname, (Item{Mode::kSet, "n1"}));
    EXPECT_EQ(explanation(plain, "identity.hostname"), "set 'n1' node.toml:3");
    EXPECT_EQ(merge(node("[identity]\nhostname = \"other\"\n"), {}).profile.hostname.value, "other");
    EXPECT_EQ(merge(node("[identity]\nhostname = { mode = \"ignore\" }\n"), {}).profile.hostname.mode,
              Mode::kIgnore);
}

TEST(Merge, JoinsUnitListsAndTheLastWordOnAUnitCounts) {
    const Merged m = merge(node("[services]\ndisable = [\"b\"]\n"),
                           {role("x", "[services]\nenable = [\"a\", \"b\"]\nmask = [\"c\"]\n"),
                            role("y", "[services]\nenable = [\"a\", \"c\"]\n")});
    EXPECT_THAT(m.profile.services.enable, ElementsAre("a.service", "c.service"));
    EXPECT_THAT(m.profile.services.disable, ElementsAre("b.service"));
    EXPECT_THAT(m.profile.services.mask, ElementsAre());
    EXPECT_EQ(explanation(m, "services[a.service]"), "enable y.toml:5");
    EXPECT_EQ(explanation(m, "services[b.service]"), "disable node.toml:5");
}

TEST(Merge, ReplacesHostsUsersAndFilesWholeByTheirName) {
    const Merged m =
        merge(node("[[file]]\npath = \"/b\"\ncontent = \"node\"\nmode = \"0600\"\n[[user]]\nname = \"ops\"\n"
                   "ssh_authorized_keys = [\"ssh-rsa AAAA\"]\n"),
              {role("x",
                    "[[file]]\npath = \"/a\"\ncontent = \"x\"\n[[file]]\npath = \"/b\"\ncontent = \"x\"\n"
                    "[[user]]\nname = \"ops\"\nssh_authorized_keys = [\"ssh-ed25519 AAAA\"]\n"
                    "[[host]]\naddress = \"10.0.0.1\"\nnames = [\"a\"]\n")});
    EXPECT_THAT(m.profile.files, ElementsAre(File{"/a", "x", 0644}, File{"/b", "node", 0600}));
    EXPECT_THAT(m.profile.users, ElementsAre(User{"ops", {"ssh-rsa AAAA"}}));
    EXPECT_THAT(m.profile.hosts, ElementsAre(Host{"10.0.0.1", {"a"}}));
    EXPECT_EQ(explanation(m, "file[/b]"), "mode 0600, 4 bytes node.toml:5");
    EXPECT_EQ(explanation(m, "file[/a]"), "mode 0644, 1 bytes x.toml:5");
}

TEST(Merge, KeepsWhatOnlyTheNodeSays) {
    const Merged m = merge(node("generation = 9\nroles = [\"x\"]\ndescription = \"d\"\n"),
                           {role("x", "description = \"r\"")});
    EXPECT_EQ(m.profile.kind, Kind::kNode);
    EXPECT_EQ(m.profile.generation, 9u);
    EXPECT_EQ(m.profile.node, "n1");
    EXPECT_EQ(m.profile.description, "d");
    EXPECT_THAT(m.profile.roles, ElementsAre("x"));
}

TEST(Merge, RefusesRolesWhoseFilesLieInEachOther) {
    EXPECT_THAT(message_of([] {
                    merge(node(""), {role("x", "[[file]]\npath = \"/etc/a\"\ncontent = \"\"\n"),
                                     role("y", "[[file]]\npath = \"/etc/a/b\"\ncontent = \"\"\n")});
                }),
                HasSubstr("y.toml:5: file '/etc/a/b' lies in '/etc/a'"));
}

class FindRoles : public ::testing::Test {
  protected:
    void write(const std::string& folder, const std::string& name, const std::string& text) {
        std::filesystem::create_directories(scratch_.file(folder));
        write_file_atomic(scratch_.file(folder + "/" + name + ".toml"), as_bytes(text), 0644,
                          Code::kInternal);
    }
    static std::string role_text(const std::string& name, const std::string& description) {
        return "schema = 1\nkind = \"role\"\nrole = \"" + name + "\"\ndescription = \"" + description +
               "\"\n";
    }
    std::vector<Layer> find(const std::vector<std::string>& names) {
        Profile profile;
        profile.roles = names;
        return find_roles(profile, {scratch_.file("etc"), scratch_.file("missing"), scratch_.file("usr")});
    }
    test::ScratchFolder scratch_;
};

TEST_F(FindRoles, TakesTheFirstFolderThatHasTheRole) {
    write("etc", "web", role_text("web", "mine"));
    write("usr", "web", role_text("web", "shipped"));
    write("usr", "base", role_text("base", "shipped base"));
    const auto layers = find({"base", "web"});
    ASSERT_EQ(layers.size(), 2u);
    EXPECT_EQ(layers[0].profile.description, "shipped base");
    EXPECT_EQ(layers[1].profile.description, "mine");
}

TEST_F(FindRoles, NeverLeavesItsFolders) {
    write("etc", "web", role_text("web", ""));
    for (const char* name : {"../etc/web", "/etc/passwd", "..", "a..b", "", ".hidden"})
        EXPECT_THAT(message_of([&] { find({name}); }), HasSubstr("role '")) << name;
}

TEST_F(FindRoles, SaysWhereItLookedForAMissingRole) {
    EXPECT_THAT(message_of([&] { find({"web"}); }),
                HasSubstr("no file web.toml of the role 'web' in " + scratch_.file("etc")));
}

TEST_F(FindRoles, RefusesAFileThatIsNotTheRoleItIsNamedAfter) {
    write("etc", "web", role_text("storage", ""));
    EXPECT_THAT(message_of([&] { find({"web"}); }), HasSubstr("calls itself the role 'storage'"));
    write("etc", "web", "schema = 1\nkind = \"node\"\nnode = \"a\"\n");
    EXPECT_THAT(message_of([&] { find({"web"}); }), HasSubstr("is the profile of a node"));
}

TEST_F(FindRoles, TellsFileAndLineOfAProblemInARole) {
    write("etc", "web", role_text("web", "") + "roles = [\"base\"]\n");
    EXPECT_THAT(message_of([&] { find({"web"}); }),
                HasSubstr("etc/web.toml:5:1: roles does not belong into a role"));
}

}  // namespace
}  // namespace dupengine::profiles
