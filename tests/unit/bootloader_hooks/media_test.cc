// What starts a machine without a system: the words that it is told, the small system, and the folder that a
// network gives. A slip in any of them is a machine that does not start, or one that writes the wrong disk.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/fd.h"
#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/initramfs.h"
#include "bootloader_hooks/media/linux_image.h"
#include "bootloader_hooks/media/machine_drivers.h"
#include "bootloader_hooks/media/network_folder.h"
#include "profiles/references/initramfs_members.h"
#include "tests/support/scratch.h"
#include "tests/support/signing_keys.h"
#include "tests/support/test_pki.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Code code_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const Error& e) {
        return e.code();
    }
    ADD_FAILURE() << "nothing was thrown";
    return Code::kInternal;
}

// -- words
// ---------------------------------------------------------------------------------------------------------

TEST(BootWords, SayWhatIsDoneWithWhichDisk) {
    BootWords copy;
    copy.copied = "https://images.example.org/store#web";
    copy.targets = {"/dev/sda"};
    copy.afterwards = "poweroff";
    copy.appended = {"ip=dhcp"};
    EXPECT_EQ(kernel_command_line(copy),
              "dupengine.copy=https://images.example.org/store#web dupengine.target=/dev/sda "
              "dupengine.then=poweroff ip=dhcp");
    BootWords receive;
    receive.receives = receive.is_live = true;
    receive.targets = {"/dev/sda", "/dev/sdb"};
    EXPECT_EQ(kernel_command_line(receive),
              "dupengine.receive=/dev/sda dupengine.receive=/dev/sdb dupengine.live");
    receive.is_live = false;
    receive.assumes = true;
    receive.targets = {"/dev/sda"};
    EXPECT_EQ(kernel_command_line(receive), "dupengine.receive=/dev/sda dupengine.assume");
    EXPECT_EQ(kernel_command_line({}), "dupengine.shell");
}

TEST(BootWords, NoDiskIsWrittenThatNobodyNamed) {
    BootWords words;
    words.copied = "dup://a/disk";
    EXPECT_EQ(code_of([&] { kernel_command_line(words); }), Code::kUsage);
    words.targets = {"sda"};
    EXPECT_EQ(code_of([&] { kernel_command_line(words); }), Code::kUsage);
    words.targets = {"/dev/sda", "/dev/sdb"};
    EXPECT_EQ(code_of([&] { kernel_command_line(words); }), Code::kUsage);
    words = {};
    words.targets = {"/dev/sda"};
    EXPECT_EQ(code_of([&] { kernel_command_line(words); }), Code::kUsage);
    words = {};
    words.appended = {"dupengine.receive=/dev/sda"};
    EXPECT_EQ(code_of([&] { kernel_command_line(words); }), Code::kUsage);
}

TEST(BootWords, WhatGrubOrTheKernelWouldTakeForSomethingElseIsRefused) {
    for (const char* word : {"two words", "a'b", "a\"b", "a\\b", "a\nb", "", "\xc3\xa4"}) {
        BootWords words;
        words.appended = {word};
        EXPECT_EQ(code_of([&] { kernel_command_line(words); }), Code::kUsage) << word;
    }
    BootWords many;
    many.appended = {std::string(3000, 'x')};
    EXPECT_EQ(code_of([&] { kernel_command_line(many); }), Code::kUsage);
}

TEST(BootWords, AreQuotedForGrubEachByItself) {
    EXPECT_THAT(grub_menu("a=b#c d=$e;f", "/linux", "/initramfs"),
                HasSubstr("    linux /linux 'a=b#c' 'd=$e;f'\n"));
}

TEST(BootWords, AMachineGetsTheProfileOfItsNetworkCard) {
    const std::string menu = grub_menu("quiet", "/linux", "/initramfs", "/nodes");
    EXPECT_THAT(menu, HasSubstr("if [ -s \"/nodes/$card\" ]; then"));
    EXPECT_THAT(menu, HasSubstr("    initrd /initramfs $node\n"));
    EXPECT_THAT(grub_menu("quiet", "/linux", "/initramfs"), ::testing::Not(HasSubstr("node")));
    const std::string script = ipxe_script("a=b#c quiet", "linux", "initramfs", "nodes", "");
    EXPECT_TRUE(script.starts_with("#!ipxe\n"));
    EXPECT_THAT(script,
                HasSubstr("\ninitrd --name node nodes/${netX/mac:hexhyp} && set node initrd=node ||\n"));
    EXPECT_THAT(script, HasSubstr("\nkernel linux initrd=initramfs ${node} a=b#c quiet || goto failed\n"));
    EXPECT_THAT(script, ::testing::Not(HasSubstr("chain")));
    EXPECT_THAT(ipxe_script("quiet", "linux", "initramfs", "nodes", "dupengine.efi"),
                HasSubstr("\nchain dupengine.efi || goto failed\n"));
    EXPECT_EQ(code_of([&] { ipxe_script("a=${b}", "linux", "initramfs", "nodes", ""); }), Code::kUsage);
}

// -- the small system
// ---------------------------------------------------------------------------------------------------------

using profiles::CpioMember;

std::string initramfs_of(const std::vector<std::string>& files) {
    std::vector<CpioMember> members;
    for (const std::string& file : files)
        members.push_back({.name = file, .mode = S_IFREG | 0644, .content = file});
    return profiles::encode_cpio(members);
}
const std::vector<std::string> kWhole = {"usr/sbin/dupengine", "usr/lib/dupengine/early/work",
                                         "usr/lib/modules/1/kernel/a.ko"};

std::map<std::string, CpioMember> members_of(const std::string& content) {
    std::map<std::string, CpioMember> members;
    EXPECT_TRUE(profiles::take_initramfs_members(
        content, [&](const CpioMember& member) { members[member.name] = member; }));
    return members;
}

// A mkinitramfs that hands out what the test made and leaves what it was told.
class SmallSystems : public ::testing::Test {
  protected:
    SmallSystems() {
        const char* path = std::getenv("PATH");
        old_path_ = path != nullptr ? path : "";
        write_file_atomic(scratch_.file("mkinitramfs"), as_bytes(std::string_view(kProgram)), 0755,
                          Code::kInternal);
        ::setenv("PATH", (scratch_.path() + ":" + old_path_).c_str(), 1);
        ::setenv("MADE", scratch_.path().c_str(), 1);
    }
    ~SmallSystems() override {
        ::setenv("PATH", old_path_.c_str(), 1);
        ::unsetenv("MADE");
    }
    void will_make(const std::string& content) const {
        write_file_atomic(scratch_.file("made"), as_bytes(content), 0644, Code::kInternal);
    }
    std::string told(const char* what) const { return read_file(scratch_.file(what), Code::kInternal); }
    static constexpr const char* kProgram =
        "#!/bin/sh\n"
        "cp \"$2/initramfs.conf\" \"$MADE/conf\" && echo \"$2\" >\"$MADE/folder\" && "
        "echo \"$5\" >\"$MADE/version\" && cp \"$MADE/made\" \"$4\"\n";
    const test::ScratchFolder scratch_;
    std::string old_path_;
};

TEST_F(SmallSystems, AreForAnyMachineWhateverThisOneHas) {
    will_make(initramfs_of(kWhole));
    const Initramfs made = make_initramfs({.kernel = "6.1.0-9-amd64"});
    EXPECT_EQ(made.content, initramfs_of(kWhole));
    EXPECT_EQ(made.modules, 1u);
    EXPECT_FALSE(made.is_secret);
    EXPECT_EQ(told("version"), "6.1.0-9-amd64\n");
    for (const char* setting :
         {"MODULES=most\n", "COMPRESS=zstd\n", "DUPENGINE_RECEIVE=y\n", "RESUME=none\n"})
        EXPECT_THAT(told("conf"), HasSubstr(setting));
    std::string folder = told("folder");
    folder.pop_back();
    EXPECT_FALSE(fs::exists(folder)) << "what it was made in is left behind";
}

TEST_F(SmallSystems, AreForThisMachineIfThatIsAskedFor) {
    will_make(initramfs_of(kWhole));
    write_file_atomic(scratch_.file("modprobe"),
                      as_bytes(std::string_view("#!/bin/sh\necho nvme\necho virtio_gpu\n")), 0755,
                      Code::kInternal);
    write_file_atomic(
        scratch_.file("modinfo"),
        as_bytes(std::string_view("#!/bin/sh\necho '(builtin)'\n"
                                  "echo /lib/modules/1/kernel/drivers/nvme/host/nvme.ko.xz\n"
                                  "echo /lib/modules/1/kernel/drivers/gpu/drm/virtio/virtio-gpu.ko\n")),
        0755, Code::kInternal);
    make_initramfs({.kernel = "1", .only_this_machine = true});
    EXPECT_THAT(told("conf"), HasSubstr("MODULES=list\nDUPENGINE_DRIVERS=\"nvme\"\n"));
}

TEST(MachineDrivers, OfAMachineWithoutDevicesAreRefused) {
    const test::ScratchFolder scratch;
    EXPECT_EQ(code_of([&] { find_machine_drivers("1", scratch.path()); }), Code::kUnsupported);
}

TEST_F(SmallSystems, HoldWhoMayHaveSignedAnImageAndNothingOfThisMachine) {
    will_make(initramfs_of(kWhole));
    const test::SigningKeyPair owner;
    const std::string authority = scratch_.file("web.pem");
    write_file_atomic(authority, as_bytes(std::string_view("-----BEGIN CERTIFICATE-----\n")), 0644,
                      Code::kInternal);
    const Initramfs made =
        make_initramfs({.kernel = "1", .trusted = {owner.path() + ".pub"}, .ca_file = authority});
    const std::string name = fs::path(owner.path()).filename().string() + ".pub";
    EXPECT_THAT(made.added, ElementsAre("etc/dupengine/trusted.d/" + name, "etc/dupengine/ca.pem"));
    auto members = members_of(made.content);
    EXPECT_EQ(members["etc/dupengine/trusted.d/" + name].content,
              read_file(owner.path() + ".pub", Code::kInternal));
    // The kernel makes no folder that no member names.
    EXPECT_TRUE(S_ISDIR(members["etc/dupengine"].mode) && S_ISDIR(members["etc/dupengine/trusted.d"].mode));
    EXPECT_EQ(members.size(), kWhole.size() + 4);
}

TEST_F(SmallSystems, HoldTheProfileOfAMachineThatHasNone) {
    will_make(initramfs_of(kWhole));
    const std::string profile = scratch_.file("n07.toml");
    constexpr std::string_view kText = "schema = 1\nkind = \"node\"\nnode = \"n07\"\n";
    write_file_atomic(profile, as_bytes(kText), 0644, Code::kInternal);
    const Initramfs made = make_initramfs({.kernel = "1", .profile = profile});
    EXPECT_THAT(made.added, ElementsAre("etc/dupengine/profile.toml"));
    EXPECT_EQ(members_of(made.content).at("etc/dupengine/profile.toml").content, kText);
    EXPECT_FALSE(made.is_secret);
}

TEST_F(SmallSystems, HoldASecretKeyOnlyIfAskedAndNeverAnAuthoritys) {
    will_make(initramfs_of(kWhole));
    test::TestPki pki;
    const std::string folder = pki.enrol("web-1");
    fs::create_directory(folder + "/authority");
    write_file_atomic(folder + "/authority/key.pem", as_bytes(std::string_view("authority")), 0600,
                      Code::kInternal);
    const Initramfs made = make_initramfs({.kernel = "1", .enrolment = folder});
    EXPECT_TRUE(made.is_secret);
    const auto members = members_of(made.content);
    const auto key = members.find("etc/dupengine/peers/enrolment.pem");
    ASSERT_NE(key, members.end());
    EXPECT_EQ(key->second.content, read_file(folder + "/enrolment.pem", Code::kInternal));
    EXPECT_EQ(key->second.mode, S_IFREG | 0600u);
    EXPECT_EQ(members.at("etc/dupengine/peers").mode, S_IFDIR | 0700u);
    EXPECT_EQ(members.count("etc/dupengine/peers/authority/key.pem"), 0u);
}

TEST_F(SmallSystems, ThatCouldDoNothingAreNotMade) {
    for (std::size_t lost = 0; lost < 2; ++lost) {
        auto files = kWhole;
        files.erase(files.begin() + static_cast<std::ptrdiff_t>(lost));
        will_make(initramfs_of(files));
        EXPECT_EQ(code_of([] { make_initramfs({.kernel = "1"}); }), Code::kUnsupported);
    }
    EXPECT_EQ(code_of([] { check_initramfs("no archive"); }), Code::kUsage);
}

TEST_F(SmallSystems, WhatIsNoKeyCertificateEnrolmentOrVersionIsRefusedBeforeAnythingIsMade) {
    const std::string text = scratch_.file("text");
    write_file_atomic(text, as_bytes(std::string_view("text\n")), 0644, Code::kInternal);
    EXPECT_EQ(code_of([&] { make_initramfs({.kernel = "1", .trusted = {text}}); }), Code::kUsage);
    EXPECT_EQ(code_of([&] { make_initramfs({.kernel = "1", .ca_file = text}); }), Code::kUsage);
    EXPECT_EQ(code_of([&] { make_initramfs({.kernel = "1", .profile = text}); }), Code::kUsage);
    EXPECT_EQ(code_of([&] { make_initramfs({.kernel = "1", .enrolment = scratch_.path()}); }),
              Code::kAuthenticity);
    EXPECT_EQ(code_of([] { make_initramfs({.kernel = "../1"}); }), Code::kUsage);
    EXPECT_FALSE(fs::exists(scratch_.file("version")));
}

// What TFTP would give to everybody is seen in a file, too, whoever made it.
TEST_F(SmallSystems, ThatWereMadeBeforeAreKnownByWhatIsInThem) {
    Initramfs found = check_initramfs(initramfs_of(kWhole));
    EXPECT_FALSE(found.is_secret);
    EXPECT_FALSE(found.trusts_somebody);
    EXPECT_THAT(found.kernels, ElementsAre("1"));
    auto files = kWhole;
    files.emplace_back("etc/dupengine/peers/enrolment.pem");
    files.emplace_back("etc/dupengine/trusted.d/owner.pub");
    found = check_initramfs(initramfs_of(files));
    EXPECT_TRUE(found.is_secret);
    EXPECT_TRUE(found.trusts_somebody);
}

// As the header of a kernel is laid out: Documentation/arch/x86/boot.rst.
std::string kernel_of(const std::string& version) {
    std::string kernel(0x1000, '\0');
    kernel.replace(0x202, 4, "HdrS");
    kernel.replace(0x20e, 2, std::string("\x00\x04", 2));
    const std::string text = version + " (somebody) #1";
    kernel.replace(0x600, text.size(), text);
    return kernel;
}

TEST(KernelVersion, IsThatOfTheFileAndNoGuess) {
    EXPECT_EQ(kernel_version(kernel_of("6.1.0-9-amd64"), "linux"), "6.1.0-9-amd64");
    std::string kernel = kernel_of("6.1.0-9-amd64");
    kernel[0x20f] = '\x7f';
    EXPECT_EQ(code_of([&] { kernel_version(kernel, "linux"); }), Code::kUsage);
    EXPECT_EQ(code_of([&] { kernel_version("no kernel", "linux"); }), Code::kUsage);
}

TEST(SmallSystemsStart, OnlyWithTheirOwnKernelAndTheKeysForWhatTheyAreTold) {
    Initramfs system;
    system.kernels = {"6.1.0-9-amd64"};
    const auto start = [&](const char* version, const char* copied, bool receives) {
        BootWords words;
        words.copied = copied;
        words.receives = receives;
        check_can_start(system, kernel_of(version), "linux", words);
    };
    EXPECT_EQ(code_of([&] { start("6.1.0-8-amd64", "", false); }), Code::kRefused);
    EXPECT_EQ(code_of([&] { start("6.1.0-9-amd64", "https://host/store#web", false); }), Code::kRefused);
    EXPECT_EQ(code_of([&] { start("6.1.0-9-amd64", "dup://host/disk", false); }), Code::kRefused);
    EXPECT_EQ(code_of([&] { start("6.1.0-9-amd64", "", true); }), Code::kRefused);
    EXPECT_NO_THROW(start("6.1.0-9-amd64", "", false));
    system.trusts_somebody = system.is_secret = true;
    EXPECT_NO_THROW(start("6.1.0-9-amd64", "https://host/store#web", false));
    EXPECT_NO_THROW(start("6.1.0-9-amd64", "dup://host/disk", false));
    EXPECT_NO_THROW(start("6.1.0-9-amd64", "", true));
}

// -- the folder
// ---------------------------------------------------------------------------------------------------------

TEST(NetworkFolders, HaveAllThatBothKindsOfFirmwareAskFor) {
    const test::ScratchFolder scratch;
    const std::string path = scratch.file("tftp"), kernel = scratch.file("kernel");
    write_file_atomic(kernel, as_bytes(std::string_view("kernel")), 0600, Code::kInternal);
    NetworkFolder folder{path, kernel, "small", "dupengine.shell",
                         parse_dhcp_range("eth0", "10.0.0.5,10.0.0.9")};
    for (int round = 0; round < 2; ++round) {
        make_network_folder(folder);
        EXPECT_EQ(read_file(path + "/linux", Code::kInternal), "kernel");
        EXPECT_EQ(read_file(path + "/initramfs", Code::kInternal), "small");
        EXPECT_THAT(read_file(path + "/grub/grub.cfg", Code::kInternal), HasSubstr("'dupengine.shell'"));
        EXPECT_TRUE(read_file(path + "/" + kNetworkEfi, Code::kInternal).starts_with("MZ"));
        EXPECT_GT(fs::file_size(path + "/" + kNetworkBios), 32 * kKiB);
        // The server is another user.
        for (const auto& entry : fs::recursive_directory_iterator(path))
            EXPECT_NE(fs::status(entry).permissions() & fs::perms::others_read, fs::perms::none) << entry;
    }
    folder.efi_application = scratch.file("application");
    write_file_atomic(folder.efi_application, as_bytes(std::string_view("application")), 0600,
                      Code::kInternal);
    folder.http = "http://10.0.0.1/pxe";
    make_network_folder(folder);
    EXPECT_EQ(read_file(path + "/dupengine.efi", Code::kInternal), "application");
    EXPECT_THAT(read_file(path + "/dnsmasq.conf", Code::kInternal),
                HasSubstr("\ndhcp-boot=tag:efi,tag:!ipxe,dupengine.efi\n"));
    EXPECT_THAT(test::must_run({"dnsmasq", "--version"}), HasSubstr("Dnsmasq"));
    const RunResult checked = run_program({"dnsmasq", "--test", "--conf-file=" + path + "/dnsmasq.conf"});
    EXPECT_EQ(checked.status, 0) << checked.complaint();
}

TEST(NetworkFolders, HaveAProfileForEachCard) {
    const test::ScratchFolder scratch;
    const std::string path = scratch.file("tftp"), kernel = scratch.file("kernel"),
                      node = scratch.file("n.toml");
    write_file_atomic(kernel, as_bytes(std::string_view("kernel")), 0600, Code::kInternal);
    write_file_atomic(node, as_bytes(std::string_view("schema = 1\nkind = \"node\"\nnode = \"web-7\"\n")),
                      0600, Code::kInternal);
    NetworkFolder folder{path, kernel, "small", "dupengine.shell", {}};
    make_network_folder(folder);
    const auto given = parse_node("52-54-00-AB-cd-0e=" + node);
    EXPECT_EQ(given.first, "52-54-00-ab-cd-0e");
    EXPECT_EQ(given.second, node);
    folder.nodes.emplace(given.first, profile_archive(given.second));
    make_network_folder(folder);
    // As a loader puts it behind the other one.
    const std::string whole =
        initramfs_of(kWhole) + read_file(path + "/nodes/52-54-00-ab-cd-0e", Code::kInternal);
    EXPECT_THAT(members_of(whole).at("etc/dupengine/profile.toml").content, HasSubstr("web-7"));
    folder.nodes.clear();
    make_network_folder(folder);
    EXPECT_TRUE(fs::exists(path + "/nodes/52-54-00-ab-cd-0e")) << "others are added, and these stay";
    for (const char* wrong :
         {"", "web.toml", "52:54:00:ab:cd:0e", "52:54:00:ab:cd:0e=", "52:54:00:ab:cd=n.toml",
          "01:54:00:ab:cd:0e=n.toml", "52:54:00:ab:cd:xy=n.toml"})
        EXPECT_EQ(code_of([&] { parse_node(wrong); }), Code::kUsage) << wrong;
    write_file_atomic(node, as_bytes(std::string_view("schema = 1\nkind = \"role\"\nrole = \"web\"\n")), 0600,
                      Code::kInternal);
    EXPECT_EQ(code_of([&] { profile_archive(node); }), Code::kUsage) << "a role is nobody";
}

TEST(NetworkFolders, AServerGetsEachFirmwareItsOwnProgram) {
    const std::string settings =
        dnsmasq_settings(parse_dhcp_range("eth0", "10.0.0.5,10.0.0.9"), "/srv/tftp", kNetworkEfi);
    for (const char* line :
         {"\ninterface=eth0\n", "\ndhcp-range=10.0.0.5,10.0.0.9,1h\n", "\ntftp-root=/srv/tftp\n",
          "\ndhcp-match=set:efi,option:client-arch,7\n", "\ndhcp-match=set:bios,option:client-arch,0\n",
          "\ndhcp-boot=tag:efi,tag:!ipxe,grub/efi64.efi\n", "\ndhcp-boot=tag:bios,tag:!ipxe,grub/bios.0\n",
          "\ndhcp-boot=tag:ipxe,boot.ipxe\n"})
        EXPECT_THAT(settings, HasSubstr(line));
    EXPECT_THAT(settings, ::testing::Not(HasSubstr("HTTPClient")));
}

TEST(NetworkFolders, AServerSendsHttpBootToTheWebServer) {
    EXPECT_THAT(dnsmasq_settings(parse_dhcp_range("eth0", "10.0.0.5,10.0.0.9"), "/srv/tftp",
                                 kNetworkDupengine, parse_http_folder("http://10.0.0.1/pxe/")),
                HasSubstr("\ndhcp-boot=tag:http,http://10.0.0.1/pxe/dupengine.efi\n"));
    for (const char* wrong : {"", "10.0.0.1", "ftp://10.0.0.1/pxe", "http://", "http://a/b,c", "http://a/b c",
                              "http://a/b#c", "http://a/b\nport=1"})
        EXPECT_EQ(code_of([&] { parse_http_folder(wrong); }), Code::kUsage) << wrong;
}

// One of another architecture would not run it.
TEST(NetworkFolders, AServerGivesNoProgramToFirmwareOfAnyOtherKind) {
    std::istringstream settings(
        dnsmasq_settings(parse_dhcp_range("eth0", "10.0.0.5,10.0.0.9"), "/srv/tftp", kNetworkEfi));
    int programs = 0;
    for (std::string line; std::getline(settings, line);) {
        if (!line.starts_with("dhcp-boot=")) continue;
        ++programs;
        EXPECT_THAT(line, ::testing::ContainsRegex("^dhcp-boot=tag:(efi|bios|ipxe),"));
    }
    EXPECT_EQ(programs, 3);
}

TEST(NetworkFolders, NoRangeIsGuessed) {
    for (const char* range : {"", "10.0.0.5", "10.0.0.9,10.0.0.5", "10.0.0.5,x", "10.0.0.5,10.0.0.9,1h"})
        EXPECT_EQ(code_of([&] { parse_dhcp_range("eth0", range); }), Code::kUsage) << range;
    for (const char* name : {"", "a b", "a/b", "..", "eth0\nport=1", "a-name-of-16-chr"})
        EXPECT_EQ(code_of([&] { parse_dhcp_range(name, "10.0.0.5,10.0.0.9"); }), Code::kUsage) << name;
}

}  // namespace
}  // namespace dupengine::boot
