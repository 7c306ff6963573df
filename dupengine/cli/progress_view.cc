#include "cli/progress_view.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cli/terminal.h"

namespace dupengine::cli {
namespace {

constexpr std::chrono::milliseconds kJsonInterval{500};

double average(const Progress::State& state) {
    return state.seconds > 0 ? static_cast<double>(state.done_bytes) / state.seconds : 0;
}

}  // namespace

ProgressView::ProgressView(const Progress& progress, ProgressStyle style, int fd, Interval interval)
    : progress_(progress), fd_(fd), interval_(interval) {
    const Terminal terminal = look_at_terminal(fd);
    drawing_ = terminal.style;
    if (style == ProgressStyle::kNone) return;
    if (style == ProgressStyle::kBar || (style == ProgressStyle::kAuto && terminal.is_terminal))
        form_ = Form::kBar;
    if (style == ProgressStyle::kJson) {
        form_ = Form::kJson;
        interval_ = std::max(interval, kJsonInterval);
    }
    thread_ = std::thread([this] { run(); });
}

ProgressView::~ProgressView() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void ProgressView::run() noexcept {
    try {
        for (bool last = false; !last;) {
            {
                std::unique_lock lock(mutex_);
                last = wake_.wait_for(lock, interval_, [&] { return stop_; });
            }
            const Progress::State state = progress_.look();
            show_ended();
            if (state.phase_number <= ended_) continue;  // none has begun, or it ended since it was looked at
            if (last) {
                show_end_of(state);
            } else {
                show_current(state);
            }
        }
    } catch (...) {
        // Memory ran out in the middle of a line. Work goes on: nobody is copied worse for not being watched.
    }
}

void ProgressView::show_ended() {
    for (const Progress::State& state : progress_.ended(ended_)) {
        show_end_of(state);
        ++ended_;
    }
}

void ProgressView::show_current(const Progress::State& state) {
    if (form_ == Form::kLines) return;
    rate_.add(state);
    if (form_ == Form::kJson) return write(progress_json(state, rate_.bytes_per_second(), false) + "\n");
    if (const unsigned columns = terminal_columns(fd_); columns != 0)
        drawing_.columns = columns;  // may be resized
    write(padded(progress_bar(state, rate_.bytes_per_second(), drawing_)));
}

void ProgressView::show_end_of(const Progress::State& state) {
    if (form_ == Form::kJson) return write(progress_json(state, average(state), true) + "\n");
    const std::string line = progress_summary(state);
    if (form_ == Form::kLines) return write(line + "\n");
    write(padded(line) + "\n");
    bar_columns_ = 0;
}

// In place of what stands on the line: spaces, not an escape sequence, so that any terminal obeys.
std::string ProgressView::padded(const std::string& line) {
    const std::size_t columns = columns_of(line), before = std::exchange(bar_columns_, columns);
    return "\r" + line + std::string(before - std::min(before, columns), ' ');
}

void ProgressView::write(const std::string& text) const {
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = ::write(fd_, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;  // nobody reads any more; the work does not stop for that
        done += static_cast<std::size_t>(n);
    }
}

}  // namespace dupengine::cli
