#pragma once
// The report of a copy, kept beside it: digests of what was copied, so that months later it can be told
// whether a disk still holds it. The format is in dupengine-formats(5): JSON Lines, one chunk a line, with a
// digest of all that stands before it in the last line. Everything in it is checked before it is believed.

#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "engine/apply.h"
#include "engine/chunks.h"

namespace dupengine::engine {

struct Report {
    struct Piece {
        std::string name;
        block::Extent extent;
        codec::Sha256 sha256{};
    };
    std::string source, target;
    std::int64_t time = 0;  ///< Unix seconds, of the copy's end
    std::uint64_t size_bytes = 0;
    std::uint64_t chunk_bytes = 0;
    block::ExtentSet data;               ///< copied
    std::vector<codec::Sha256> digests;  ///< of its chunks (chunks.h), in order
    block::ExtentSet zero;               ///< used by the source, and zero there
    block::ExtentSet bad;                ///< of data: could not be read, and is zero on the target
    std::vector<Piece> boot;             ///< boot structures as they were written
    std::vector<Piece> kept;             ///< protected: not part of the copy; no digest

    /// The first byte that it says nothing of any more.
    ByteOffset end() const;
};

/// SHA-256 of the chunk's extents, one behind the other.
codec::Sha256 sha256_of_chunk(const Slot& slot);

/// Takes digests while a copy is under way. `take` is safe from any thread.
class ReportDigests {
  public:
    void take(const Slot& slot);
    /// All chunks, in order. What never passed by here (a copy that went on from an earlier one) is read from
    /// `target`, where it has been verified.
    std::vector<codec::Sha256> finish(const block::ExtentSet& data, std::uint64_t chunk_bytes,
                                      const block::Reader& target);

  private:
    std::mutex mutex_;
    std::vector<codec::Sha256> digests_;
    std::vector<bool> taken_;
};

/// Throws kRefused if the copy is of more chunks or ranges than a report can tell of, so that verify would
/// not read it.
void refuse_what_no_report_holds(const CopyPlan& plan);

Report make_report(const CopyPlan& plan, const CopyReport& copied, std::vector<codec::Sha256> digests,
                   std::int64_t now);

/// A file that is made before the copy begins, so that it can be refused in time, and is gone again unless it
/// was written.
class ReportFile {
  public:
    /// Throws kRefused if it exists already or cannot be made.
    explicit ReportFile(std::string path);
    ~ReportFile();
    ReportFile(const ReportFile&) = delete;
    ReportFile& operator=(const ReportFile&) = delete;
    /// Written and flushed when it returns. Throws kTargetIo; then no report is left.
    void write(const Report& report);

  private:
    std::string path_;
    Fd fd_;
    bool written_ = false;
};

/// Throws kIntegrity, saying what is wrong, unless it is a whole report; kRefused if it cannot be opened.
Report read_report(const std::string& path);

}  // namespace dupengine::engine
