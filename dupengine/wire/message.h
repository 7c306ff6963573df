#pragma once
// What two peers say to each other about one disk (dupengine-formats(5), "wire"). The target's end asks, the
// source's end answers; every question bears an id that its answer repeats, so that many can be under way.
// A message is a header of 16 bytes and a payload of at most kMostPayload. Nothing of it is believed: every
// reader here checks, and throws kPeer for what no honest peer says. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/disk_row.h"
#include "codec/digest.h"
#include "codec/keyed_digest.h"

namespace dupengine::wire {

/// Data is compressed and told apart by zeros, and digests are taken, in pieces of this size.
inline constexpr std::size_t kPieceBytes = 64 * kKiB;
/// The most bytes of a disk that one question is about.
inline constexpr std::size_t kMostAsked = kMiB;
/// The most pieces that one question wants digests of.
inline constexpr std::size_t kMostDigests = 256;
/// The most extents in a message.
inline constexpr std::size_t kMostExtents = 4096;
/// The longest question; only answers are longer.
inline constexpr std::size_t kMostQuestion = 64 * kKiB;
inline constexpr std::size_t kMostPayload = kMostAsked + 64 * kKiB;
inline constexpr std::size_t kHeaderBytes = 16;
/// The longest text in a message, but for those that say otherwise.
inline constexpr std::size_t kMostText = 4096;
inline constexpr std::size_t kMostReport = 16 * kKiB;

enum class Type : std::uint8_t {
    kHello = 1,      ///< first, from both: Hello
    kOpen = 2,       ///< -> Open; answered by kOpened
    kOpened = 3,     ///< <- Opened
    kPrepare = 4,    ///< -> nothing; answered by kKnown and kPrefill, any number; the last kPrefill is empty
    kPrefill = 5,    ///< <- Prefill
    kRead = 6,       ///< -> ReadRequest; answered by kData
    kData = 7,       ///< <- pieces (pieces.h)
    kDigest = 8,     ///< -> extents; answered by kDigests
    kDigests = 9,    ///< <- a KeyedDigest::Tag for each piece that the extents touch
    kMap = 10,       ///< -> Extent; answered by kMapped
    kMapped = 11,    ///< <- Mapped
    kCheck = 12,     ///< -> nothing; answered by kChecked
    kChecked = 13,   ///< <- how the source changed since it was offered, as text; empty: not
    kProgress = 14,  ///< -> ProgressNote
    kDone = 15,      ///< -> Result; answered by kAlive
    kFailed = 16,    ///< <- Failure of one question
    kAbort = 17,     ///< either: Failure of the whole
    kKnown = 18,     ///< <- Known
    kAlive = 19,     ///< either: nothing; only to be heard
    kRound = 20,     ///< -> RoundRequest; answered by kChanged
    kChanged = 21,   ///< <- Changed
    kMemory = 22,    ///< -> MemoryRequest; answered by kGroup
    kGroup = 23      ///< <- GroupHead, and pieces (pieces.h) of what it tells of
};

struct Message {
    Type type = Type::kAlive;
    std::uint64_t id = 0;
    Bytes payload;
};

/// Header and payload in one.
Bytes encode(const Message& message);
struct Header {
    Type type = Type::kAlive;
    std::uint64_t id = 0;
    std::uint32_t payload_bytes = 0;
};
void encode_header(const Header& header, std::span<std::byte> to);
Header decode_header(std::span<const std::byte> bytes);

enum class Role : std::uint8_t { kAsks = 1, kAnswers = 2 };

struct Hello {
    Role role = Role::kAsks;
    std::string version;  ///< of the program, for messages to people
};

using Token = codec::Sha256;

/// Under which digests of pieces are made: both ends know the transfer, which is random, and nobody else
/// does.
codec::KeyedDigest::Key digest_key(const Token& transfer);

struct Open {
    std::string source;  ///< as it is offered; empty: the only one
    Token transfer{};    ///< random: one run of one copy
    Token resume{};      ///< what Opened gave to this transfer before; zeros: a new one
};

/// That of a machine that is duplicated while it runs, with its memory.
struct OfferedMemory {
    std::string machine;  ///< what has to be alike there (machine/likeness.h)
    std::uint64_t span_pages = 0, ram_pages = 0;
    std::array<std::byte, 32> key{};  ///< of the tags of pages
    bool is_question = false;         ///< only whether it could come; it is answered with a Result
    bool operator==(const OfferedMemory&) const = default;
};

struct Opened {
    block::Geometry geometry;
    std::string name;  ///< for people
    Token state{};   ///< digest of what shows in a later run that the source is the same; zeros: nothing can
    Token resume{};  ///< opens it again, for this transfer, as long as the source is unchanged; never zeros
    bool is_busy = false;              ///< it is in use, and read all the same
    bool could_change_unseen = false;  ///< nothing would show that it is written meanwhile
    bool is_hot = false;               ///< in use, and what is written meanwhile is told in rounds (kRound)
    std::optional<OfferedMemory> memory = {};  ///< goes with the disk; only of one that is hot
    /// It is several disks in a row, in their order; empty: one.
    std::vector<block::RowPlace> row = {};
};

/// Groups of page differences (codec/page_difference.h), one after the other. Asked again, the last one is
/// given again.
struct MemoryRequest {
    std::uint32_t number = 0;  ///< from 0
};

struct GroupHead {
    enum class Kind : std::uint8_t {
        kGroup = 1,   ///< its pieces follow
        kNotYet = 2,  ///< the same is to be asked for again, a little later
        kEnd = 3      ///< that was all
    };
    Kind kind = Kind::kNotYet;
    std::uint32_t bytes = 0;  ///< at most kMostAsked
};
inline constexpr std::size_t kGroupHeadBytes = 5;

/// What was written since the round before; the first: since it was opened. Asked again, it is the same
/// round.
struct RoundRequest {
    std::uint32_t number = 0;  ///< from 1
    ByteOffset from = 0;       ///< of its extents, those from here on
};

struct Changed {
    std::vector<block::Extent> extents;
    ByteOffset next = 0;   ///< where the question goes on; 0: that was all
    bool is_last = false;  ///< no round follows, and what these extents held at one moment can be read now
    /// What the source's end has to tell of how it came to that, for people: JSON, at most kMostReport bytes.
    /// Of the last round only.
    std::string report = {};
};

struct Prefill {
    ByteOffset offset = 0;
    std::span<const std::byte> pieces;  ///< of at most kMostAsked bytes
};

/// What the source's end found in a part of the disk (layout/signature.h).
struct Known {
    block::Extent part;
    std::string signature;
};

struct ReadRequest {
    block::Reader::From from = block::Reader::From::kAnywhere;
    std::vector<block::Extent> extents;
};

struct Mapped {
    ByteOffset known_to = 0;  ///< the extents tell of everything before this
    std::vector<block::Extent> data;
};

struct ProgressNote {
    std::string phase;
    std::uint64_t done_bytes = 0, total_bytes = 0;
    std::uint32_t part = 0, parts = 0;
};

/// What the target's end tells at the end.
struct Result {
    std::string target;
    bool verified = false;
    std::uint64_t bytes_used = 0, bytes_read = 0, bytes_equal = 0, bytes_written = 0, bytes_verified = 0;
    std::vector<std::string> notes;
};

struct Failure {
    Code code = Code::kPeer;
    std::string text;  ///< one line
};

Bytes encode(const Hello& hello);
Bytes encode(const Open& open);
Bytes encode(const Opened& opened);
Bytes encode_prefill(ByteOffset offset, std::span<const std::byte> pieces);
Bytes encode(const Known& known);
Bytes encode(const ReadRequest& request);
Bytes encode_extents(std::span<const block::Extent> extents);
Bytes encode(const Mapped& mapped);
Bytes encode(const RoundRequest& request);
Bytes encode(const Changed& changed);
Bytes encode(const MemoryRequest& request);
Bytes encode(const GroupHead& head);
Bytes encode(const ProgressNote& note);
Bytes encode(const Result& result);
Bytes encode(const Failure& failure);

Hello decode_hello(std::span<const std::byte> payload);
Open decode_open(std::span<const std::byte> payload);
Opened decode_opened(std::span<const std::byte> payload);
Prefill decode_prefill(std::span<const std::byte> payload);
Known decode_known(std::span<const std::byte> payload);
ReadRequest decode_read(std::span<const std::byte> payload);
/// Ascending and disjoint, at most kMostExtents.
std::vector<block::Extent> decode_extents(std::span<const std::byte> payload);
Mapped decode_mapped(std::span<const std::byte> payload);
RoundRequest decode_round(std::span<const std::byte> payload);
Changed decode_changed(std::span<const std::byte> payload);
MemoryRequest decode_memory(std::span<const std::byte> payload);
/// Of the first kGroupHeadBytes.
GroupHead decode_group_head(std::span<const std::byte> head);
ProgressNote decode_progress(std::span<const std::byte> payload);
Result decode_result(std::span<const std::byte> payload);
/// A code that only this end may give to a message (kInternal, kUsage) becomes kPeer.
Failure decode_failure(std::span<const std::byte> payload);

/// Text of a peer as it may be shown: one line of at most `limit` bytes, cut between characters, without
/// control characters and marks that a terminal would obey.
std::string tame(std::string_view text, std::size_t limit = 1024);

/// The number of stretches between multiples of kPieceBytes that the extents touch.
std::size_t count_pieces(std::span<const block::Extent> extents);

[[noreturn]] void throw_not_honest(std::string_view what);

}  // namespace dupengine::wire
