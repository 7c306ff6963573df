#include <gmock/gmock.h>

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/fd.h"
#include "profiles/items/item.h"
#include "profiles/items/ssh_key.h"
#include "profiles/items/unit_files.h"
#include "profiles/system/dir_tree.h"
#include "tests/support/fake_system.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

using test::MemoryTree;
using test::must_run;
using test::PowerCut;
using test::ScratchFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One item on a small tree; what would be there afterwards is read from the staged tree.
struct Stage {
    PowerCut power;
    MemoryTree files{power};
    Profile profile;
    NodeSecret secret{std::string(32, 's')};
    SeededRandom random{3};
    std::map<std::string, std::string> remembered;
    std::vector<std::string> notes;
    Staged staged{files};
    ItemContext context{profile, secret, staged, random, remembered, notes};

    Stage() { profile.node = "web-1"; }
    std::string text(const std::string& path) { return read_text(staged, path); }
    std::string refusal(void (*item)(ItemContext&)) {
        try {
            item(context);
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            return e.what();
        }
        ADD_FAILURE() << "was not refused";
        return {};
    }
};

TEST(Enrolment, OfTheSourceIsTakenAwayOnceAndTheNodesOwnComesAsAFile) {
    Stage stage;
    for (const char* name : {"enrolment.pem", "revoked.pem", "authority/key.pem"})
        stage.files.add(std::string("/etc/dupengine/peers/") + name, "the source's");
    stage.profile.enrolment.mode = Mode::kRemove;
    stage.profile.files = {{"/etc/dupengine/peers/enrolment.pem", "my own", 0600}};
    stage_enrolment(stage.context);
    stage_files(stage.context);
    EXPECT_EQ(stage.text("/etc/dupengine/peers/enrolment.pem"), "my own");
    for (const char* name : {"revoked.pem", "authority/key.pem"})
        EXPECT_EQ(stage.staged.look(std::string("/etc/dupengine/peers/") + name).kind, NodeKind::kAbsent)
            << name;
    stage.files.add("/etc/dupengine/peers/revoked.pem", "got by joining");
    Staged later(stage.files);
    ItemContext second{stage.profile, stage.secret, later, stage.random, stage.remembered, stage.notes};
    stage_enrolment(second);
    EXPECT_EQ(read_text(later, "/etc/dupengine/peers/revoked.pem"), "got by joining");
}

TEST(Hostname, TheNodesOwnNameIsSetAndADomainStays) {
    Stage stage;
    stage.files.add("/etc/hostname", "# who\ngolden\n");
    stage.files.add("/etc/hosts", "127.0.1.1 golden.lan golden\n::1 golden6\n");
    stage.profile.hostname = {Mode::kSet, ""};
    stage_hostname(stage.context);
    EXPECT_EQ(stage.text("/etc/hostname"), "web-1\n");
    EXPECT_EQ(stage.text("/etc/hosts"), "127.0.1.1 web-1.lan web-1\n::1 golden6\n");
}

TEST(Hostname, AFullNameReplacesTheShortOneToo) {
    Stage stage;
    stage.files.add("/etc/hostname", "golden.lan\n");
    stage.files.add("/etc/hosts", "127.0.1.1\tgolden.lan golden\n");
    stage.profile.hostname = {Mode::kSet, "web-1.example"};
    stage_hostname(stage.context);
    EXPECT_EQ(stage.text("/etc/hosts"), "127.0.1.1\tweb-1.example web-1\n");
}

// Another machine that is called the same in another domain keeps its name, or this one would talk to itself.
TEST(Hostname, OnlyTheMachinesOwnFullNameIsRenamed) {
    Stage stage;
    stage.files.add("/etc/hostname", "web\n");
    stage.files.add("/etc/mailname", "web.mail.example\n");
    stage.files.add(
        "/etc/hosts",
        "127.0.1.1 web.lan web\n10.0.0.5 web.example.org web # web\n10.0.0.6 web.lan\n10.0.0.7 web\n"
        "10.0.0.8 webmail.lan db.web.lan");
    stage.profile.hostname = {Mode::kDerive, ""};
    stage_hostname(stage.context);
    EXPECT_EQ(stage.text("/etc/hosts"),
              "127.0.1.1 web-1.lan web-1\n10.0.0.5 web.example.org web # web\n10.0.0.6 web-1.lan\n"
              "10.0.0.7 web-1\n10.0.0.8 webmail.lan db.web.lan");
    EXPECT_EQ(stage.text("/etc/mailname"), "web-1.mail.example\n");
}

TEST(Hostname, ASymlinkedFileIsWrittenWhereItLeadsInsideTheCopy) {
    Stage stage;
    stage.files.add("/persist/hostname", "golden\n");
    stage.files.add_link("/etc/hostname", "../../../../persist/hostname");
    stage.profile.hostname = {Mode::kDerive, ""};
    stage_hostname(stage.context);
    EXPECT_EQ(stage.text("/persist/hostname"), "web-1\n");
    EXPECT_EQ(stage.staged.look("/etc/hostname").kind, NodeKind::kLink);
}

TEST(MachineId, RemovingLeavesAnEmptyFileSoThatItIsNoFirstBoot) {
    Stage stage;
    stage.files.add("/etc/machine-id", test::kGoldenMachine + "\n", 0444);
    stage.files.add("/var/lib/dbus/machine-id", test::kGoldenMachine + "\n");
    stage.profile.machine_id.mode = Mode::kRemove;
    stage_machine_id(stage.context);
    EXPECT_EQ(stage.staged.take("/etc/machine-id").size_bytes, 0u);
    EXPECT_EQ(stage.staged.look("/etc/machine-id").kind, NodeKind::kFile);
    EXPECT_EQ(stage.text("/var/lib/dbus/machine-id"), "");
}

TEST(MachineId, ADerivedOneIsAProperUuidAndItsOwn) {
    Stage stage;
    stage.files.add("/etc/machine-id", test::kGoldenMachine + "\n", 0444);
    stage.profile.machine_id.mode = Mode::kDerive;
    stage_machine_id(stage.context);
    const std::string id = stage.text("/etc/machine-id");
    ASSERT_EQ(id.size(), 33u);
    EXPECT_EQ(id[12], '4');  // version and variant, as systemd makes them
    EXPECT_THAT(std::string("89ab"), HasSubstr(id.substr(16, 1)));
    EXPECT_EQ(stage.staged.look("/etc/machine-id").mode, 0444u);
}

class SshKeys : public ::testing::TestWithParam<std::string> {};

// ssh-keygen derives the public key anew from the private file: both files and our arithmetic must agree with
// it.
TEST_P(SshKeys, SshKeygenAgreesWithEveryKey) {
    const ScratchFolder folder;
    SeededRandom random(5);
    for (unsigned round = 0; round < 4; ++round) {
        Bytes seed(48);
        random.fill(seed);
        const SshKey key = GetParam() == "rsa" ? fresh_rsa_key(random, "root@n")
                                               : ssh_key_of_seed(GetParam(), seed, "root@n");
        const std::string path = folder.file("key");
        write_file_atomic(path, as_bytes(key.private_file), 0600, Code::kInternal);
        write_file_atomic(path + ".pub", as_bytes(key.public_file), 0644, Code::kInternal);
        EXPECT_EQ(must_run({"ssh-keygen", "-y", "-P", "", "-f", path}), key.public_file);
        EXPECT_THAT(must_run({"ssh-keygen", "-l", "-f", path + ".pub"}),
                    HasSubstr(ssh_fingerprint(key.public_file)));
        if (GetParam() == "rsa") break;
    }
}
INSTANTIATE_TEST_SUITE_P(Types, SshKeys, ::testing::Values("ed25519", "ecdsa", "rsa"),
                         [](const auto& type) { return type.param; });

// A signature made with the key verifies: what -y alone would not show of the secret half.
TEST(SshKey, AKeySignsWhatItsPublicHalfVerifies) {
    const ScratchFolder folder;
    for (const std::string type : {"ed25519", "ecdsa"}) {
        const SshKey key = ssh_key_of_seed(type, Bytes(48, std::byte{9}), "root@n");
        const std::string path = folder.file(type), text = folder.file("text");
        write_file_atomic(path, as_bytes(key.private_file), 0600, Code::kInternal);
        write_file_atomic(text, as_bytes("hello"), 0644, Code::kInternal);
        write_file_atomic(folder.file("signers"), as_bytes("n " + key.public_file), 0644, Code::kInternal);
        must_run({"ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", "file", text});
        RunOptions options;
        options.input = "hello";
        must_run({"ssh-keygen", "-Y", "verify", "-f", folder.file("signers"), "-I", "n", "-n", "file", "-s",
                  text + ".sig"},
                 options);
        std::filesystem::remove(text + ".sig");
    }
}

TEST(SshHostKeys, ForeignTypesAndCertificatesGoAndRsaIsNeverDerived) {
    Stage stage;
    for (const char* name : {"ssh_host_rsa_key", "ssh_host_rsa_key.pub", "ssh_host_ed25519_key-cert.pub",
                             "ssh_host_ed25519_key"})
        stage.files.add(std::string("/etc/ssh/") + name, "the source's\n");
    stage.files.add("/etc/ssh/moduli", "x");
    stage.profile.ssh_host_keys = {Mode::kDerive, {"ed25519"}};
    stage_ssh_host_keys(stage.context);
    EXPECT_THAT(stage.staged.list("/etc/ssh"),
                ElementsAre("moduli", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"));
    EXPECT_THAT(stage.text("/etc/ssh/ssh_host_ed25519_key"), HasSubstr("OPENSSH PRIVATE KEY"));
    EXPECT_EQ(stage.staged.look("/etc/ssh/ssh_host_ed25519_key").mode, 0600u);
    stage.profile.ssh_host_keys.types = {"rsa"};
    EXPECT_THAT(stage.refusal(stage_ssh_host_keys), HasSubstr("rsa can only be regenerated"));
}

TEST(Users, KeysGetTheOwnerThatTheCopyKnows) {
    Stage stage;
    stage.files.add("/etc/passwd", "root:x:0:0::/root:/bin/sh\nops:x:1000:1001:,,,:/home/ops:/bin/sh\n");
    stage.files.add_folder("/home/ops");
    stage.profile.users = {{"ops", {"ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"}}};
    stage_users(stage.context);
    const Node keys = stage.staged.take("/home/ops/.ssh/authorized_keys"),
               folder = stage.staged.look("/home/ops/.ssh");
    EXPECT_EQ(*keys.content, "ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n");
    EXPECT_EQ(keys.mode, 0600u);
    EXPECT_EQ(keys.uid, 1000u);
    EXPECT_EQ(folder.mode, 0700u);
    EXPECT_EQ(folder.gid, 1001u);
    stage.profile.users = {{"nobody-here", {"k"}}};
    EXPECT_THAT(stage.refusal(stage_users), HasSubstr("nobody-here"));
    stage.profile.users = {{"root", {"k"}}};
    EXPECT_THAT(stage.refusal(stage_users), HasSubstr("/root"));
}

// A link that the user made must not have root give away somebody else's folder.
TEST(Users, KeysNeverGoWhereALinkLeadsOutOfTheHome) {
    const auto refused = [](const std::function<void(MemoryTree&)>& make) {
        Stage stage;
        stage.files.add("/etc/passwd", "ops:x:1000:1001::/home/ops:/bin/sh\n");
        stage.files.add_folder("/home/ops");
        stage.files.add_folder("/root/.ssh");
        make(stage.files);
        stage.profile.users = {{"ops", {"ssh-ed25519 AAAA ops"}}};
        return stage.refusal(stage_users);
    };
    EXPECT_THAT(refused([](MemoryTree& tree) { tree.add_link("/home/ops/.ssh", "/root/.ssh"); }),
                HasSubstr("/home/ops/.ssh: is a symlink to /root/.ssh"));
    EXPECT_THAT(refused([](MemoryTree& tree) { tree.add_link("/home/ops/.ssh", "../../../../nowhere"); }),
                HasSubstr("leads out of the home"));
    EXPECT_THAT(refused([](MemoryTree& tree) {
                    tree.add_folder("/home/ops/.ssh");
                    tree.add_link("/home/ops/.ssh/authorized_keys", "/etc/passwd");
                }),
                HasSubstr("authorized_keys: is a symlink"));
    EXPECT_THAT(refused([](MemoryTree& tree) { tree.add("/home/ops/.ssh", "a file"); }),
                HasSubstr("/home/ops/.ssh: is no folder"));
}

TEST(Files, AFolderInTheWayIsNotReplaced) {
    Stage stage;
    stage.files.add_folder("/etc/thing");
    stage.profile.files = {{"/etc/thing", "x", 0644}};
    EXPECT_THAT(stage.refusal(stage_files), HasSubstr("/etc/thing"));
    stage.files.add("/etc/plain", "x");
    stage.profile.files = {{"/etc/plain/inside", "x", 0644}};
    EXPECT_THAT(stage.refusal(stage_files), HasSubstr("needs a folder"));
}

TEST(Hosts, LinesOfAnOlderProfileAreReplacedAndTheRestStays) {
    Stage stage;
    stage.files.add("/etc/hosts", "127.0.0.1 localhost");
    stage.profile.hosts = {{"10.0.0.1", {"a", "b"}}};
    stage_hosts(stage.context);
    const std::string first = stage.text("/etc/hosts");
    EXPECT_THAT(first, HasSubstr("127.0.0.1 localhost\n# begin"));
    EXPECT_THAT(first, HasSubstr("10.0.0.1\ta b\n"));
    stage.profile.hosts = {{"10.0.0.2", {"c"}}};
    stage_hosts(stage.context);
    EXPECT_EQ(stage.text("/etc/hosts").find("10.0.0.1"), std::string::npos);
    stage.profile.hosts.clear();
    stage_hosts(stage.context);
    EXPECT_EQ(stage.text("/etc/hosts"), "127.0.0.1 localhost\n");
}

// Somebody took the end mark away: what they wrote behind it is not the profile's to remove.
TEST(Hosts, ABlockWithoutItsEndSwallowsNothing) {
    Stage stage;
    const std::string begin = "# begin: hosts of the dupengine profile\n",
                      torn = begin + "10.0.0.1\ta\n10.9.9.9 theirs\n";
    stage.files.add("/etc/hosts", torn);
    stage.profile.hosts = {{"10.0.0.2", {"c"}}};
    for (int run = 0; run < 2; ++run) {
        stage_hosts(stage.context);
        EXPECT_EQ(stage.text("/etc/hosts"),
                  torn + begin + "10.0.0.2\tc\n# end: hosts of the dupengine profile\n");
    }
    EXPECT_THAT(stage.notes, ::testing::Each(HasSubstr("no end mark")));
    EXPECT_FALSE(stage.notes.empty());
}

// ---- units, held against systemctl --root -----------------------------------------------------------------

void write_unit(const std::string& root, const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root + path).parent_path());
    write_file_atomic(root + path, as_bytes(text), 0644, Code::kInternal);
}

void make_units(const std::string& root) {
    const std::string run = "[Service]\nExecStart=/bin/true\n[Install]\n";
    write_unit(root, "/lib/systemd/system/a.service",
               run +
                   "WantedBy=multi-user.target \\\n  "
                   "foo.target\nRequiredBy=bar.target\nAlias=alias-a.service\nAlso=b.socket\n");
    write_unit(root, "/lib/systemd/system/b.socket",
               "[Socket]\nListenStream=1\n[Install]\nWantedBy=sockets.target\n");
    write_unit(root, "/lib/systemd/system/t@.service",
               run + "WantedBy=x@%i.target %p.target\nDefaultInstance=dd\n");
    write_unit(root, "/lib/systemd/system/static.service", "[Service]\nExecStart=/bin/true\n");
    write_unit(root, "/etc/systemd/system/local.service",
               run + "WantedBy=nothing.target\nWantedBy=\nWantedBy=multi-user.target\n");
    std::filesystem::create_directories(root + "/usr/lib/systemd/system");
}

std::string links_below(const std::string& root) {
    std::vector<std::string> lines;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root + "/etc/systemd/system"))
        if (entry.is_symlink())
            lines.push_back(entry.path().string().substr(root.size()) + " -> " +
                            std::filesystem::read_symlink(entry.path()).string());
    std::sort(lines.begin(), lines.end());
    std::string all;
    for (const std::string& line : lines)
        all += line + "\n";
    return all;
}

void apply_services(const std::string& root, const Services& services) {
    DirTree tree = DirTree::open(root);
    Staged staged(tree);
    Profile profile;
    profile.services = services;
    const NodeSecret secret{};
    SeededRandom random(1);
    std::map<std::string, std::string> remembered;
    std::vector<std::string> notes;
    ItemContext context{profile, secret, staged, random, remembered, notes};
    stage_services(context);
    for (const PutAction& put : staged.puts())
        tree.put(put.path, put.after);
}

TEST(Services, EnablingAndDisablingMakesTheLinksThatSystemctlMakes) {
    if (!program_exists("systemctl")) GTEST_SKIP() << "no systemctl on this machine";
    const ScratchFolder theirs, ours;
    make_units(theirs.path());
    make_units(ours.path());
    const std::vector<std::string> units = {"a.service", "local.service", "t@one.service", "t@.service",
                                            "static.service"};
    std::vector<std::string> argv = {"systemctl", "--root=" + theirs.path(), "enable"};
    argv.insert(argv.end(), units.begin(), units.end());
    must_run(argv);
    apply_services(ours.path(), {units, {}, {}});
    EXPECT_EQ(links_below(ours.path()), links_below(theirs.path()));
    EXPECT_THAT(links_below(ours.path()), HasSubstr("alias-a.service"));
    for (const std::string unit : {"a.service", "t@one.service"}) {
        must_run({"systemctl", "--root=" + theirs.path(), "disable", unit});
        apply_services(ours.path(), {{}, {unit}, {}});
        EXPECT_EQ(links_below(ours.path()), links_below(theirs.path())) << unit;
    }
    must_run({"systemctl", "--root=" + theirs.path(), "mask", "static.service", "unknown.service"});
    apply_services(ours.path(), {{}, {}, {"static", "unknown"}});
    EXPECT_EQ(links_below(ours.path()), links_below(theirs.path()));
}

TEST(Services, WhatIsEnabledAlreadyByAnotherPathIsLeftAlone) {
    Stage stage;
    stage.files.add_link("/lib", "usr/lib");
    stage.files.add("/usr/lib/systemd/system/a.service", "[Install]\nWantedBy=multi-user.target\n");
    stage.files.add_link("/etc/systemd/system/multi-user.target.wants/a.service",
                         "/usr/lib/systemd/system/a.service");
    stage.profile.services.enable = {"a"};
    stage_services(stage.context);
    EXPECT_TRUE(stage.staged.puts().empty());
}

TEST(Services, AUnitThatIsNotThereOrIsAScriptIsRefusedByName) {
    Stage stage;
    stage.profile.services.enable = {"nginx"};
    EXPECT_THAT(stage.refusal(stage_services), HasSubstr("nginx.service"));
    stage.files.add("/etc/init.d/nginx", "#!/bin/sh\n");
    EXPECT_THAT(stage.refusal(stage_services), HasSubstr("System V"));
    stage.files.add("/usr/lib/systemd/system/nginx.service", "[Install]\nWantedBy=%H.target\n");
    EXPECT_THAT(stage.refusal(stage_services), HasSubstr("%H"));
}

// A vendor's unit without [Install] that the administrator made startable with a drop-in.
TEST(Services, AnInstallSectionInADropInCounts) {
    Stage stage;
    stage.files.add("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/true\n");
    stage.files.add("/usr/lib/systemd/system/a.service.d/10-x.conf", "[Install]\nWantedBy=wrong.target\n");
    stage.files.add("/etc/systemd/system/a.service.d/10-x.conf", "[Install]\nWantedBy=one.target\n");
    stage.files.add("/etc/systemd/system/a.service.d/20-y.conf", "[Install]\nWantedBy=two.target\n");
    stage.profile.services.enable = {"a"};
    stage_services(stage.context);
    for (const char* target : {"one", "two"})
        EXPECT_EQ(stage.staged.look(fmt::format("/etc/systemd/system/{}.target.wants/a.service", target))
                      .link_target,
                  "/usr/lib/systemd/system/a.service");
    EXPECT_FALSE(stage.staged.look("/etc/systemd/system/wrong.target.wants/a.service").exists());
}

TEST(Services, DisablingWhatTheVendorStartsIsToldToHaveNoEffect) {
    Stage stage;
    stage.files.add("/usr/lib/systemd/system/a.service", "[Service]\n");
    stage.files.add_link("/usr/lib/systemd/system/multi-user.target.wants/a.service", "../a.service");
    stage.profile.services.disable = {"a"};
    stage_services(stage.context);
    ASSERT_EQ(stage.notes.size(), 1u);
    EXPECT_THAT(stage.notes[0], HasSubstr("only a mask"));
}

TEST(Services, TheSourcesMaskGivesWayToARoleThatEnables) {
    Stage stage;
    stage.files.add("/usr/lib/systemd/system/a.service", "[Install]\nWantedBy=multi-user.target\n");
    stage.files.add_link("/etc/systemd/system/a.service", "/dev/null");
    stage.profile.services.enable = {"a.service"};
    stage_services(stage.context);
    EXPECT_FALSE(stage.staged.look("/etc/systemd/system/a.service").exists());
    EXPECT_EQ(stage.staged.look("/etc/systemd/system/multi-user.target.wants/a.service").kind,
              NodeKind::kLink);
}

// ---- identifiers of the disk
// --------------------------------------------------------------------------------

TEST(StorageIds, AnMbrSignatureChangesEveryPartuuidOfTheDisk) {
    const std::vector<IdentifierChange> changes = {
        {IdentifierKind::kDiskSignature, 0, "deadbeef", "0badcafe", "table"}};
    const IdentifierMap map = storage_references(changes, {1, 5, 10});
    EXPECT_EQ(map.rewrite("PARTUUID=deadbeef-05 deadbeef-0a deadbeef-02"),
              "PARTUUID=0badcafe-05 0badcafe-0a deadbeef-02");
}

TEST(StorageIds, WhatCannotBeChangedIsToldAndKept) {
    Stage stage;
    stage.profile.fs_uuid.mode = Mode::kDerive;
    const auto changes = plan_identifiers(stage.context,
                                          {{IdentifierKind::kFilesystemUuid, 4, "x-uuid", "partition 4 (xfs)",
                                            "changing the UUID of xfs is not supported"}},
                                          {});
    EXPECT_TRUE(changes.empty());
    ASSERT_EQ(stage.notes.size(), 1u);
    EXPECT_THAT(stage.notes[0], HasSubstr("partition 4 (xfs)"));
}

TEST(StorageIds, OneGivenValueForSeveralPartitionsIsRefused) {
    Stage stage;
    stage.profile.fs_uuid = {Mode::kSet, "aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa"};
    const std::vector<Identifier> present = {
        {IdentifierKind::kFilesystemUuid, 1, test::kGoldenRoot, "partition 1", {}}};
    EXPECT_THROW(plan_identifiers(stage.context, present, {}), Error);
}

// A root and its backup with one UUID: "root=UUID=..." must not lead to the backup after the change.
TEST(StorageIds, AnIdentifierThatTwoPartitionsCarryIsNotGuessedAt) {
    const auto plan_with = [](const std::set<PartitionId>& kept) {
        Stage stage;
        stage.profile.fs_uuid.mode = Mode::kDerive;
        return plan_identifiers(
            stage.context,
            {{IdentifierKind::kFilesystemUuid, 2, test::kGoldenRoot, "partition 2 (ext4)", {}},
             {IdentifierKind::kFilesystemUuid, 3, test::kGoldenRoot, "partition 3 (ext4)", {}}},
            kept);
    };
    for (const std::set<PartitionId>& kept : {std::set<PartitionId>{}, {2u}, {3u}})
        try {
            plan_with(kept);
            ADD_FAILURE() << "was not refused";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            for (const char* part : {"partition 2 (ext4)", "partition 3 (ext4)", "--keep-partition"})
                EXPECT_THAT(e.what(), HasSubstr(part));
        }
    EXPECT_TRUE(plan_with({2, 3}).empty());
}

TEST(StorageIds, AnMbrSignatureIsNoGuidForAGptDisk) {
    Stage stage;
    stage.profile.disk_guid = {Mode::kSet, "0badcafe"};
    const std::vector<Identifier> gpt = {{IdentifierKind::kDiskGuid, 0, test::kGoldenDisk, "table", {}}};
    const std::vector<Identifier> mbr = {{IdentifierKind::kDiskSignature, 0, "deadbeef", "table", {}}};
    EXPECT_EQ(plan_identifiers(stage.context, mbr, {}).at(0).after, "0badcafe");
    try {
        plan_identifiers(stage.context, gpt, {});
        ADD_FAILURE() << "was not refused";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
    }
}

TEST(StorageIds, ShortIdsKeepTheirShape) {
    Stage stage;
    stage.profile.fs_uuid.mode = stage.profile.disk_guid.mode = Mode::kDerive;
    const auto changes = plan_identifiers(stage.context,
                                          {{IdentifierKind::kFatId, 1, "C0DE-0001", "partition 1", {}},
                                           {IdentifierKind::kDiskSignature, 0, "deadbeef", "table", {}}},
                                          {});
    ASSERT_EQ(changes.size(), 2u);
    EXPECT_THAT(changes[0].after, ::testing::MatchesRegex("[0-9A-F]{4}-[0-9A-F]{4}"));
    EXPECT_THAT(changes[1].after, ::testing::MatchesRegex("[0-9a-f]{8}"));
}

}  // namespace
}  // namespace dupengine::profiles
