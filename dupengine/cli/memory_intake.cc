#include "cli/memory_intake.h"

namespace dupengine::cli {
namespace {

machine::MemoryShape shape_of(const wire::OfferedMemory& memory) {
    return {memory.span_pages, memory.ram_pages, memory.key};
}

}  // namespace

MemoryIntake::MemoryIntake(const wire::RemoteReader& reader)
    : reader_(reader), memory_(shape_of(*reader.memory())) {}

void MemoryIntake::start() {
    if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& over) { run(over); });
}

void MemoryIntake::run(const std::stop_token& over) {
    try {
        while (const auto group = reader_.next_group(over)) {
            memory_.apply(*group);
            if (Progress* shown = shown_) shown->advance(group->size());
        }
        memory_.check();
    } catch (...) {
        const std::lock_guard lock(mutex_);
        failure_ = std::current_exception();
    }
}

void MemoryIntake::check() const {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
}

void MemoryIntake::wait(const std::stop_token& stop) {
    const std::stop_callback stopped(stop, [this] { thread_.request_stop(); });
    if (!thread_.joinable()) throw_error(Code::kInternal, "memory was waited for and never asked for");
    thread_.join();
    check();
    is_here_ = true;
}

}  // namespace dupengine::cli
