#include "wire/guests.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#include "base/error.h"

namespace dupengine::wire {
namespace {

// Threads of connections that were closed and have not noticed yet.
constexpr std::size_t kMostLeaving = 64;

// "192.0.2.7:4711" and "[2001:db8::1]:4711" without the port.
std::string without_port(const std::string& name) {
    return name.substr(0, name.rfind(':'));
}

}  // namespace

// A connection that its thread uses and that others may close.
struct Guests::Line {
    std::unique_ptr<Transport> transport;
    std::atomic<bool> has_spoken{false};
};

class Guests::LineTransport final : public Transport {
  public:
    explicit LineTransport(std::shared_ptr<Line> line) : line_(std::move(line)) {}
    void send(std::span<const std::byte> bytes, Deadline deadline) override {
        line_->transport->send(bytes, deadline);
    }
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        const std::size_t bytes = line_->transport->receive(buffer, deadline);
        if (bytes != 0) line_->has_spoken = true;
        return bytes;
    }
    void close() noexcept override { line_->transport->close(); }
    const std::string& name() const override { return line_->transport->name(); }

  private:
    std::shared_ptr<Line> line_;
};

class Guests::Visit final : public Guest {
  public:
    Visit(Guests& guests, std::unique_ptr<Transport> transport)
        : all(guests), address(without_port(transport->name())), line(std::make_shared<Line>()) {
        line->transport = std::move(transport);
    }

    void prove(const std::string& name) override {
        const std::lock_guard lock(all.mutex_);
        const auto is_known = [](const Visit& one) { return !one.is_over && !one.who.empty(); };
        const auto is_same = [&](const Visit& one) { return is_known(one) && one.who == name; };
        if (all.count(is_known) >= all.limits_.known || all.count(is_same) >= all.limits_.known_of_one)
            throw_error(Code::kPeer, "{}: too many connections at a time", line->transport->name());
        who = name;
    }

    // The connection may live on: whoever was given it may have handed it to another thread.
    void run(const Serve& serve) {
        try {
            serve(std::make_unique<LineTransport>(line), *this);
        } catch (const std::exception&) {
            // Told by `serve` as far as it could; the others go on.
        }
        {
            const std::lock_guard lock(all.mutex_);
            is_over = true;
            line = nullptr;
        }
        all.changed_.notify_all();
    }

    bool is_stranger() const { return !is_over && !is_leaving && who.empty(); }
    void close() {
        is_leaving = true;
        if (line) line->transport->close();
    }

    Guests& all;
    const std::string address;
    std::shared_ptr<Line> line;
    std::string who;  // empty: a stranger
    bool is_leaving = false, is_over = false;
    std::jthread thread;  // last: it uses the rest
};

Guests::Guests(const GuestLimits& limits) : limits_(limits) {}

Guests::~Guests() {
    end(std::chrono::milliseconds(0));
}

std::size_t Guests::count(const std::function<bool(const Visit&)>& which) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(visits_, [&](const auto& visit) { return which(*visit); }));
}

Guests::Visits Guests::take_ended() {
    Visits ended;
    for (auto at = visits_.begin(); at != visits_.end();) {
        const auto one = at++;
        if ((*one)->is_over) ended.splice(ended.end(), visits_, one);
    }
    return ended;
}

void Guests::push_out_one(const std::function<bool(const Visit&)>& among) {
    Visit* oldest = nullptr;
    for (const auto& visit : visits_) {
        if (!among(*visit)) continue;
        if (!visit->line->has_spoken) return visit->close();
        if (oldest == nullptr) oldest = visit.get();
    }
    if (oldest != nullptr) oldest->close();
}

void Guests::make_room(const std::string& address) {
    const auto is_stranger = [](const Visit& visit) { return visit.is_stranger(); };
    const auto is_neighbour = [&](const Visit& visit) {
        return visit.is_stranger() && visit.address == address;
    };
    if (count(is_neighbour) >= limits_.strangers_of_an_address) push_out_one(is_neighbour);
    if (count(is_stranger) >= limits_.strangers) push_out_one(is_stranger);
}

void Guests::add(std::unique_ptr<Transport> transport, Serve serve) {
    auto visit = std::make_unique<Visit>(*this, std::move(transport));
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
        return count([](const Visit& one) { return one.is_leaving && !one.is_over; }) < kMostLeaving;
    });
    Visits ended = take_ended();
    make_room(visit->address);
    Visit& added = *visits_.emplace_back(std::move(visit));
    try {
        added.thread = std::jthread([&added, todo = std::move(serve)] { added.run(todo); });
    } catch (const std::system_error& e) {
        visits_.pop_back();
        throw_errno(Code::kPeer, e.code().value(), "no thread for another connection");
    }
    lock.unlock();
    ended.clear();  // joins
}

void Guests::end(std::chrono::milliseconds farewell) {
    Visits all;
    {
        std::unique_lock lock(mutex_);
        for (const auto& visit : visits_)
            if (visit->is_stranger()) visit->close();
        changed_.wait_for(lock, farewell,
                          [&] { return count([](const Visit& visit) { return !visit.is_over; }) == 0; });
        for (const auto& visit : visits_)
            visit->close();
        all.swap(visits_);
    }
    all.clear();  // joins
}

}  // namespace dupengine::wire
