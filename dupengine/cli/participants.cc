#include "cli/participants.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "base/error.h"
#include "machine/quiesce_participants.h"

namespace dupengine::cli {
namespace {

std::string host_name() {
    char name[256] = "";
    if (::gethostname(name, sizeof name - 1) != 0) throw_errno(Code::kInternal, errno, "no host name");
    return name;
}

std::atomic<bool>* shared_flag() {
    void* shared =
        ::mmap(nullptr, sizeof(std::atomic<bool>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory for a request to stop");
    return new (shared) std::atomic<bool>(false);
}

}  // namespace

CalledOff::CalledOff(const std::stop_token& stop) : flag_(shared_flag()), on_stop_(stop, Set{flag_.get()}) {}

void CalledOff::Unmap::operator()(std::atomic<bool>* flag) const {
    ::munmap(flag, sizeof *flag);
}

Participants::Participants(std::string target, const std::stop_token& stop)
    : target_(std::move(target)), called_off_(stop) {
    auto found = machine::find_participants();
    machine::require_callable(found);
    count_ = found.participants.size();
    machine::QuiesceOptions options;
    options.on_call = [this](const machine::CallReport& call) {
        if (call.answer.outcome != machine::Outcome::kDone)
            notes_.push_back(fmt::format("{}: {} went wrong: {}", call.name, machine::phase_name(call.phase),
                                         call.answer.text));
    };
    options.is_called_off = [this] { return called_off_.is(); };
    quiesce_ = std::make_unique<machine::Quiesce>(std::move(found.participants), std::move(options));
}

void Participants::prepare() {
    quiesce_->prepare({host_name(), target_});
}

void Participants::resume(bool is_done) noexcept {
    try {
        is_done ? quiesce_->resume_source() : quiesce_->abort();
    } catch (const std::exception& e) {
        notes_.push_back(fmt::format("not all participants were told to go on: {}", e.what()));
    }
}

void Participants::abort_all() noexcept {
    try {
        quiesce_->abort_all();
    } catch (const std::exception& e) {
        notes_.push_back(fmt::format("not all participants were told to go on: {}", e.what()));
    }
}

void Participants::resume_as(const std::string& node) noexcept {
    try {
        quiesce_->resume_target(node);
    } catch (const std::exception& e) {
        notes_.push_back(fmt::format("not all participants were told to go on: {}", e.what()));
    }
}

}  // namespace dupengine::cli
