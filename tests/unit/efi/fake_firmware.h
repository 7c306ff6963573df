#pragma once
// A machine as efi/ sees it: disks with real tables and stores, files by their names, keys that somebody
// presses. What was done is in `done`, in order; what was said is in `said`.

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "block/guard.h"
#include "efi/core/firmware.h"
#include "profiles/slot_format.h"
#include "profiles/slots.h"
#include "tests/support/efi_disk.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::test {

inline std::string string_of(efi::TextView text) {
    return {text.data(), text.size()};
}

class FakeFirmware final : public efi::Firmware {
  public:
    static constexpr std::uint64_t kDiskBytes = 8 * kMiB;

    /// A disk with an EFI system partition; the GUIDs come from the seed. Returns its number.
    std::size_t add_disk(std::uint64_t seed) {
        const auto bytes = make_gpt_disk(kDiskBytes,
                                         {{1, {kMiB, 2 * kMiB}, "EFI system", layout::type_guid::kEfiSystem},
                                          {2, {2 * kMiB, 4 * kMiB}, "profile", layout::type_guid::kProfile}},
                                         seed);
        std::fill_n(bytes->content.begin() + static_cast<std::ptrdiff_t>(2 * kMiB), 2 * kMiB, std::byte{0});
        disks_.push_back(std::make_unique<EfiDisk>(bytes->content));
        return disks_.size() - 1;
    }
    /// One that has no store.
    std::size_t add_plain_disk(std::uint64_t seed) {
        const auto bytes = make_gpt_disk(
            kDiskBytes, {{1, {kMiB, 2 * kMiB}, "EFI system", layout::type_guid::kEfiSystem}}, seed);
        disks_.push_back(std::make_unique<EfiDisk>(bytes->content));
        return disks_.size() - 1;
    }
    /// Puts a profile into a disk's store.
    void set_profile(std::size_t disk, const std::string& text, std::uint64_t generation = 1) {
        auto bytes = std::make_shared<DiskBytes>(0);
        bytes->content = disks_[disk]->content();
        block::Target target(std::make_unique<MemoryDevice>(bytes), {});
        profiles::write_slot(target, {2 * kMiB, 4 * kMiB}, {generation, text, {std::string(32, 's')}});
        disks_[disk]->content() = bytes->content;
    }
    /// Puts one into the variables: into A if the generation is odd, else into B.
    void set_variable_profile(const std::string& text, std::uint64_t generation = 1) {
        const Bytes slot = profiles::encode_short_slot({generation, text, {std::string(32, 's')}});
        variables[profiles::slot::kVariables[(generation + 1) % 2]] = as_text(slot);
    }
    EfiDisk& disk_bytes(std::size_t disk) { return *disks_[disk]; }

    std::map<std::pair<std::size_t, std::string>, std::string> files;  ///< on EFI system partitions
    std::map<std::size_t, std::string> file_faults;                    ///< of a whole EFI system partition
    std::map<std::string, std::string> web;                            ///< by address
    std::deque<std::string> network_faults;                            ///< that pass, one a fetch
    std::map<std::string, std::string> variables;
    bool variables_stay = false;  ///< they cannot be changed
    bool setup = true;
    std::vector<std::string> measured;
    std::string no_measure;  ///< why the TPM does not
    efi::Trust trusted;
    std::size_t reads = 0;  ///< files that were read
    std::size_t parts = 0;  ///< of files on web servers
    std::optional<std::size_t> own;
    std::deque<char> keys;   ///< '\0': nobody presses one until the time-out; behind them, restart
    std::string comes_back;  ///< why programs that were started come back
    std::vector<std::string> done;
    std::string said;

    void print(efi::TextView text) override { said += string_of(text); }
    char wait_key(std::uint32_t milliseconds) override {
        if (milliseconds != 0xffffffff) waited_ms += milliseconds;
        if (keys.empty()) return 'x';
        const char key = keys.front();
        keys.pop_front();
        return key;
    }
    std::size_t disk_count() override { return disks_.size(); }
    efi::Disk& disk(std::size_t number) override { return *disks_.at(number); }
    efi::WritableDisk& writable_disk(std::size_t number) override { return *disks_.at(number); }
    std::optional<std::size_t> own_disk() override { return own; }

    const efi::Trust& trust() override { return trusted; }
    efi::TextView read_file(const efi::FilePlace& place, efi::FileUse use, efi::Bytes& content) override {
        if (const auto fault = file_faults.find(place.disk); fault != file_faults.end())
            return {fault->second.data(), fault->second.size()};
        const auto found = files.find({place.disk, string_of(place.path)});
        if (found == files.end()) return "it is not there";
        // What was read before for this use is gone.
        std::string& read = read_[static_cast<std::size_t>(use)];
        read = found->second;
        content = as_bytes(read);
        ++reads;
        return {};
    }
    efi::WebAnswer fetch(efi::TextView url, const efi::WebAddress&, efi::FileUse use,
                         efi::Bytes& content) override {
        if (!network_faults.empty()) {
            fault_ = network_faults.front();
            network_faults.pop_front();
            return {{fault_.data(), fault_.size()}, true};
        }
        const auto found = web.find(string_of(url));
        if (found == web.end()) return {"the web server does not have it"};
        std::string& read = read_[static_cast<std::size_t>(use)];
        read = found->second;
        content = as_bytes(read);
        ++reads;
        return {};
    }
    efi::WebAnswer fetch_part(efi::TextView url, const efi::WebAddress&, std::uint64_t offset,
                              efi::Buffer part) override {
        if (!network_faults.empty()) {
            fault_ = network_faults.front();
            network_faults.pop_front();
            return {{fault_.data(), fault_.size()}, true};
        }
        const auto found = web.find(string_of(url));
        if (found == web.end()) return {"the web server does not have it"};
        if (offset + part.size() > found->second.size()) return {"the web server sends another part"};
        std::copy_n(as_bytes(found->second).begin() + static_cast<std::ptrdiff_t>(offset), part.size(),
                    part.begin());
        ++parts;
        return {};
    }
    efi::TextView start_program(const efi::FilePlace& place, efi::Bytes content) override {
        done.push_back(
            fmt::format("program {} of disk {}: {}", string_of(place.path), place.disk, as_text(content)));
        return {comes_back.data(), comes_back.size()};
    }
    efi::TextView start_kernel(const efi::FilePlace& place, efi::Bytes content, efi::Bytes initrd,
                               efi::TextView command_line) override {
        done.push_back(fmt::format("kernel {}: {} with {}: {}", string_of(place.path), as_text(content),
                                   initrd.empty() ? "nothing" : as_text(initrd), string_of(command_line)));
        return {comes_back.data(), comes_back.size()};
    }
    std::optional<std::size_t> read_variable(efi::TextView name, efi::Buffer into) override {
        const auto found = variables.find(string_of(name));
        if (found == variables.end()) return std::nullopt;
        if (found->second.size() > into.size()) return 0;
        std::copy_n(as_bytes(found->second).begin(), found->second.size(), into.begin());
        return found->second.size();
    }
    bool write_variable(efi::TextView name, efi::Bytes value) override {
        done.push_back(fmt::format("{} = {}", string_of(name), as_text(value)));
        if (!variables_stay) variables[string_of(name)] = as_text(value);
        return !variables_stay;
    }
    bool delete_variable(efi::TextView name) override {
        done.push_back("delete " + string_of(name));
        if (!variables_stay) variables.erase(string_of(name));
        return !variables_stay;
    }
    efi::TextView measure(efi::TextView line) override {
        measured.push_back(string_of(line));
        return {no_measure.data(), no_measure.size()};
    }
    bool has_setup() override { return setup; }
    efi::TextView restart_to_setup() override {
        done.push_back("setup");
        return "the firmware did not restart it";
    }
    void restart() override { done.push_back("restart"); }

    std::uint64_t waited_ms = 0;

  private:
    std::vector<std::unique_ptr<EfiDisk>> disks_;
    std::array<std::string, 3> read_;
    std::string fault_;
};

}  // namespace dupengine::test
