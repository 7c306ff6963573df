#pragma once
// The lines of a report (report.h): JSON Lines in UTF-8, and a last line with the count and the SHA-256 of
// all that stands before it, so that a cut or changed report is noticed. Private to engine/. Used by one
// thread.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/fd.h"
#include "codec/digest.h"

namespace dupengine::engine {

class ReportWriter {
  public:
    /// Writes from the beginning of the file.
    ReportWriter(int fd, const std::string& name) : fd_(fd), name_(name) {}
    void add(const nlohmann::ordered_json& line);
    void finish();

  private:
    void put_out();
    int fd_;
    const std::string& name_;
    std::string text_;
    codec::Sha256Stream digest_;
    ByteOffset at_ = 0;
    std::uint64_t lines_ = 0;
};

class ReportLines {
  public:
    /// Throws kRefused if it cannot be opened.
    explicit ReportLines(const std::string& path);
    /// All lines but the last. Throws kIntegrity unless each is a JSON object and the last one fits to them:
    /// what was passed on is to be thrown away then.
    void for_each(const std::function<void(const nlohmann::json& line)>& on_line);

  private:
    bool next(std::string& line);
    Fd fd_;
    std::string buffer_;
    std::size_t used_ = 0;  // of the buffer
    ByteOffset at_ = 0;
};

}  // namespace dupengine::engine
