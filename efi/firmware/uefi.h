#pragma once
// The firmware that this program really runs on.

#include "efi/firmware/console.h"
#include "efi/firmware/images.h"
#include "efi/firmware/ipxe.h"
#include "efi/firmware/tpm.h"

namespace dupengine::efi {

class Uefi final : public Firmware {
  public:
    Uefi(SystemTable& system, Handle self);
    /// Tells the operating system which version of this program started it; forgotten with the power.
    void announce(TextView version);
    /// Looks for the disks; takes a second.
    void find_disks();

    void print(TextView text) override { console_.print(text); }
    char wait_key(std::uint32_t milliseconds) override { return console_.wait_key(milliseconds); }
    std::size_t disk_count() override { return disks_.count(); }
    Disk& disk(std::size_t number) override { return disks_[number]; }
    WritableDisk& writable_disk(std::size_t number) override { return disks_[number]; }
    std::optional<std::size_t> own_disk() override;
    const Trust& trust() override { return trust_; }
    TextView read_file(const FilePlace& place, FileUse use, Bytes& content) override;
    WebAnswer fetch(TextView url, const WebAddress& address, FileUse use, Bytes& content) override;
    WebAnswer fetch_part(TextView url, const WebAddress& address, std::uint64_t offset, Buffer part) override;
    TextView start_program(const FilePlace& place, Bytes content) override;
    TextView start_kernel(const FilePlace& place, Bytes content, Bytes initrd,
                          TextView command_line) override;
    std::optional<std::size_t> read_variable(TextView name, Buffer into) override;
    bool write_variable(TextView name, Bytes value) override;
    bool delete_variable(TextView name) override;
    TextView measure(TextView line) override { return measure_line(boot_, line); }
    bool has_setup() override;
    TextView restart_to_setup() override;
    void restart() override;

  private:
    /// Null for what came from a web server.
    Handle handle_of(const FilePlace& place) {
        if (is_web_address(place.path)) return nullptr;
        return partition_handle(boot_, disks_[place.disk].path(), place.partition);
    }

    Pool& pool_of(FileUse use) {
        return use == FileUse::kProgram ? program_ : use == FileUse::kInitrd ? initrd_ : signature_;
    }

    BootServices& boot_;
    RuntimeServices& runtime_;
    Handle self_;
    Ipxe* ipxe_;
    Console console_;
    Disks disks_;
    Pool program_, initrd_, signature_;
    Trust trust_;
};

}  // namespace dupengine::efi
