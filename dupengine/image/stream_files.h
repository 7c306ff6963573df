#pragma once
// The files of one image in a tar that comes through a pipe, in the order of tar_names.h. Who asks for a file
// that has not come yet waits for it, and what passes meanwhile is kept: the packs that came last in memory,
// what is pushed out of there in a scratch file. forget() says what need not be kept. What stands in front of
// the index is kept to the end. Memory: three packs, and some 200 bytes for each that has passed.
// From any thread.

#include <deque>
#include <map>
#include <mutex>
#include <stop_token>

#include "block/scratch_file.h"
#include "image/files.h"
#include "image/tar.h"
#include "image/tar_names.h"

namespace dupengine::image {

class StreamFiles final : public Files {
  public:
    /// Reads the first header. Throws kIntegrity if no image begins there; kRefused if nothing can be kept.
    StreamFiles(int fd, std::string name);

    /// What comes, by the name of its first file.
    const StoredImage& image() const { return image_; }
    /// Who waits for the pipe is woken by this.
    void set_stop(std::stop_token stop) override;

    const std::string& name() const override { return name_; }
    /// Does not wait for what should have come before.
    std::optional<std::uint64_t> size_of(const std::string& file) const override;
    /// Throws kIntegrity, too, for what was forgotten.
    void read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const override;
    /// These bytes of a pack are not going to be read any more.
    void forget(const std::string& file, block::Extent bytes) const;
    enum class Rest {
        kKept,      ///< all of it will be read in any order
        kForgotten  ///< nothing of it, nor of what has passed, will be read any more
    };
    /// Takes what is left, and so sees the end, which a sender writes only if all before it was right. Waits
    /// for that. Throws kIntegrity if there is no end, if there are more packs than this, or if anything else
    /// comes than an image; kInterrupted.
    void take_rest(std::size_t most_packs, Rest rest);
    std::uint64_t spooled_bytes() const;  ///< that ever went to the scratch file

  private:
    struct Coming {
        TarScanner::Entry entry;
        TarName name;
    };
    struct Held {
        block::Extent place;    // in the tar, and in the scratch file
        block::ExtentSet kept;  // of its bytes
        bool is_first = false;  // stands in front of the index
    };
    struct InMemory {
        Held* held = nullptr;
        Bytes content;
    };
    std::span<const std::byte> read_pipe();
    void look_ahead() const;
    int rank(TarPart part) const;
    void take() const;
    void take_unguarded() const;
    Bytes read_pack(std::uint64_t size_bytes) const;
    void spool(block::Extent place) const;
    void push_out() const;

    std::string name_;
    int fd_;
    Bytes buffer_;
    mutable std::mutex mutex_;
    std::stop_token stop_;
    StoredImage image_;
    block::ScratchFile spool_;
    mutable std::optional<TarScanner> scanner_;
    mutable std::optional<Coming> coming_;  // its header was read
    mutable bool index_passed_ = false;
    mutable int last_rank_ = 0;
    mutable std::size_t packs_taken_ = 0;
    mutable std::optional<Error> failure_;  // final: what is behind it cannot be found
    mutable std::map<std::string, Held> files_;
    mutable std::map<std::string, block::ExtentSet> forgotten_ahead_;  // of packs that have not come yet
    mutable std::deque<InMemory> memory_;                              // the one that came last at the end
    mutable std::uint64_t spooled_bytes_ = 0;
};

}  // namespace dupengine::image
