#pragma once
// The one exception type of the host code. A message is one line: what failed, on what, why, what to do.
// Each layer may put one line of context in front; only cli/ prints. `code` decides the exit status.

#include <fmt/format.h>

#include <exception>
#include <string>
#include <utility>

namespace dupengine {

/// What went wrong, numbered as the exit status of the command (dupengine(8), EXIT STATUS).
enum class Code {
    kInternal = 1,
    kUsage = 2,
    kRefused = 3,       ///< nothing was written
    kSourceIo = 4,      ///< the source cannot be read, or its structures are damaged
    kTargetIo = 5,      ///< the target cannot be written, flushed or read back
    kIntegrity = 6,     ///< bytes are not what they were promised to be
    kAuthenticity = 7,  ///< a signature or an identity does not hold
    kPeer = 8,
    kUnsupported = 9,   ///< this machine cannot do it
    kInterrupted = 10,  ///< stopped half-way; the same command continues or repeats it
};

/// "refused", "target-io", ...: the word used in JSON reports.
const char* code_name(Code code);

class Error : public std::exception {
  public:
    /// `system_errno` 0 means that no system call was involved; otherwise its text ends the message.
    Error(Code code, std::string message, int system_errno = 0);

    Code code() const { return code_; }
    int system_errno() const { return errno_; }
    const char* what() const noexcept override { return message_.c_str(); }

    /// Puts "CONTEXT: " in front of the message. For `catch (Error& e) { e.add_context(...); throw; }`.
    void add_context(const std::string& context);
    /// The same failure as seen by a layer that knows better whose fault it is (source or target).
    void set_code(Code code) { code_ = code; }

  private:
    Code code_;
    int errno_;
    std::string message_;
};

/// throw_error(Code::kRefused, "{}: mounted on {}", path, where)
template <typename... Args>
[[noreturn]] void throw_error(Code code, fmt::format_string<Args...> format, Args&&... args) {
    throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// As throw_error, and appends the text of the current errno. Call directly after the system call.
[[noreturn]] void throw_errno_text(Code code, int system_errno, std::string message);

template <typename... Args>
[[noreturn]] void throw_errno(Code code, int system_errno, fmt::format_string<Args...> format,
                              Args&&... args) {
    throw_errno_text(code, system_errno, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dupengine
