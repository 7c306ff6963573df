#include "wire/remote_reader.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "block/transfers.h"
#include "wire/pieces.h"

namespace dupengine::wire {

using block::Extent;
using namespace std::chrono_literals;

namespace {

// More partitions and volumes than a disk has.
constexpr std::size_t kMostKnown = 1024;
// Of pieces; what is more is asked for when it is read.
constexpr std::size_t kMostWanted = 128;

}  // namespace

RemoteReader::RemoteReader(Link& link)
    : link_(link), name_(fmt::format("{} {}", link.name(), link.opened().name)), map_(link) {
    link_.prepare([this](const Message& told) {
        if (told.type == Type::kPrefill)
            prefill_.add(decode_prefill(told.payload));
        else if (known_.size() < kMostKnown)
            known_.push_back(decode_known(told.payload));
    });
}

std::optional<std::string> RemoteReader::known_signature(Extent part) const {
    const auto found = std::ranges::find(known_, part, &Known::part);
    if (found == known_.end()) return {};
    return found->signature;
}

void RemoteReader::check_inside(ByteOffset offset, std::size_t size) const {
    const std::uint64_t end = geometry().size_bytes;
    if (offset > end || size > end - offset)
        throw_error(Code::kInternal, "{}: read of {} bytes at {} passes the end", name_, size, offset);
}

// In parts that are all under way before the first is waited for.
void RemoteReader::ask(ByteOffset offset, std::span<std::byte> buffer, From from) const {
    constexpr std::size_t kMostParts = 8;
    while (!buffer.empty()) {
        std::vector<std::pair<Link::Asked, std::span<std::byte>>> parts;
        while (!buffer.empty() && parts.size() < kMostParts) {
            const auto part = buffer.first(std::min(buffer.size(), kMostAsked));
            const ReadRequest request{from, {{offset, offset + part.size()}}};
            parts.emplace_back(link_.ask(Type::kRead, encode(request)), part);
            buffer = buffer.subspan(part.size());
            offset += part.size();
        }
        for (const auto& [asked, part] : parts)
            decode_pieces(link_.wait(asked, Type::kData), part);
    }
}

bool RemoteReader::will_read(Extent extent) const {
    const std::lock_guard lock(wanted_mutex_);
    if (extent.size() > kPieceBytes || wanted_.size() >= kMostWanted) return false;
    const ReadRequest request{From::kAnywhere, {extent}};
    wanted_[extent.begin] = {extent, link_.ask(Type::kRead, encode(request))};
    return true;
}

// Null if it was not.
Link::Asked RemoteReader::asked_before(Extent extent) const {
    const std::lock_guard lock(wanted_mutex_);
    const auto found = wanted_.find(extent.begin);
    if (found == wanted_.end() || found->second.first != extent) return nullptr;
    const Link::Asked asked = found->second.second;
    wanted_.erase(found);
    return asked;
}

void RemoteReader::forget_what_was_asked() const {
    const std::lock_guard lock(wanted_mutex_);
    wanted_.clear();
}

void RemoteReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    check_inside(offset, buffer.size());
    if (prefill_.read(offset, buffer)) return;
    if (const Link::Asked asked = asked_before({offset, offset + buffer.size()}))
        decode_pieces(link_.wait(asked, Type::kData), buffer);
    else
        ask(offset, buffer, From::kAnywhere);
    refuse_contradictions(offset, buffer);
}

// What the other end told of a piece and what it sends of it have to be the same.
void RemoteReader::refuse_contradictions(ByteOffset offset, std::span<const std::byte> bytes) const {
    // A hot one may change in between: a round tells then.
    if (digests_ == nullptr || is_hot()) return;
    for (ByteOffset at = align_up(offset, kPieceBytes); at + kPieceBytes <= offset + bytes.size();
         at += kPieceBytes)
        if (digests_->contradicts(at, bytes.subspan(at - offset, kPieceBytes)))
            throw_error(Code::kIntegrity,
                        "{}: what was sent of byte {} is not what its digest is of: it changed meanwhile, or "
                        "the machine is damaged",
                        name_, at);
}

void RemoteReader::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    check_inside(offset, buffer.size());
    ask(offset, buffer, From::kMedium);
}

void RemoteReader::start_read(block::Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                              std::span<std::byte> buffer, From from) const {
    check_inside(offset, buffer.size());
    if (read_ahead_ != nullptr && from == From::kAnywhere) {
        read_ahead_->read(offset, buffer);
        refuse_contradictions(offset, buffer);
    } else if (from == From::kAnywhere) {
        read(offset, buffer);
    } else {
        read_from_medium(offset, buffer);
    }
    transfers.done(tag);
}

void RemoteReader::expect(const block::ExtentSet& data) const {
    // Planning is over; from here on all that is read is data.
    prefill_.clear();
    forget_what_was_asked();
    expected_ = data;
    read_ahead_ = std::make_unique<ReadAhead>(link_, expected_);
    digests_ = std::make_unique<DigestAhead>(link_, expected_);
}

bool RemoteReader::holds(ByteOffset offset, std::span<const std::byte> bytes) const {
    return digests_ != nullptr && digests_->holds(offset, bytes);
}

block::Changes RemoteReader::next_round() const {
    forget_what_was_asked();  // before that round
    const std::uint64_t size = geometry().size_bytes;
    block::Changes round;
    RoundRequest request{++rounds_, 0};
    for (std::size_t count = 0;;) {
        const Changed changed =
            decode_changed(link_.wait(link_.ask(Type::kRound, encode(request)), Type::kChanged));
        for (const Extent e : changed.extents) {
            if (e.begin < request.from || e.end > size || ++count > block::kMostChanges)
                throw_not_honest("changes that cannot be");
            round.extents.insert(e);
        }
        if (changed.next == 0) {
            round.is_last = changed.is_last;
            report_ = changed.report;
            return round;
        }
        request.from = changed.next;
    }
}

// The next one is asked for before this one is worked at.
std::optional<Bytes> RemoteReader::next_group(const std::stop_token& stop) const {
    const auto ask_for = [&](std::uint32_t number) {
        return link_.ask(Type::kMemory, encode(MemoryRequest{number}));
    };
    for (std::chrono::milliseconds pause = 5ms;; pause = std::min(2 * pause, 200ms)) {
        if (stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request");
        if (!next_group_) next_group_ = ask_for(groups_);
        const Bytes answer = link_.wait(std::exchange(next_group_, nullptr), Type::kGroup);
        if (answer.size() < kGroupHeadBytes) throw_not_honest("a group of memory without its head");
        const GroupHead head = decode_group_head(std::span(answer).first(kGroupHeadBytes));
        if (head.kind == GroupHead::Kind::kEnd) return std::nullopt;
        if (head.kind == GroupHead::Kind::kGroup) {
            next_group_ = ask_for(++groups_);
            Bytes group(head.bytes);
            decode_pieces(std::span(answer).subspan(kGroupHeadBytes), group);
            return group;
        }
        std::this_thread::sleep_for(pause);
    }
}

std::string RemoteReader::change() const {
    const Bytes text = link_.wait(link_.ask(Type::kCheck, {}), Type::kChecked);
    return tame(as_text(text));
}

}  // namespace dupengine::wire
