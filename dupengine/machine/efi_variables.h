#pragma once
// Variables of UEFI firmware under one vendor's GUID, as Linux shows them (efivarfs of the kernel's
// Documentation/filesystems): a file each, with four bytes of attributes in front of the value. All that are
// written here are kept over starts and seen by the system that runs. What is written is read back. One
// thread at a time; another program may change them meanwhile.

#include <optional>
#include <string>

namespace dupengine::machine {

inline constexpr const char* kEfivarsFolder = "/sys/firmware/efi/efivars";
/// Ours (dupengine-efi(8)), and that of systemd-boot (its Boot Loader Interface).
inline constexpr const char* kOwnVendor = "87463cd7-2602-467b-beac-b3b17a82e3d0";
inline constexpr const char* kLoaderVendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Who may read a variable through files. The kernel does not remember it: with every start and mount all are
/// everybody's again, until somebody says otherwise (bootloader_hooks/systemd/dupengine.conf).
enum class Readers { kEverybody, kRoot };

class EfiVariables {
  public:
    /// Throws kUnsupported, with what can be done, if the folder holds no variables: no UEFI firmware, or not
    /// mounted.
    explicit EfiVariables(std::string folder = kEfivarsFolder, std::string vendor = kOwnVendor);

    /// The value, or nothing. Throws kSourceIo.
    std::optional<std::string> read(const std::string& name) const;
    /// Throws kUnsupported if firmware has no room left or takes none of that size, kTargetIo: then it is as
    /// it was. Throws kIntegrity if something else is there then. One that the kernel protects from being
    /// deleted by mistake stays so.
    void write(const std::string& name, const std::string& value, Readers readers = Readers::kEverybody);
    /// Also if there is none. Throws kTargetIo.
    void remove(const std::string& name);

    const std::string& folder() const { return folder_; }

  private:
    std::string path_of(const std::string& name) const;
    std::string folder_, vendor_;
};

/// Whether this system is an initramfs or the like, whose machine's disks are yet to be started.
bool runs_from_memory();

/// An initramfs does not mount the variables. What stands against that shows when they are looked at.
void mount_efi_variables();

}  // namespace dupengine::machine
