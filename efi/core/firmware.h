#pragma once
// All that the application asks of the firmware it runs on. Two implementations: UEFI (efi/firmware), and a
// machine in tests. Nothing here keeps running on its own; one thread.

#include <optional>

#include "efi/core/disk.h"
#include "efi/core/node_profile.h"
#include "efi/core/signature.h"
#include "efi/core/web.h"

namespace dupengine::efi {

/// A file on a partition.
struct FilePlace {
    std::size_t disk = 0;
    Guid partition;
    PathText path;  ///< "/EFI/BOOT/BOOTX64.EFI"; with boot_file.h also a web address
};

/// Files are kept apart by what they are for, so that what was checked is what is used.
enum class FileUse { kProgram, kInitrd, kSignature };

class Firmware {
  public:
    virtual void print(TextView text) = 0;
    /// The next key, a small letter or another character, or 0 if none was pressed in time.
    virtual char wait_key(std::uint32_t milliseconds) = 0;

    virtual std::size_t disk_count() = 0;
    virtual Disk& disk(std::size_t number) = 0;
    /// For the guard alone (guard.h).
    virtual WritableDisk& writable_disk(std::size_t number) = 0;
    /// The disk that this program was started from, if it was one.
    virtual std::optional<std::size_t> own_disk() = 0;

    /// Whom it believes; the same as long as the program runs.
    virtual const Trust& trust() = 0;
    /// Reads a file whole. Returns nothing, or why it cannot; `content` is good until the next file is read
    /// for the same use.
    virtual TextView read_file(const FilePlace& place, FileUse use, Bytes& content) = 0;
    /// The same from a web server, and says how far it is. `address` is what was read of `url`.
    virtual WebAnswer fetch(TextView url, const WebAddress& address, FileUse use, Bytes& content) = 0;
    /// Just these bytes of it, all of them or none that count.
    virtual WebAnswer fetch_part(TextView url, const WebAddress& address, std::uint64_t offset,
                                 Buffer part) = 0;
    /// Runs a program that was read from there. Returns when it came back or could not be run, with the
    /// reason.
    virtual TextView start_program(const FilePlace& place, Bytes content) = 0;

    /// The same of a Linux kernel, with this command line and initrd; an empty one is none.
    virtual TextView start_kernel(const FilePlace& place, Bytes content, Bytes initrd,
                                  TextView command_line) = 0;

    /// A variable of our own (dupengine-efi(8)): its bytes, or nothing.
    virtual std::optional<std::size_t> read_variable(TextView name, Buffer into) = 0;
    /// Kept over starts, and seen by the operating system. False if it could not be written.
    virtual bool write_variable(TextView name, Bytes value) = 0;
    /// False if it is still there.
    virtual bool delete_variable(TextView name) = 0;

    /// Has the TPM measure a line. Returns nothing if it did or there is none, or why it did not.
    virtual TextView measure(TextView line) = 0;

    /// Whether firmware can be told to show its setup at the next start.
    virtual bool has_setup() = 0;
    /// Returns only if it cannot, with the reason.
    virtual TextView restart_to_setup() = 0;
    virtual void restart() = 0;

  protected:
    ~Firmware() = default;
};

}  // namespace dupengine::efi
