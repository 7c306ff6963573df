#pragma once
// Text on the firmware's console, which shows it on the screen and, where the firmware is set up so, on a
// serial line; and keys from there.

#include "efi/core/text.h"
#include "efi/firmware/tables.h"

namespace dupengine::efi {

class Console {
  public:
    explicit Console(SystemTable& system) : system_(system) {}
    ~Console();
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    /// '\n' begins a new line. Characters that are not ASCII are shown as '?'.
    void print(TextView text);

    /// The next key: a small letter or another character, '?' for one that is none; 0 if there was none in
    /// time. 0xffffffff waits for ever.
    char wait_key(std::uint32_t milliseconds);

  private:
    bool read_key(char& key);

    SystemTable& system_;
    Event timer_ = nullptr;
};

}  // namespace dupengine::efi
