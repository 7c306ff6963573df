#pragma once
// Shows on standard error how far a long piece of work is: a bar in place on a terminal, one JSON object a
// line for a program, one plain line per phase otherwise. A thread of its own polls Progress; workers never
// wait for it. It never throws and never prints on standard output. The formatting is pure and stands apart
// from the thread.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/progress.h"
#include "cli/command.h"
#include "cli/drawing.h"

namespace dupengine::cli {

/// Bytes per second over the last few seconds of the phase that is shown to it.
class RateWindow {
  public:
    void add(const Progress::State& state);
    /// Since the phase began where it is too young for a window; 0 before anything is known.
    double bytes_per_second() const;

  private:
    std::deque<Progress::State> states_;  // bounded by time and number
};

/// Empty where the total or the rate is not known.
std::optional<double> seconds_left(const Progress::State& state, double bytes_per_second);

/// "copy    ████░░░░  42 %  1.2 GiB of 2.9 GiB  410 MiB/s  4 min 12 s left": at most `style.columns` - 1
/// wide; what does not fit is left out, the bar first. No line end.
std::string progress_bar(const Progress::State& state, double bytes_per_second, const DrawingStyle& style);
/// One line for a phase that is over: "copy: 2.9 GiB in 7.2 s (410 MiB/s)", or how far it came if it did not
/// reach its end. No line end.
std::string progress_summary(const Progress::State& state);
/// One JSON object on one line: phase, done_bytes, total_bytes (null: unknown), rate_bytes_per_second,
/// seconds_left (null: unknown), ended; disk and disks where the work has parts. No line end.
std::string progress_json(const Progress::State& state, double bytes_per_second, bool ended);

class ProgressView {
  public:
    using Interval = std::chrono::milliseconds;
    /// Starts to show; `progress` outlives it. kAuto is a bar on a terminal, else one line per phase.
    /// `interval` is that of the bar; JSON comes at most twice a second, and at the end of each phase.
    ProgressView(const Progress& progress, ProgressStyle style, int fd = 2,
                 Interval interval = Interval(100));
    /// Shows the end of the last phase, and ends the thread.
    ~ProgressView();
    ProgressView(const ProgressView&) = delete;
    ProgressView& operator=(const ProgressView&) = delete;

  private:
    enum class Form { kBar, kJson, kLines };
    void run() noexcept;
    void show_ended();
    void show_current(const Progress::State& state);
    void show_end_of(const Progress::State& state);
    void write(const std::string& text) const;
    std::string padded(const std::string& line);

    const Progress& progress_;
    const int fd_;
    Form form_ = Form::kLines;
    DrawingStyle drawing_;
    Interval interval_;
    RateWindow rate_;
    std::size_t ended_ = 0;        // how many phases' ends were shown
    std::size_t bar_columns_ = 0;  // what stands on the terminal's line now
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace dupengine::cli
