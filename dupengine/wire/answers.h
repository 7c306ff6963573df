#pragma once
// The answers to questions about one disk. One object a thread; its memory is a few MiB.

#include "block/transfers.h"
#include "wire/offer.h"
#include "wire/pieces.h"

namespace dupengine::wire {

class Answers {
  public:
    Answers(const OfferedDisk& disk, const Token& transfer, Connection& connection, CompressionGauge& gauge);
    /// Sends the answer. Throws kPeer for a question that nobody asks, or if it cannot be sent; what reading
    /// the disk throws.
    void give(const Message& question);
    /// Instead of an answer. Throws kPeer.
    void give_failure(std::uint64_t id, const Failure& failure);
    /// What was thrown last is that an answer could not be sent.
    bool failed_to_send() const { return is_sending_; }

  private:
    void send(std::span<const std::byte> message);
    void prepare(std::uint64_t id);
    void read(std::uint64_t id, const ReadRequest& request);
    void digest(std::uint64_t id, std::span<const block::Extent> extents);
    void map(std::uint64_t id, std::span<const block::Extent> extents);
    void round(std::uint64_t id, const RoundRequest& request);
    void memory(std::uint64_t id, const MemoryRequest& request);
    void check_inside(std::span<const block::Extent> extents) const;
    void start_read(block::Extent extent, block::Reader::From from, std::span<std::byte> to);
    void wait_for_reads();
    void begin_message() { message_.resize(kHeaderBytes); }
    void send_message(Type type, std::uint64_t id);
    void send_timed(std::span<const std::byte> message);
    std::span<std::byte> raw() { return transfers_.memory().subspan(kFront); }

    // Before what is read there is room for what a message has in front of it; what is read stays aligned.
    static constexpr std::size_t kFront = block::Reader::kAlignment;
    static constexpr unsigned kMostTransfers = 64;

    const OfferedDisk& disk_;
    Connection& connection_;
    CompressionGauge& gauge_;
    PieceEncoder encoder_;
    codec::KeyedDigest digest_;
    block::Transfers transfers_{kFront + kMostAsked, kMostTransfers};
    unsigned under_way_ = 0;
    std::exception_ptr read_error_;  // the first of those under way
    bool is_sending_ = false;
    Bytes message_;  // being made, with room for its header
};

}  // namespace dupengine::wire
