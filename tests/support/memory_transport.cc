#include "tests/support/memory_transport.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/bytes.h"

namespace dupengine::test {
namespace {

// What both ends share. A broken connection still gives up what had arrived before; a closed one does not.
struct Wire {
    std::mutex mutex;
    std::condition_variable changed;
    Bytes under_way[2];  // by the end that sent it
    std::uint64_t sent[2] = {0, 0};
    bool is_closed[2] = {false, false};
    bool is_broken = false;
};

class MemoryEnd final : public wire::Transport {
  public:
    MemoryEnd(std::shared_ptr<Wire> shared, int side, MemoryTransportOptions options)
        : wire_(std::move(shared)),
          side_(side),
          options_(options),
          cut_(side == 0 ? options.first_cut : options.second_cut),
          name_(side == 0 ? "memory:second" : "memory:first") {}
    ~MemoryEnd() override { close(); }

    void send(std::span<const std::byte> bytes, wire::Deadline deadline) override {
        std::unique_lock lock(wire_->mutex);
        auto& queue = wire_->under_way[side_];
        while (!bytes.empty()) {
            const auto can_go_on = [&] { return is_over() || queue.size() < options_.capacity; };
            if (!wire_->changed.wait_until(lock, deadline, can_go_on))
                throw_error(Code::kPeer, "{}: takes no more", name_);
            if (is_over()) throw_error(Code::kPeer, "{}: the connection is broken", name_);
            const std::size_t room =
                std::min<std::uint64_t>(options_.capacity - queue.size(), cut_ - wire_->sent[side_]);
            const std::size_t count = std::min(bytes.size(), room);
            queue.insert(queue.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
            wire_->sent[side_] += count;
            if (wire_->sent[side_] == cut_) wire_->is_broken = true;
            bytes = bytes.subspan(count);
            wire_->changed.notify_all();
        }
    }

    std::size_t receive(std::span<std::byte> buffer, wire::Deadline deadline) override {
        std::unique_lock lock(wire_->mutex);
        auto& queue = wire_->under_way[1 - side_];
        if (!wire_->changed.wait_until(lock, deadline, [&] { return is_over() || !queue.empty(); }))
            throw_error(Code::kPeer, "{}: silent for too long", name_);
        if (wire_->is_closed[side_]) throw_error(Code::kPeer, "{}: closed here", name_);
        const std::size_t count = std::min({queue.size(), buffer.size(), options_.piece});
        if (count == 0 && wire_->is_broken) throw_error(Code::kPeer, "{}: the connection is broken", name_);
        const auto end = queue.begin() + static_cast<std::ptrdiff_t>(count);
        std::copy(queue.begin(), end, buffer.begin());
        queue.erase(queue.begin(), end);
        wire_->changed.notify_all();
        return count;
    }

    void close() noexcept override {
        const std::lock_guard lock(wire_->mutex);
        wire_->is_closed[side_] = true;
        wire_->changed.notify_all();
    }

    const std::string& name() const override { return name_; }

    std::uint64_t sent() const {
        const std::lock_guard lock(wire_->mutex);
        return wire_->sent[side_];
    }

  private:
    bool is_over() const { return wire_->is_broken || wire_->is_closed[0] || wire_->is_closed[1]; }

    const std::shared_ptr<Wire> wire_;
    const int side_;
    const MemoryTransportOptions options_;
    const std::uint64_t cut_;
    const std::string name_;
};

}  // namespace

TransportPair memory_transports(const MemoryTransportOptions& options) {
    const auto shared = std::make_shared<Wire>();
    shared->is_broken = options.first_cut == 0 || options.second_cut == 0;
    return {std::make_unique<MemoryEnd>(shared, 0, options), std::make_unique<MemoryEnd>(shared, 1, options)};
}

std::uint64_t bytes_sent(const wire::Transport& end) {
    return dynamic_cast<const MemoryEnd&>(end).sent();
}

}  // namespace dupengine::test
