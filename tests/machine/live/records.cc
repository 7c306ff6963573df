// A database of 256 records in one file. A change is in its log, durable, before the record is written; so
// after a stop at any moment every record is of the version that the log says, but for the last one, which
// may be of the one before.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "parts.h"
#include "steps.h"

namespace dupengine::live {
namespace {

constexpr std::uint64_t kRecords = 256;
constexpr std::size_t kRecordBytes = 4096;
using Record = std::array<std::uint64_t, kRecordBytes / sizeof(std::uint64_t)>;

struct LogEntry {
    std::uint64_t number = 0, record = 0, version = 0, sum = 0;
    bool operator==(const LogEntry&) const = default;
};

LogEntry entry_of(std::uint64_t number, std::uint64_t record, std::uint64_t version) {
    return {number, record, version, next_sum(next_sum(number, record), version)};
}

// Version 0 is what a new file holds: zeros.
Record content_of(std::uint64_t record, std::uint64_t version) {
    Record words{};
    if (version == 0) return words;
    std::uint64_t sum = next_sum(record, version);
    for (std::uint64_t& word : words)
        word = sum = next_sum(sum, version);
    return words;
}

int open_file(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
    if (fd < 0) throw std::runtime_error(path + ": " + std::strerror(errno));
    return fd;
}

class Database {
  public:
    explicit Database(const std::string& folder)
        : data_(open_file(folder + "/records.data", O_RDWR | O_CREAT | O_TRUNC)),
          log_(open_file(folder + "/records.log", O_RDWR | O_CREAT | O_TRUNC)),
          versions_(kRecords, 0) {
        if (::ftruncate(data_, kRecords * kRecordBytes) != 0)
            throw std::runtime_error(std::string("records.data: ") + std::strerror(errno));
    }
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database() {
        ::close(data_);
        ::close(log_);
    }

    void change(std::uint64_t record, Steps& steps) {
        const std::uint64_t version = ++versions_[record];
        const LogEntry entry = entry_of(entries_ + 1, record, version);
        if (!write_fully(log_, &entry, sizeof entry, entries_ * sizeof entry) || ::fsync(log_) != 0)
            steps.fail(std::string("its log: ") + std::strerror(errno));
        ++entries_;
        const Record words = content_of(record, version);
        if (!write_fully(data_, words.data(), kRecordBytes, record * kRecordBytes) || ::fsync(data_) != 0)
            steps.fail(std::string("a record: ") + std::strerror(errno));
    }

    // From the medium, not from the cache.
    void look_at(std::uint64_t record, Steps& steps) {
        Record words;
        ::posix_fadvise(data_, 0, 0, POSIX_FADV_DONTNEED);
        if (!read_fully(data_, words.data(), kRecordBytes, record * kRecordBytes))
            steps.fail(std::string("a record: ") + std::strerror(errno));
        else if (words != content_of(record, versions_[record]))
            steps.fail("record " + std::to_string(record) + " is not what was written");
    }

  private:
    int data_, log_;
    std::uint64_t entries_ = 0;
    std::vector<std::uint64_t> versions_;
};

std::uint64_t size_of(int fd) {
    struct stat info {};
    return ::fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

// The last entry is returned; versions is what all of them say.
LogEntry read_log(int fd, std::vector<std::uint64_t>& versions) {
    const std::uint64_t bytes = size_of(fd);
    if (bytes == 0 || bytes % sizeof(LogEntry) != 0) throw std::runtime_error("records.log is empty or cut");
    LogEntry entry;
    for (std::uint64_t number = 1; number <= bytes / sizeof entry; ++number) {
        if (!read_fully(fd, &entry, sizeof entry, (number - 1) * sizeof entry))
            throw std::runtime_error("records.log cannot be read");
        if (entry.record >= kRecords || entry != entry_of(number, entry.record, versions[entry.record] + 1))
            throw std::runtime_error("records.log: entry " + std::to_string(number) + " is wrong");
        versions[entry.record] = entry.version;
    }
    return entry;
}

}  // namespace

void run_records(const std::string& folder) {
    Steps steps(folder, "records", Steps::Keep::kDurable);
    Database database(folder);
    std::mt19937_64 random(2);
    for (std::uint64_t next = milliseconds();; next = milliseconds() + 50) {
        sleep_until(next);
        database.change(random() % kRecords, steps);
        database.look_at(random() % kRecords, steps);
        steps.step();
    }
}

std::string complaint_of_records(const std::string& folder) {
    std::vector<std::uint64_t> versions(kRecords, 0);
    const int log = open_file(folder + "/records.log", O_RDONLY);
    const int data = open_file(folder + "/records.data", O_RDONLY);
    std::string complaint;
    try {
        const LogEntry last = read_log(log, versions);
        for (std::uint64_t record = 0; record < kRecords && complaint.empty(); ++record) {
            Record words;
            if (!read_fully(data, words.data(), kRecordBytes, record * kRecordBytes))
                throw std::runtime_error("records.data cannot be read");
            const bool is_right = words == content_of(record, versions[record]) ||
                                  (record == last.record && words == content_of(record, last.version - 1));
            if (!is_right) complaint = "record " + std::to_string(record) + " is not what the log says";
        }
    } catch (const std::runtime_error& error) {
        complaint = error.what();
    }
    ::close(log);
    ::close(data);
    return complaint;
}

}  // namespace dupengine::live
