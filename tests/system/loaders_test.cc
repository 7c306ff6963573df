// `dupengine boot` and loaders of others: whatever it is stopped at, the machine starts, and what was there
// before comes back whole.

#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/loader_tree.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::LoaderTree;
using test::must_run;
using ::testing::HasSubstr;
using ::testing::Not;

class Loaders : public ::testing::TestWithParam<const char*> {
  protected:
    const LoaderTree tree_{GetParam()};
};

TEST_P(Loaders, LeaveEverythingAsItWas) {
    const auto before = tree_.all();
    EXPECT_EQ(tree_.install(0).status, 0);
    EXPECT_EQ(json::parse(tree_.boot({"status", "--json"}).out)["small_system"], true);
    EXPECT_EQ(tree_.boot({"once", "recovery"}).status, 0);
    EXPECT_EQ(tree_.boot({"tries", "3"}).status, 0);
    EXPECT_EQ(tree_.boot({"default", "duplicate"}).status, 0);
    EXPECT_EQ(tree_.boot({"confirm"}).status, 0);
    EXPECT_EQ(tree_.boot({"remove"}).status, 0);
    EXPECT_EQ(tree_.all(), before);
    EXPECT_EQ(tree_.boot({"remove"}).status, 0);
    EXPECT_EQ(tree_.all(), before);
}

TEST_P(Loaders, AreToldWhatComesNext) {
    ASSERT_EQ(tree_.install(0).status, 0);
    EXPECT_THAT(tree_.boot({"once", "duplicate"}).out, HasSubstr("the next start does, once: duplicate"));
    json status = json::parse(tree_.boot({"status", "--json"}).out);
    EXPECT_EQ(status["once"], "duplicate");
    EXPECT_EQ(status["loader"], GetParam());
    EXPECT_EQ(tree_.boot({"once", "--forget"}).status, 0);
    EXPECT_EQ(tree_.boot({"tries", "2"}).status, 0);
    status = json::parse(tree_.boot({"status", "--json"}).out);
    EXPECT_EQ(status["once"], nullptr);
    EXPECT_EQ(status["tries"], "2");
    EXPECT_THAT(tree_.boot({"confirm"}).out, HasSubstr("came up well, with 2 tries left"));
    EXPECT_THAT(tree_.boot({"confirm"}).out, HasSubstr("nothing to confirm"));
}

TEST_P(Loaders, AreNotAskedForWhatTheyDoNotHave) {
    const auto before = tree_.all();
    const RunResult refused = tree_.boot({"once", "recovery"});
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.err, HasSubstr("dupengine boot install makes it"));
    EXPECT_EQ(tree_.boot({"once", "menu"}).status, 2);
    EXPECT_EQ(tree_.boot({"tries", "0"}).status, 2);
    EXPECT_EQ(tree_.boot({"install", "--kernel", tree_.file("none"), "--initrd", tree_.file("none")}).status,
              2);
    fs::remove(tree_.file("root/boot/grub/grub.cfg"));
    fs::remove_all(tree_.file("root/boot/efi"));
    EXPECT_EQ(tree_.install(0).status, 3);
}

// What the loader would read at this moment.
std::vector<std::string> entries_in(const LoaderTree& tree) {
    std::vector<std::string> files;
    const fs::path grub = tree.file("root/boot/grub/dupengine/entries.cfg");
    if (fs::exists(grub)) files.push_back(grub);
    for (const auto& entry : fs::directory_iterator(tree.file("root/boot/efi/loader/entries")))
        if (entry.path().extension() == ".conf" && entry.path().filename() != "own-6.1.conf")
            files.push_back(entry.path());
    return files;
}

// Every kernel and initrd that an entry names is there, whole, and of the same version as the other.
void expect_startable(const LoaderTree& tree, const std::string& cut) {
    const std::string folder = tree.file(tree.loader() == boot::kGrubName ? "root/boot/grub/dupengine/"
                                                                          : "root/boot/efi/dupengine/");
    for (const std::string& file : entries_in(tree)) {
        const std::string text = read_file(file, Code::kInternal);
        std::string versions;
        for (const std::string kind : {"linux-", "initrd-"}) {
            const std::size_t at = text.find("dupengine/" + kind);
            ASSERT_NE(at, std::string::npos) << cut << ": " << file << " is not whole";
            const std::string name = text.substr(at + 10, kind.size() + 16);
            ASSERT_TRUE(fs::exists(folder + name)) << cut << ": " << file << " names " << name;
            versions += read_file(folder + name, Code::kInternal).back();
        }
        EXPECT_TRUE(versions == "00" || versions == "11") << cut << ": " << versions;
    }
    const std::string configuration = read_file(tree.file("root/boot/grub/grub.cfg"), Code::kInternal);
    EXPECT_THAT(configuration, HasSubstr("menuentry 'own' { linux /vmlinuz }\n")) << cut;
    EXPECT_EQ(fs::file_size(tree.file("root/boot/grub/grubenv")), 1024u) << cut;
    must_run({"grub-script-check", tree.file("root/boot/grub/grub.cfg")});
    EXPECT_TRUE(fs::exists(tree.file("root/boot/efi/loader/entries/own-6.1.conf"))) << cut;
}

// Kills the command before its n-th call of each kind that changes a folder or a file; then does it again.
// Returns how often it was killed.
int cut_everywhere(const std::string& loader, const std::function<void(const LoaderTree&)>& prepare,
                   const std::function<std::vector<std::string>(const LoaderTree&)>& arguments,
                   const std::function<void(const LoaderTree&, const std::string&)>& expect_done) {
    int cuts = 0;
    for (const std::string call :
         {"mkdir", "pwrite64", "fchmod", "fsync", "rename", "renameat2", "unlink", "rmdir"})
        for (int n = 1;; ++n) {
            const LoaderTree tree(loader);
            prepare(tree);
            const std::string cut = fmt::format("{} {}", call, n);
            std::vector<std::string> words = {
                "strace",       "-qq",           "-o", "/dev/null",
                "-e",           "trace=" + call, "-e", fmt::format("inject={}:signal=KILL:when={}", call, n),
                test::command()};
            const std::vector<std::string> rest = arguments(tree);
            words.insert(words.end(), rest.begin(), rest.end());
            const RunResult result = run_program(words);
            if (result.status == 0) break;
            EXPECT_EQ(result.status, 128 + 9) << cut << result.err;
            if (result.status != 128 + 9) return cuts;
            ++cuts;
            expect_startable(tree, cut);
            EXPECT_EQ(test::run_dupengine(rest).status, 0) << cut;
            expect_startable(tree, cut);
            expect_done(tree, cut);
        }
    return cuts;
}

TEST_P(Loaders, StartWhateverAnUpdateIsCutAt) {
    const int cuts = cut_everywhere(
        GetParam(), [](const LoaderTree& tree) { ASSERT_EQ(tree.install(0).status, 0); },
        [](const LoaderTree& tree) { return tree.install_arguments(1); },
        [](const LoaderTree& tree, const std::string& cut) {
            const LoaderTree uncut(tree.loader());
            EXPECT_EQ(uncut.install(1).status, 0);
            EXPECT_EQ(tree.all().size(), uncut.all().size()) << cut << ": something is left over";
        });
    EXPECT_GT(cuts, 15);
}

TEST_P(Loaders, StartWhateverTheFirstInstallIsCutAt) {
    const int cuts = cut_everywhere(
        GetParam(), [](const LoaderTree&) {},
        [](const LoaderTree& tree) { return tree.install_arguments(0); },
        [](const LoaderTree& tree, const std::string& cut) {
            const LoaderTree untouched(tree.loader());
            EXPECT_EQ(tree.boot({"remove"}).status, 0);
            EXPECT_EQ(tree.all().size(), untouched.all().size()) << cut << ": something is left over";
        });
    EXPECT_GT(cuts, 15);
}

TEST_P(Loaders, StartWhateverARemovalIsCutAt) {
    const int cuts = cut_everywhere(
        GetParam(),
        [](const LoaderTree& tree) {
            ASSERT_EQ(tree.install(0).status, 0);
            ASSERT_EQ(tree.boot({"once", "recovery"}).status, 0);
        },
        [](const LoaderTree& tree) { return tree.arguments({"remove"}); },
        [](const LoaderTree& tree, const std::string& cut) {
            const LoaderTree untouched(tree.loader());
            EXPECT_EQ(tree.all().size(), untouched.all().size()) << cut << ": something is left over";
        });
    EXPECT_GT(cuts, 3);
}

INSTANTIATE_TEST_SUITE_P(All, Loaders, ::testing::Values("systemd-boot", "grub"),
                         [](const auto& of) { return std::string(of.param).substr(0, 4); });

TEST(LoadersSystemdBoot, CountsTheEntryThatStartedTheMachine) {
    const LoaderTree tree("systemd-boot");
    const std::string entries = tree.file("root/boot/efi/loader/entries/");
    EXPECT_EQ(tree.boot({"tries", "3"}).status, 0);
    EXPECT_TRUE(fs::exists(entries + "own-6.1+3.conf"));
    // systemd-boot counts.
    fs::rename(entries + "own-6.1+3.conf", entries + "own-6.1+1-2.conf");
    EXPECT_THAT(tree.boot({"status"}).out, HasSubstr("tries that are left: 1; not confirmed"));
    EXPECT_EQ(tree.boot({"confirm"}).status, 0);
    EXPECT_TRUE(fs::exists(entries + "own-6.1.conf"));
    // Names on this partition have no capitals for the loader.
    fs::rename(entries + "own-6.1.conf", entries + "Own-6.1.conf");
    EXPECT_EQ(tree.boot({"tries", "3"}).status, 0);
    EXPECT_TRUE(fs::exists(entries + "Own-6.1+3.conf"));
    fs::rename(entries + "Own-6.1+3.conf", entries + "other.conf");
    EXPECT_EQ(tree.boot({"tries", "3"}).status, 3);
}

TEST(LoadersSystemdBoot, CountsNothingThatIsStartedWhateverTheCount) {
    const LoaderTree tree("systemd-boot");
    write_file_atomic(tree.file("root/boot/efi/loader/loader.conf"), as_bytes("timeout 3\ndefault own-*\n"),
                      0644, Code::kInternal);
    const RunResult result = tree.boot({"tries", "3"});
    EXPECT_EQ(result.status, 3);
    EXPECT_THAT(result.err, HasSubstr("its line \"default\""));
    EXPECT_TRUE(fs::exists(tree.file("root/boot/efi/loader/entries/own-6.1.conf")));
}

TEST(LoadersGrub, AreUnderstoodByItsOwnPrograms) {
    const LoaderTree tree("grub");
    ASSERT_EQ(tree.install(0).status, 0);
    must_run({"grub-script-check", tree.file("root/boot/grub/dupengine/entries.cfg")});
    EXPECT_EQ(tree.boot({"once", "recovery"}).status, 0);
    EXPECT_EQ(tree.boot({"tries", "9"}).status, 0);
    EXPECT_EQ(tree.boot({"tries", "10"}).status, 2);
    const std::string environment = tree.file("root/boot/grub/grubenv");
    EXPECT_EQ(must_run({"grub-editenv", environment, "list"}),
              "saved_entry=own\nnext_entry=dupengine-recovery\ndupengine_tries=9\n");
    must_run({"grub-editenv", environment, "set", "other=a\\b"});
    EXPECT_EQ(tree.boot({"remove"}).status, 0);
    EXPECT_EQ(must_run({"grub-editenv", environment, "list"}), "saved_entry=own\nother=a\\b\n");
}

// Whoever runs grub-mkconfig afterwards gets the same grub.cfg, as far as it is ours.
TEST(LoadersGrub, KeepTheirPlaceWhenTheConfigurationIsMadeAnew) {
    const LoaderTree tree("grub");
    ASSERT_EQ(tree.install(0).status, 0);
    const std::string script = tree.file("root/etc/grub.d/42_dupengine");
    const std::string made = "\n### BEGIN /etc/grub.d/42_dupengine ###\n" + must_run({script}) +
                             "### END /etc/grub.d/42_dupengine ###\n";
    EXPECT_THAT(read_file(tree.file("root/boot/grub/grub.cfg"), Code::kInternal), HasSubstr(made));
}

TEST(LoadersGrub, FollowALinkToWhatItMeans) {
    const LoaderTree tree("grub");
    const std::string link = tree.file("root/boot/grub/grubenv"), real = tree.file("root/real");
    fs::rename(link, real);
    fs::create_symlink("../../real", link);
    ASSERT_EQ(tree.install(0).status, 0);
    EXPECT_EQ(tree.boot({"once", "recovery"}).status, 0);
    EXPECT_TRUE(fs::is_symlink(link));
    EXPECT_THAT(read_file(real, Code::kInternal), HasSubstr("next_entry=dupengine-recovery"));
}

// A kernel package must come to its end whatever happens here.
TEST(LoadersKernelHook, GivesTheSmallSystemTheNewKernelAndNeverStopsAPackage) {
    const LoaderTree tree("grub");
    const auto write = [&](const std::string& name, const std::string& content) {
        write_file_atomic(tree.file(name), as_bytes(content), 0755, Code::kInternal);
    };
    const auto run = [&](const std::string& version) {
        return run_program({test::source_folder() + "/bootloader_hooks/kernel/zz-dupengine", version},
                           {.extra_environment = {"DUPENGINE_BOOT_SETTINGS=" + tree.file("settings")}});
    };
    const auto before = tree.all();
    EXPECT_EQ(run("9.9").status, 0);
    EXPECT_EQ(tree.all(), before) << "nobody asked for anything";
    fs::create_symlink(test::command(), tree.file("dupengine"));
    write("mkinitramfs", "#!/bin/sh\n[ $DUPENGINE_RECEIVE = y ] && echo \"initrd of $3\" >\"$2\"\n");
    write("settings", "PATH=" + tree.file("") + ":$PATH\nroot=" + tree.file("root") +
                          "\nloader=grub\ncommand_line='quiet ip=dhcp'\n");
    const RunResult none = run("9.9");
    EXPECT_EQ(none.status, 0);
    EXPECT_THAT(none.err, HasSubstr("no entries could be made for 9.9; the loader keeps"));
    write("root/boot/vmlinuz-9.9", "kernel 9.9");
    EXPECT_EQ(run("9.9").status, 0);
    const std::string entries = read_file(tree.file("root/boot/grub/dupengine/entries.cfg"), Code::kInternal);
    EXPECT_THAT(entries, HasSubstr("'quiet' 'ip=dhcp' 'dupengine.shell'"));
    EXPECT_THAT(entries, Not(HasSubstr("--id dupengine-duplicate")));
    const std::string initrd = entries.substr(entries.find("initrd-"), 7 + 16);
    EXPECT_EQ(read_file(tree.file("root/boot/grub/dupengine/" + initrd), Code::kInternal), "initrd of 9.9\n");
    write("settings", "command_line='never ends\n");
    EXPECT_EQ(run("9.9").status, 0);
    write("settings", "PATH=" + tree.file("") + ":$PATH\nroot=" + tree.file("root") + "\nloader=grub\n");
    write("mkinitramfs", "#!/bin/sh\nexit 1\n");
    const RunResult failed = run("9.9");
    EXPECT_EQ(failed.status, 0);
    EXPECT_THAT(failed.err, HasSubstr("no initrd could be made"));
    EXPECT_EQ(read_file(tree.file("root/boot/grub/dupengine/entries.cfg"), Code::kInternal), entries);
}

// Where kernels are no packages of Debian's, or loaders are fed by kernel-install.
TEST(LoadersKernelInstall, GivesTheSmallSystemTheNewKernelOnceAndOnlyIfAsked) {
    const LoaderTree tree("grub");
    const auto write = [&](const std::string& name, const std::string& content) {
        write_file_atomic(tree.file(name), as_bytes(content), 0755, Code::kInternal);
    };
    const auto run = [&](const std::string& verb, std::vector<std::string> more = {}) {
        more.insert(more.end(), {"DUPENGINE_BOOT_SETTINGS=" + tree.file("settings"),
                                 "KERNEL_INSTALL_CONF_ROOT=" + tree.file("conf"),
                                 "KERNEL_INSTALL_PLUGINS=" + test::source_folder() +
                                     "/bootloader_hooks/kernel/zz-dupengine"});
        std::vector<std::string> words = {"kernel-install", verb, "9.9"};
        if (verb == "add") words.push_back(tree.file("image"));
        return run_program(words, {.extra_environment = more});
    };
    fs::create_directory(tree.file("conf"));
    write("conf/install.conf", "layout=other\nBOOT_ROOT=" + tree.file("root/boot") + "\n");
    write("conf/entry-token", "dupengine-test\n");
    fs::create_symlink(test::command(), tree.file("dupengine"));
    write("mkinitramfs", "#!/bin/sh\necho \"initrd of $3\" >\"$2\"\n");
    write("image", "kernel 9.9");
    const auto before = tree.all();
    const RunResult unasked = run("add");
    EXPECT_EQ(unasked.status, 0) << unasked.err;
    EXPECT_EQ(tree.all(), before) << "nobody asked for anything";
    write("settings", "PATH=" + tree.file("") + ":$PATH\nroot=" + tree.file("root") + "\nloader=grub\n");
    const auto asked = tree.all();
    EXPECT_EQ(run("add", {"DPKG_MAINTSCRIPT_PACKAGE=linux-image"}).status, 0);
    EXPECT_EQ(tree.all(), asked) << "the package's own hook does it";
    const RunResult added = run("add");
    EXPECT_EQ(added.status, 0) << added.err;
    const std::string entries = read_file(tree.file("root/boot/grub/dupengine/entries.cfg"), Code::kInternal);
    const auto kept = [&](const std::string& name) {
        const std::string file = entries.substr(entries.find(name), name.size() + 16);
        return read_file(tree.file("root/boot/grub/dupengine/" + file), Code::kInternal);
    };
    EXPECT_EQ(kept("initrd-"), "initrd of 9.9\n");
    EXPECT_EQ(kept("linux-"), "kernel 9.9");
    const auto with_entries = tree.all();
    EXPECT_EQ(run("remove").status, 0);
    EXPECT_EQ(tree.all(), with_entries);
}

TEST(LoadersGrub, TellWhoTheyAreWithoutBeingAsked) {
    const LoaderTree tree("grub");
    ASSERT_EQ(tree.install(0).status, 0);
    const std::vector<std::string> status = {"boot",   "status",    "--root",         tree.file("root"),
                                             "--json", "--efivars", tree.file("none")};
    EXPECT_EQ(json::parse(test::run_dupengine(status).out)["loader"], "grub");
    EXPECT_EQ(tree.boot({"remove"}).status, 0);
    EXPECT_EQ(test::run_dupengine(status).status, 9);
}

}  // namespace
}  // namespace dupengine
