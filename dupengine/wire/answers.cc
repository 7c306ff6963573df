#include "wire/answers.h"

#include <algorithm>
#include <utility>

namespace dupengine::wire {
namespace {

using block::Extent;
using From = block::Reader::From;

// What is told to the other end before it asks; what a larger disk needs besides is asked for.
constexpr std::uint64_t kMostPrefill = 64 * kMiB;
// Holes that are shorter travel as zeros, which cost next to nothing.
constexpr std::uint64_t kSmallestHole = 64 * kKiB;
// Looks at a disk for one map: a file may be full of holes that are too small to be told of. Who asks goes on
// from where the answer ends.
constexpr unsigned kMostLooks = 4 * kMostExtents;

}  // namespace

Answers::Answers(const OfferedDisk& disk, const Token& transfer, Connection& connection,
                 CompressionGauge& gauge)
    : disk_(disk), connection_(connection), gauge_(gauge), encoder_(gauge), digest_(digest_key(transfer)) {
    message_.reserve(kHeaderBytes + kMostPayload);
}

void Answers::give(const Message& question) {
    switch (question.type) {
        case Type::kPrepare:
            return prepare(question.id);
        case Type::kRead:
            return read(question.id, decode_read(question.payload));
        case Type::kDigest:
            return digest(question.id, decode_extents(question.payload));
        case Type::kMap:
            return map(question.id, decode_extents(question.payload));
        case Type::kRound:
            return round(question.id, decode_round(question.payload));
        case Type::kMemory:
            return memory(question.id, decode_memory(question.payload));
        default:
            begin_message();
            const std::string change = disk_.change ? disk_.change() : "";
            const auto text = as_bytes(change);
            message_.insert(message_.end(), text.begin(), text.end());
            send_message(Type::kChecked, question.id);
    }
}

void Answers::give_failure(std::uint64_t id, const Failure& failure) {
    send(wire::encode(Message{Type::kFailed, id, wire::encode(failure)}));
}

void Answers::send(std::span<const std::byte> message) {
    is_sending_ = true;
    connection_.send_encoded(message);
    is_sending_ = false;
}

void Answers::send_message(Type type, std::uint64_t id) {
    encode_header({type, id, static_cast<std::uint32_t>(message_.size() - kHeaderBytes)}, message_);
    send_timed(message_);
}

void Answers::send_timed(std::span<const std::byte> message) {
    const auto start = std::chrono::steady_clock::now();
    send(message);
    gauge_.learn_sent(message.size(), std::chrono::steady_clock::now() - start);
}

void Answers::check_inside(std::span<const Extent> extents) const {
    if (extents.empty() || extents.back().end > disk_.reader.geometry().size_bytes)
        throw_not_honest("a question about what lies behind the end of the disk");
}

void Answers::start_read(Extent extent, From from, std::span<std::byte> to) {
    try {
        disk_.reader.start_read(transfers_, 0, extent.begin, to, from);
        ++under_way_;
    } catch (const Error&) {
        if (!read_error_) read_error_ = std::current_exception();
    }
}

// Throws when nothing is under way any more.
void Answers::wait_for_reads() {
    for (; under_way_ != 0; --under_way_) {
        const block::Transfers::Done done = transfers_.wait();
        if (done.error && !read_error_) read_error_ = done.error;
    }
    if (read_error_) std::rethrow_exception(std::exchange(read_error_, nullptr));
}

void Answers::prepare(std::uint64_t id) {
    const bool shows_changes = disk_.change && !disk_.could_change_unseen;
    const auto preparation = disk_.preparation->get(
        disk_.reader, shows_changes ? Lasting::kForGood : Lasting::kForSeconds, disk_.row);
    for (const Known& known : preparation->known)
        send(wire::encode(Message{Type::kKnown, id, wire::encode(known)}));
    std::uint64_t told = 0;
    for (Extent range : preparation->ranges) {
        for (ByteOffset at = range.begin; at < range.end && told < kMostPrefill; at += kPieceBytes) {
            const Extent part{at, std::min(at + kPieceBytes, range.end)};
            const auto bytes = raw().first(part.size());
            disk_.reader.read(part.begin, bytes);
            begin_message();
            const Bytes head = encode_prefill(part.begin, {});
            message_.insert(message_.end(), head.begin(), head.end());
            encoder_.encode(bytes, message_);
            send_message(Type::kPrefill, id);
            told += part.size();
        }
    }
    begin_message();
    send_message(Type::kPrefill, id);
}

void Answers::read(std::uint64_t id, const ReadRequest& request) {
    check_inside(request.extents);
    std::size_t filled = 0;
    for (Extent e : request.extents) {
        start_read(e, request.from, raw().subspan(filled, e.size()));
        filled += e.size();
    }
    wait_for_reads();
    const auto bytes = raw().first(filled);
    if (encoder_.goes_raw(bytes)) {
        constexpr std::size_t kHeads = kHeaderBytes + kRawHeadBytes;
        const auto message = transfers_.memory().subspan(kFront - kHeads, kHeads + filled);
        encode_header({Type::kData, id, static_cast<std::uint32_t>(kRawHeadBytes + filled)}, message);
        encode_raw_head(filled, message.subspan(kHeaderBytes));
        return send_timed(message);
    }
    begin_message();
    encoder_.encode(bytes, message_);
    send_message(Type::kData, id);
}

void Answers::digest(std::uint64_t id, std::span<const Extent> extents) {
    check_inside(extents);
    if (count_pieces(extents) > kMostDigests) throw_not_honest("a question for too many digests");
    begin_message();
    // Neighbouring pieces are read together, as much as there is memory for.
    std::size_t next = 0;
    ByteOffset at = extents.front().begin;
    while (next < extents.size()) {
        at = std::max(at, extents[next].begin);
        const ByteOffset base = align_down(at, kPieceBytes);
        const Extent room{base, base + kMostAsked};
        ByteOffset filled = base;
        const auto zero_up_to = [&](ByteOffset end) {
            std::ranges::fill(raw().subspan(filled - base, end - filled), std::byte{0});
        };
        std::array<bool, kMostAsked / kPieceBytes> is_touched{};
        while (next < extents.size() && extents[next].begin < room.end) {
            const Extent part = Extent{at, extents[next].end}.clipped_to(room);
            zero_up_to(part.begin);
            start_read(part, From::kAnywhere, raw().subspan(part.begin - base, part.size()));
            filled = part.end;
            for (std::size_t piece = (part.begin - base) / kPieceBytes;
                 piece <= (part.end - 1 - base) / kPieceBytes; ++piece)
                is_touched[piece] = true;
            at = part.end;
            if (at < extents[next].end) break;
            if (++next < extents.size()) at = extents[next].begin;
        }
        zero_up_to(room.end);
        wait_for_reads();
        for (std::size_t piece = 0; piece < is_touched.size(); ++piece) {
            if (!is_touched[piece]) continue;
            const auto tag = digest_.of(raw().subspan(piece * kPieceBytes, kPieceBytes));
            message_.insert(message_.end(), tag.begin(), tag.end());
        }
    }
    send_message(Type::kDigests, id);
}

void Answers::map(std::uint64_t id, std::span<const Extent> extents) {
    check_inside(extents);
    if (extents.size() != 1) throw_not_honest("a question for several maps");
    Mapped mapped{extents.front().begin, {}};
    for (unsigned looks = 0; mapped.known_to < extents.front().end && looks < kMostLooks; ++looks) {
        const Extent data = disk_.reader.next_data({mapped.known_to, extents.front().end});
        if (data.empty()) {
            mapped.known_to = extents.front().end;
        } else if (!mapped.data.empty() && data.begin - mapped.data.back().end < kSmallestHole) {
            mapped.known_to = mapped.data.back().end = data.end;
        } else if (mapped.data.size() < kMostExtents) {
            mapped.data.push_back(data);
            mapped.known_to = data.end;
        } else {
            mapped.known_to = data.begin;
            break;
        }
    }
    begin_message();
    const Bytes payload = encode(mapped);
    message_.insert(message_.end(), payload.begin(), payload.end());
    send_message(Type::kMapped, id);
}

void Answers::round(std::uint64_t id, const RoundRequest& request) {
    if (!disk_.round) throw_not_honest("a question for what a disk at rest would tell of its changes");
    const auto round = disk_.round(request.number);
    const ByteOffset end = disk_.reader.geometry().size_bytes;
    Changed changed{{}, 0, round->is_last};
    for (const Extent e : round->extents.clipped_to({std::min(request.from, end), end})) {
        if (changed.extents.size() == kMostExtents) {
            changed.next = e.begin;
            break;
        }
        changed.extents.push_back(e);
    }
    if (round->is_last && changed.next == 0 && disk_.report) changed.report = disk_.report();
    if (changed.report.size() > kMostReport) changed.report.clear();
    begin_message();
    const Bytes payload = encode(changed);
    message_.insert(message_.end(), payload.begin(), payload.end());
    send_message(Type::kChanged, id);
    if (round->is_last) *disk_.is_given = true;
}

void Answers::memory(std::uint64_t id, const MemoryRequest& request) {
    if (!disk_.group) throw_not_honest("a question for memory that was not offered");
    const OfferedDisk::Group group = disk_.group(request.number);
    begin_message();
    const Bytes head = encode(GroupHead{group.kind, static_cast<std::uint32_t>(group.bytes.size())});
    message_.insert(message_.end(), head.begin(), head.end());
    encoder_.encode(group.bytes, message_);
    send_message(Type::kGroup, id);
}

}  // namespace dupengine::wire
