// Memory that changes faster than a duplicate likes: each rewrite of a page keeps the xor of its words up to
// date in another place, and is preceded by a look at whether they still agree.

#include <sys/mman.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "parts.h"
#include "steps.h"

namespace dupengine::live {
namespace {

constexpr std::size_t kPages = (64u << 20) / 4096, kWords = 4096 / sizeof(std::uint64_t);
constexpr int kRewritesAtOnce = 20, kWordsOfRewrite = 16;

class Pages {
  public:
    Pages() : sums_(kPages, 0) {
        void* memory = ::mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory == MAP_FAILED) throw std::runtime_error("no memory for 64 MiB of pages");
        words_ = static_cast<std::uint64_t*>(memory);
        for (std::size_t page = 0; page < kPages; ++page)
            for (std::size_t word = 0; word < kWords; ++word)
                set(page, word, random_());
    }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    ~Pages() { ::munmap(words_, kPages * 4096); }

    void rewrite(Steps& steps) {
        const std::size_t page = random_() % kPages;
        std::uint64_t sum = 0;
        for (std::size_t word = 0; word < kWords; ++word)
            sum ^= words_[page * kWords + word];
        if (sum != sums_[page]) {
            steps.fail("page " + std::to_string(page) + " is not what it was");
            sums_[page] = sum;
        }
        for (int i = 0; i < kWordsOfRewrite; ++i)
            set(page, random_() % kWords, random_());
    }

  private:
    void set(std::size_t page, std::size_t word, std::uint64_t value) {
        std::uint64_t& place = words_[page * kWords + word];
        sums_[page] ^= place ^ value;
        place = value;
    }

    std::mt19937_64 random_{1};
    std::uint64_t* words_ = nullptr;
    std::vector<std::uint64_t> sums_;
};

}  // namespace

void run_pages(const std::string& folder) {
    Steps steps(folder, "pages", Steps::Keep::kWritten);
    Pages pages;
    for (std::uint64_t next = milliseconds();; next += 1000 * kRewritesAtOnce / 1000) {
        sleep_until(next);
        // Who was stopped for long does not make up for it.
        if (milliseconds() > next + 1000) next = milliseconds();
        for (int i = 0; i < kRewritesAtOnce; ++i)
            pages.rewrite(steps);
        steps.step();
    }
}

}  // namespace dupengine::live
