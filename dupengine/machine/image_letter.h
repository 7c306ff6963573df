#pragma once
// What a machine tells the one that it becomes. A process that is in an image of memory keeps room for it
// there, whose pages are known by what stands at their beginning; while the image is given to the kernel,
// they are filled. So nothing of it is on any disk, and who has woken has it or has nothing.
//
// Used by one thread.

#include <array>
#include <span>
#include <vector>

#include "codec/page_path.h"
#include "codec/page_tag.h"

namespace dupengine::machine {

/// At the beginning of each page, of those that were filled and of those that were not.
using LetterSeal = std::array<std::byte, 24>;

/// In the process. Its pages are memory of its own from the beginning.
class LetterRoom {
  public:
    /// `key`: of the duplication, so that no other room is taken for this one.
    explicit LetterRoom(const codec::PageTagger::Key& key);
    ~LetterRoom();
    LetterRoom(const LetterRoom&) = delete;
    LetterRoom& operator=(const LetterRoom&) = delete;

    /// On the machine that became the image. Throws kRefused if nothing, or not all of it, was put there.
    Bytes read() const;
    /// As it is in the image.
    std::span<const std::byte> pages() const { return pages_; }

  private:
    LetterSeal filled_;
    std::span<std::byte> pages_;
};

/// On the machine that is going to become it.
class Letter {
  public:
    /// Throws kUnsupported if it is too long for the room.
    Letter(const codec::PageTagger::Key& key, const Bytes& text);
    /// Shown each page of the image: changes those that are for it.
    void put_into(std::span<std::byte> page);
    /// When all were shown. Throws kPeer unless the image had all of the room.
    void check() const;

  private:
    LetterSeal empty_, filled_;
    Bytes text_;  // with its size, as long as the room
    std::vector<bool> filled_pages_;
};

}  // namespace dupengine::machine
