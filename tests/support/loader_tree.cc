#include "tests/support/loader_tree.h"

#include <filesystem>

#include "base/fd.h"

namespace dupengine::test {
namespace {

namespace fs = std::filesystem;

std::string wide(const std::string& text) {
    std::string bytes;
    for (const char c : text)
        bytes.append({c, '\0'});
    return bytes.append(2, '\0');
}

}  // namespace

LoaderTree::LoaderTree(std::string loader) : loader_(std::move(loader)) {
    for (const char* folder : {"root/boot/grub", "root/etc/grub.d", "root/boot/efi/EFI/systemd",
                               "root/boot/efi/loader/entries", "root/boot/efi/EFI/Linux", "efivars"})
        fs::create_directories(file(folder));
    for (const char* version : {"0", "1"}) {
        write(std::string("linux-") + version, std::string("kernel ") + version);
        write(std::string("initrd-") + version, std::string("initrd ") + version);
    }
    write("root/boot/grub/grub.cfg", "set timeout=5\nmenuentry 'own' { linux /vmlinuz }\n");
    std::string block = "# GRUB Environment Block\nsaved_entry=own\n";
    block.resize(1024, '#');
    write("root/boot/grub/grubenv", block);
    write("root/boot/efi/EFI/systemd/systemd-bootx64.efi", "MZ");
    write("root/boot/efi/loader/loader.conf", "#default x\ntimeout 3\n");
    write("root/boot/efi/loader/entries/own-6.1.conf", "title own\nlinux /vmlinuz\n");
    write("efivars/BootOrder-x", "1234");
    if (loader_ != boot::kSystemdBootName) return;
    machine::EfiVariables variables(file("efivars"), machine::kLoaderVendor);
    variables.write("LoaderInfo", wide("systemd-boot 252.39"));
    variables.write("LoaderEntrySelected", wide("own-6.1.conf"));
}

void LoaderTree::write(const std::string& name, const std::string& content) const {
    write_file_atomic(file(name), as_bytes(content), 0644, Code::kInternal);
}

std::vector<std::string> LoaderTree::arguments(std::vector<std::string> words) const {
    words.insert(words.begin(), "boot");
    words.insert(words.end(), {"--loader", loader_, "--root", file("root"), "--efivars", file("efivars")});
    return words;
}

std::vector<std::string> LoaderTree::install_arguments(int version) const {
    return arguments({"install", "--kernel", file("linux-" + std::to_string(version)), "--initrd",
                      file("initrd-" + std::to_string(version)), "--command-line", "quiet ip=dhcp",
                      "--duplicate", "dupengine.copy=dup://a/b dupengine.target=/dev/sda"});
}

std::map<std::string, std::string> LoaderTree::all() const {
    std::map<std::string, std::string> found;
    for (const char* part : {"root", "efivars"})
        for (const auto& entry : fs::recursive_directory_iterator(file(part)))
            found[entry.path()] =
                fmt::format("{:o} {}", static_cast<unsigned>(entry.status().permissions()),
                            entry.is_directory() ? "" : read_file(entry.path(), Code::kInternal));
    return found;
}

}  // namespace dupengine::test
