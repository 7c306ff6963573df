#pragma once
// A folder as the system of a machine that systemd-boot or GRUB starts, with variables of firmware.

#include <map>
#include <string>
#include <vector>

#include "bootloader_hooks/loader.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

class LoaderTree {
  public:
    /// Kernel and initrd are in files "linux-0", "initrd-0", "linux-1", "initrd-1".
    explicit LoaderTree(std::string loader);

    std::string loader() const { return loader_; }
    std::string file(const std::string& name) const { return folder_.file(name); }
    /// The arguments of a verb of `dupengine boot`, with the places of this tree behind them.
    std::vector<std::string> arguments(std::vector<std::string> words) const;
    std::vector<std::string> install_arguments(int version) const;
    RunResult boot(const std::vector<std::string>& words) const { return run_dupengine(arguments(words)); }
    RunResult install(int version) const { return run_dupengine(install_arguments(version)); }

    /// All that loaders read: by path, "MODE CONTENT".
    std::map<std::string, std::string> all() const;

  private:
    void write(const std::string& name, const std::string& content) const;
    const ScratchFolder folder_;
    const std::string loader_;
};

}  // namespace dupengine::test
