#pragma once
// Text without a C++ library: a view of characters, and a text of bounded length that is built in place. Text
// is UTF-8; what does not fit is cut and remembered. std::string_view cannot be compiled for firmware.

#include <array>
#include <cstddef>
#include <cstdint>

namespace dupengine::efi {

class TextView {
  public:
    constexpr TextView() = default;
    constexpr TextView(const char* begin, std::size_t size) : begin_(begin), size_(size) {}
    /// Of a literal.
    constexpr TextView(const char* text) : begin_(text) {
        while (text[size_] != '\0')
            ++size_;
    }

    constexpr const char* data() const { return begin_; }
    constexpr std::size_t size() const { return size_; }
    constexpr bool empty() const { return size_ == 0; }
    constexpr const char* begin() const { return begin_; }
    constexpr const char* end() const { return begin_ + size_; }
    constexpr char operator[](std::size_t at) const {
        if (at >= size_) __builtin_trap();
        return begin_[at];
    }
    /// What follows the first `count` characters, or nothing.
    constexpr TextView after(std::size_t count) const {
        return count < size_ ? TextView(begin_ + count, size_ - count) : TextView();
    }
    constexpr TextView first(std::size_t count) const { return {begin_, count < size_ ? count : size_}; }
    constexpr bool starts_with(TextView other) const { return first(other.size_) == other; }
    constexpr bool operator==(TextView other) const {
        if (size_ != other.size_) return false;
        for (std::size_t i = 0; i < size_; ++i)
            if (begin_[i] != other.begin_[i]) return false;
        return true;
    }

  private:
    const char* begin_ = nullptr;
    std::size_t size_ = 0;
};

template <std::size_t kCapacity>
class Text {
  public:
    constexpr Text() = default;
    constexpr Text(TextView text) { add(text); }

    constexpr Text& add(TextView text) {
        for (char c : text)
            add(c);
        return *this;
    }
    constexpr Text& add(char c) {
        if (size_ < kCapacity)
            characters_[size_++] = c;
        else
            cut_ = true;
        return *this;
    }
    constexpr Text& number(std::uint64_t value) {
        std::array<char, 20> digits{};
        std::size_t at = digits.size();
        do {
            digits[--at] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        return add(TextView(digits.data() + at, digits.size() - at));
    }
    constexpr void clear() {
        size_ = 0;
        cut_ = false;
    }

    constexpr TextView view() const { return {characters_.data(), size_}; }
    constexpr operator TextView() const { return view(); }
    constexpr bool empty() const { return size_ == 0; }
    /// Whether something did not fit.
    constexpr bool cut() const { return cut_; }

  private:
    std::array<char, kCapacity> characters_{};
    std::size_t size_ = 0;
    bool cut_ = false;
};

}  // namespace dupengine::efi
