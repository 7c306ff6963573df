// Pages of a program that ends on the duplicate: only what nobody else has.

#include "machine/dead_pages.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/fd.h"
#include "codec/page_path.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

constexpr std::size_t kPages = 8;

class Mapping {
  public:
    explicit Mapping(int sharing)
        : bytes_(
              ::mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0)) {
        if (bytes_ == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory");
        ::mlock(bytes_, kPages * kPageBytes);  // is not moved, nor a huge page
        touch();
    }
    ~Mapping() { ::munmap(bytes_, kPages * kPageBytes); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    void touch() {
        for (std::byte& byte : room())
            byte = std::byte{7};
    }
    std::span<std::byte> room() const { return {static_cast<std::byte*>(bytes_), kPages * kPageBytes}; }

  private:
    void* bytes_;
};

bool has_all(const PageNumbers& all, const PageNumbers& some) {
    return std::ranges::includes(all, some);
}
bool has_any(const PageNumbers& all, const PageNumbers& some) {
    return std::ranges::any_of(some, [&](std::uint64_t one) { return std::ranges::binary_search(all, one); });
}

TEST(DeadPages, OfAProgramAreThoseThatItAloneHas) {
    const Mapping own(MAP_PRIVATE), shared(MAP_SHARED);
    const PageNumbers of_own = pages_behind(own.room()), of_shared = pages_behind(shared.room());
    EXPECT_EQ(of_own.size(), kPages);
    EXPECT_EQ(of_shared.size(), kPages);
    const PageNumbers dead = private_pages_of(::getpid());
    EXPECT_TRUE(has_all(dead, of_own));
    EXPECT_FALSE(has_any(dead, of_shared));
}

TEST(DeadPages, AreNoneThatAChildHasToo) {
    Mapping own(MAP_PRIVATE);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const Fd reading(ends[0]);
    Fd writing(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
        [[maybe_unused]] const ssize_t written = ::write(writing.get(), "x", 1);
        for (;;)
            ::pause();
    }
    char there = 0;
    ASSERT_EQ(::read(reading.get(), &there, 1), 1);
    const PageNumbers with_child = pages_behind(own.room());
    EXPECT_FALSE(has_any(private_pages_of(::getpid()), with_child)) << "the child would find something else";
    own.touch();  // its own again, the child keeps the old ones
    const PageNumbers after = pages_behind(own.room());
    EXPECT_FALSE(has_any(after, with_child));
    EXPECT_TRUE(has_all(private_pages_of(::getpid()), after));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

TEST(DeadPages, OfARoomAreOnlyThoseThatItFills) {
    const Mapping own(MAP_PRIVATE);
    EXPECT_EQ(pages_behind(own.room().subspan(1)).size(), kPages - 1);
    EXPECT_EQ(pages_behind(own.room().first(2 * kPageBytes - 1)).size(), 1u);
    EXPECT_TRUE(pages_behind(own.room().first(100)).empty());
}

}  // namespace
}  // namespace dupengine::machine
