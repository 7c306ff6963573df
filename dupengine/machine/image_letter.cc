#include "machine/image_letter.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/copy_bytes.h"
#include "codec/digest.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

// Of each page: a seal that tells whether it was filled, its number, and then what is told.
constexpr std::size_t kSealBytes = sizeof(LetterSeal), kHeadBytes = kSealBytes + 8,
                      kTextBytes = kPageBytes - kHeadBytes;
// Both ends of a disk that is made unfinished are 33 sectors each; there is room for some disks.
constexpr std::size_t kPages = 128;

// Nobody who does not know the key can have written it anywhere.
LetterSeal seal_for(const codec::PageTagger::Key& key, std::string_view what) {
    Bytes text(as_bytes(what).begin(), as_bytes(what).end());
    text.insert(text.end(), key.begin(), key.end());
    const codec::Sha256 digest = codec::sha256(text);
    LetterSeal seal;
    std::copy_n(digest.begin(), seal.size(), seal.begin());
    return seal;
}

constexpr std::string_view kEmpty = "dupengine: room for a letter", kFilled = "dupengine: a letter";

bool has(std::span<const std::byte> page, const LetterSeal& seal) {
    return std::ranges::equal(page.first(kSealBytes), seal);
}

}  // namespace

LetterRoom::LetterRoom(const codec::PageTagger::Key& key) : filled_(seal_for(key, kFilled)) {
    // Shared: as it is, it is in each process that has it, and no copy of it is made.
    void* room =
        ::mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory for what a duplicate is told");
    pages_ = {static_cast<std::byte*>(room), kPages * kPageBytes};
    const LetterSeal seal = seal_for(key, kEmpty);
    for (std::size_t i = 0; i < kPages; ++i) {
        const auto page = pages_.subspan(i * kPageBytes, kPageBytes);
        copy_bytes(seal, page);
        store_le<std::uint64_t>(page, kSealBytes, i);
    }
}

LetterRoom::~LetterRoom() {
    ::munmap(pages_.data(), pages_.size());
}

Bytes LetterRoom::read() const {
    Bytes text;
    for (std::size_t i = 0; i < kPages; ++i) {
        const auto page = std::span<const std::byte>(pages_).subspan(i * kPageBytes, kPageBytes);
        if (!has(page, filled_))
            throw_error(
                Code::kRefused,
                "the machine that became this one did not leave what its disk needs to be one (another "
                "version of dupengine?)");
        text.insert(text.end(), page.begin() + kHeadBytes, page.end());
    }
    const std::uint64_t size = load_le<std::uint64_t>(text, 0);
    if (size > text.size() - 8)
        throw_error(Code::kRefused, "what a duplicate is told passes the end of its room");
    return {text.begin() + 8, text.begin() + 8 + static_cast<std::ptrdiff_t>(size)};
}

Letter::Letter(const codec::PageTagger::Key& key, const Bytes& text)
    : empty_(seal_for(key, kEmpty)),
      filled_(seal_for(key, kFilled)),
      text_(kPages * kTextBytes),
      filled_pages_(kPages) {
    if (text.size() > text_.size() - 8)
        throw_error(Code::kUnsupported, "what the duplicate has to be told is too long ({} bytes)",
                    text.size());
    store_le<std::uint64_t>(text_, 0, text.size());
    copy_bytes(text, std::span(text_).subspan(8));
}

void Letter::put_into(std::span<std::byte> page) {
    if (!has(page, empty_)) return;
    const std::uint64_t number = load_le<std::uint64_t>(page, kSealBytes);
    if (number >= kPages) return;
    copy_bytes(filled_, page);
    copy_bytes(std::span(text_).subspan(number * kTextBytes, kTextBytes), page.subspan(kHeadBytes));
    filled_pages_[number] = true;
}

void Letter::check() const {
    if (std::ranges::find(filled_pages_, false) != filled_pages_.end())
        throw_error(Code::kPeer,
                    "the other end's image has no room for what its disk needs to be one (another version of "
                    "dupengine?)");
}

}  // namespace dupengine::machine
