#pragma once
// What each part of the workload of a live duplication has in common: it goes on in steps, and each step is
// one line of FOLDER/NAME.steps. A process that is duplicated goes on from the same step on both machines,
// each in its own copy of the file. Errors go to FOLDER/NAME.errors and to standard error (a console), which
// is also told the first step on a machine of another name. Not for several threads.
//
//     STEP NODE MILLISECONDS SUM     NODE: gethostname() at this step; MILLISECONDS: CLOCK_BOOTTIME;
//                                    SUM: next_sum() of the sum before and STEP

#include <cstdint>
#include <string>
#include <string_view>

namespace dupengine::live {

inline constexpr std::uint64_t kFirstSum = 0x6c69766577616b65;

/// A permutation of 64 bits that depends on both.
std::uint64_t next_sum(std::uint64_t sum, std::uint64_t step);

class Steps {
  public:
    /// kDurable: each line is on the medium before step() returns, and is read back from there.
    enum class Keep { kDurable, kWritten };
    /// Begins at step 0 with new files. Throws std::runtime_error.
    Steps(std::string folder, std::string name, Keep keep);
    Steps(const Steps&) = delete;
    Steps& operator=(const Steps&) = delete;
    ~Steps();

    std::uint64_t number() const { return step_; }
    /// One more step is done. Checks what memory and file say of the one before.
    void step();
    /// Something is not as it must be. The process goes on.
    void fail(const std::string& what);

  private:
    void check_memory();
    void check_file(const std::string& line);
    void tell(std::string_view what) const;

    std::string folder_, name_, node_;
    Keep keep_;
    int file_ = -1;
    std::uint64_t step_ = 0, sum_ = kFirstSum;
    std::uint64_t not_step_ = ~step_,
                  not_sum_ = ~sum_;  // the same once more, for memory that was not restored as it was
    std::uint64_t file_bytes_ = 0;
};

std::string node_name();
std::uint64_t milliseconds();
void sleep_until(std::uint64_t moment_ms);

/// All bytes, however many calls it takes. False: the error is in errno.
bool write_fully(int fd, const void* bytes, std::size_t size, std::uint64_t offset);
bool read_fully(int fd, void* bytes, std::size_t size, std::uint64_t offset);

}  // namespace dupengine::live
