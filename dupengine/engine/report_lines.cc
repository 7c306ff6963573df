#include "engine/report_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace dupengine::engine {
namespace {

constexpr std::size_t kPiece = 256 * kKiB;
constexpr std::size_t kLineLimit = 8 * kMiB;  // a chunk of 8 MiB in sectors of 512 bytes

}  // namespace

void ReportWriter::add(const nlohmann::ordered_json& line) {
    text_ += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    ++lines_;
    if (text_.size() >= kPiece) put_out();
}

void ReportWriter::finish() {
    put_out();
    const std::uint64_t lines = lines_;
    const codec::Sha256 digest = digest_.finish();
    text_ = nlohmann::ordered_json({{"end", lines}, {"sha256", to_hex(digest)}}).dump() + "\n";
    pwrite_exact(fd_, at_, as_bytes(text_), Code::kTargetIo, name_);
}

void ReportWriter::put_out() {
    pwrite_exact(fd_, at_, as_bytes(text_), Code::kTargetIo, name_);
    digest_.update(as_bytes(text_));
    at_ += text_.size();
    text_.clear();
}

ReportLines::ReportLines(const std::string& path) : fd_(open_path(path, O_RDONLY, Code::kRefused)) {}

bool ReportLines::next(std::string& line) {
    for (;;) {
        const std::size_t end = buffer_.find('\n', used_);
        if (end != std::string::npos) {
            line = buffer_.substr(used_, end + 1 - used_);
            used_ = end + 1;
            return true;
        }
        buffer_.erase(0, std::exchange(used_, 0));
        if (buffer_.size() > kLineLimit)
            throw_error(Code::kIntegrity, "a line of more than {} bytes", kLineLimit);
        Bytes piece(kPiece);
        const ssize_t n = ::pread(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(at_));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw_errno(Code::kSourceIo, errno, "it cannot be read");
        if (n == 0) return false;
        buffer_ += as_text(std::span(piece).first(static_cast<std::size_t>(n)));
        at_ += static_cast<std::uint64_t>(n);
    }
}

void ReportLines::for_each(const std::function<void(const nlohmann::json&)>& on_line) {
    codec::Sha256Stream digest;
    std::string line;
    for (std::uint64_t lines = 0; next(line); ++lines) {
        try {
            const nlohmann::json json = nlohmann::json::parse(line);
            if (json.contains("end")) {
                if (json.at("end").get<std::uint64_t>() != lines ||
                    json.at("sha256").get<std::string>() != to_hex(digest.finish()) || next(line))
                    throw_error(Code::kIntegrity, "it was changed: its digest is another");
                return;
            }
            digest.update(as_bytes(line));
            on_line(json);
        } catch (const nlohmann::json::exception&) {
            throw_error(Code::kIntegrity, "line {} is none of a report", lines + 1);
        }
    }
    throw_error(Code::kIntegrity, "it has no end: it was cut");
}

}  // namespace dupengine::engine
