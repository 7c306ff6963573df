#pragma once
// /dev/snapshot: images of all memory, made and restored by the kernel (Linux:
// Documentation/power/userland-swsusp.rst, kernel/power/user.c). Whoever freezes is exempt, and so are the
// processes that it starts from then on. If it dies, the kernel thaws all others.
//
// Used by one thread, of a process that has no other: those would be frozen, with what they hold locked.

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"

namespace dupengine::machine {

/// What makes an image; tests have their own.
class SnapshotMaker {
  public:
    virtual ~SnapshotMaker() = default;
    /// All other processes. Throws kUnsupported, with all thawed again.
    virtual void freeze() = 0;
    /// Returns twice: true here; false where the image was restored, on another machine. Throws kUnsupported
    /// if there is not enough memory, or a driver does not let it.
    virtual bool create() = 0;
    /// The next page of the image (codec::kPageBytes); false: that was all. Throws kSourceIo.
    virtual bool next_page(std::span<std::byte> page) = 0;
    /// Lets go of the image; the kernel's own threads run again. Until then they do not, and what needs them
    /// (writing to filesystems) waits.
    virtual void free_image() noexcept = 0;
    /// All run again; it is of no use any more.
    virtual void thaw() noexcept = 0;
};

class SnapshotDevice final : public SnapshotMaker {
  public:
    /// Throws kUnsupported if there is none, kRefused if somebody else has it.
    explicit SnapshotDevice(const std::string& path = "/dev/snapshot");
    ~SnapshotDevice() override;

    void freeze() override;
    bool create() override;
    bool next_page(std::span<std::byte> page) override;
    void free_image() noexcept override;
    void thaw() noexcept override;

  private:
    std::string path_;
    Fd fd_;
    unsigned long preferred_size_;  // as it was before
    bool has_image_ = false, is_frozen_ = false;
};

/// Drops what of files is only cached (/proc/sys/vm/drop_caches): it would only make an image larger, and in
/// the pause the kernel would look for room page by page, which takes several times as long as all else.
/// Throws kUnsupported.
void drop_file_caches();

/// Puts an image of another machine in the place of everything that runs here: `next_page` gives it, page by
/// page. Returns only by throwing: kUnsupported for an image that this kernel does not take, with everything
/// going on as before.
[[noreturn]] void restore_image(const std::function<bool(std::span<std::byte> page)>& next_page,
                                const std::string& path = "/dev/snapshot");

}  // namespace dupengine::machine
