#pragma once
// One authority and machines that join it, over connections in memory.

#include <gmock/gmock.h>

#include <future>

#include "tests/support/memory_transport.h"
#include "tests/support/scratch.h"
#include "wire/enrolment.h"

namespace dupengine::wire {

using namespace std::chrono_literals;
using test::memory_transports;

// A transport that keeps what went out of it.
class Tapped final : public Transport {
  public:
    Tapped(std::unique_ptr<Transport> other, Bytes& sent) : other_(std::move(other)), sent_(sent) {}
    void send(std::span<const std::byte> bytes, Deadline deadline) override {
        sent_.insert(sent_.end(), bytes.begin(), bytes.end());
        other_->send(bytes, deadline);
    }
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        return other_->receive(buffer, deadline);
    }
    void close() noexcept override { other_->close(); }
    const std::string& name() const override { return other_->name(); }

  private:
    std::unique_ptr<Transport> other_;
    Bytes& sent_;
};

class EnrolmentTest : public ::testing::Test {
  protected:
    EnrolmentTest() {
        Authority::make(folder("golden"), "golden", random_, clock_);
        authority_.emplace(folder("golden"), random_, clock_);
    }

    std::string folder(const std::string& name) const { return scratch_.file(name); }
    Secret token() const { return parse_token(token_text_); }

    Invitation invite(InviteOptions options = {}) {
        SeededRandom random(++seed_);
        const Secret drawn = draw_token(random);
        token_text_ = token_text(drawn);
        options.patience = 5s;
        return {*authority_, drawn, options, [this](const std::string& line) { log_.push_back(line); }};
    }

    // What became of one machine's try. The other side is `joined_`.
    std::string try_to_join(Invitation& invitation, const Secret& with, const JoinOptions& options,
                            test::TransportPair ends = memory_transports()) {
        auto served =
            std::async(std::launch::async, [&] { return invitation.serve(std::move(ends.second)); });
        std::string message;
        try {
            static_cast<void>(join(std::move(ends.first), with, options));
        } catch (const Error& e) {
            message = e.what();
            code_ = e.code();
        }
        joined_ = served.get();
        return message;
    }

    JoinOptions machine(const std::string& name) const {
        return {.folder = folder(name), .name = name, .host = "localhost", .patience = 5s};
    }

    std::vector<std::string> valid_names() const {
        std::vector<std::string> names;
        for (const Issued& one : authority_->issued())
            if (!one.revoked) names.push_back(one.name);
        return names;
    }

    test::ScratchFolder scratch_;
    SystemRandom random_;
    std::int64_t now_ = Authority::system_time();
    Authority::Clock clock_ = [this] { return now_; };
    std::optional<Authority> authority_;
    std::uint64_t seed_ = 0;
    std::string token_text_;
    std::vector<std::string> log_;
    std::optional<Joined> joined_;
    Code code_ = Code::kInternal;
};

}  // namespace dupengine::wire
