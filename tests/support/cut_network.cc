#include "tests/support/cut_network.h"

#include <fmt/format.h>

#include "base/error.h"

namespace dupengine::test {

std::string Cut::text() const {
    constexpr const char* kNames[] = {"before", "inside", "after", "instead of"};
    return fmt::format("{} send {} of the {} end ({})", kNames[static_cast<int>(where)], send,
                       of_caller ? "calling" : "waiting", part);
}

// One end of a connection, and when it breaks.
class CutNetwork::End final : public wire::Transport {
  public:
    End(CutNetwork& network, bool is_caller, std::unique_ptr<wire::Transport> inner, std::optional<Cut> cut)
        : network_(network), is_caller_(is_caller), inner_(std::move(inner)), cut_(cut) {}

    void send(std::span<const std::byte> bytes, wire::Deadline deadline) override {
        ++sends_;
        {
            const std::lock_guard lock(network_.mutex_);
            std::size_t& most = network_.most_sends_[is_caller_ ? 0 : 1];
            most = std::max(most, sends_);
        }
        if (!is_the_one(bytes)) return inner_->send(bytes, deadline);
        const std::size_t arrives = cut_->where == Cut::Where::kInside  ? bytes.size() * cut_->part / 1000
                                    : cut_->where == Cut::Where::kAfter ? bytes.size()
                                                                        : 0;
        if (arrives != 0) inner_->send(bytes.first(arrives), deadline);
        {
            const std::lock_guard lock(network_.mutex_);
            ++network_.cuts_done_;
        }
        inner_->close();
        if (cut_->where != Cut::Where::kLost) throw_error(Code::kPeer, "{}: cut by the test", name());
    }
    std::size_t receive(std::span<std::byte> buffer, wire::Deadline deadline) override {
        return inner_->receive(buffer, deadline);
    }
    void close() noexcept override { inner_->close(); }
    const std::string& name() const override { return inner_->name(); }

  private:
    bool is_the_one(std::span<const std::byte> bytes) {
        if (!cut_ || cut_->of_caller != is_caller_) return false;
        if (cut_->only && wire::decode_header(bytes.first(wire::kHeaderBytes)).type != *cut_->only)
            return false;
        if (cut_->counts && !cut_->counts()) return false;
        return counted_++ == cut_->send;
    }

    CutNetwork& network_;
    const bool is_caller_;
    const std::unique_ptr<wire::Transport> inner_;
    const std::optional<Cut> cut_;
    std::size_t sends_ = 0, counted_ = 0;  // who sends takes turns
};

std::unique_ptr<wire::Transport> CutNetwork::call() {
    auto [first, second] = memory_transports();
    const std::lock_guard lock(mutex_);
    if (is_over_) throw_error(Code::kPeer, "nobody waits there");
    std::optional<Cut> cut;
    if (connections_ < cuts_.size()) cut = cuts_[connections_];
    ++connections_;
    waiting_.push_back(std::make_unique<End>(*this, false, std::move(second), cut));
    called_.notify_all();
    return std::make_unique<End>(*this, true, std::move(first), cut);
}

std::unique_ptr<wire::Transport> CutNetwork::accept(wire::Deadline deadline) {
    std::unique_lock lock(mutex_);
    called_.wait_until(lock, deadline, [&] { return is_over_ || !waiting_.empty(); });
    if (is_over_ || waiting_.empty()) return nullptr;
    auto end = std::move(waiting_.front());
    waiting_.pop_front();
    return end;
}

void CutNetwork::hang_up() {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    waiting_.clear();
    called_.notify_all();
}

std::size_t CutNetwork::cuts_done() const {
    const std::lock_guard lock(mutex_);
    return cuts_done_;
}

std::size_t CutNetwork::most_sends(bool of_caller) const {
    const std::lock_guard lock(mutex_);
    return most_sends_[of_caller ? 0 : 1];
}

}  // namespace dupengine::test
