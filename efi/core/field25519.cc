#include "efi/core/field25519.h"

namespace dupengine::efi {
namespace {

using Wide = unsigned __int128;

constexpr unsigned kLimbBits = 51;
constexpr std::uint64_t kLimbMask = (std::uint64_t{1} << kLimbBits) - 1;
// 2^255 is that, modulo the prime.
constexpr std::uint64_t kFold = 19;

}  // namespace

Field Field::decode(const Encoded& bytes) {
    Field number;
    // Each limb's bits begin in the middle of a byte.
    for (std::size_t bit = 0; bit < 255; ++bit) {
        const std::uint64_t value = std::to_integer<std::uint64_t>(bytes[bit / 8]) >> (bit % 8) & 1;
        number.limbs_[bit / kLimbBits] |= value << (bit % kLimbBits);
    }
    return number;
}

Field::Encoded Field::encode() const {
    Field number = *this;
    number.carry();
    // Now it is below twice the prime: one subtraction at most, which is needed if adding 19 reaches 2^255.
    std::uint64_t reaches = kFold;
    for (std::uint64_t limb : number.limbs_)
        reaches = (limb + reaches) >> kLimbBits;
    number.limbs_[0] += kFold * reaches;
    std::uint64_t above = 0;
    for (std::uint64_t& limb : number.limbs_) {
        limb += above;
        above = limb >> kLimbBits;
        limb &= kLimbMask;
    }
    Encoded bytes{};
    for (std::size_t bit = 0; bit < 255; ++bit) {
        const std::uint64_t value = number.limbs_[bit / kLimbBits] >> (bit % kLimbBits) & 1;
        bytes[bit / 8] |= static_cast<std::byte>(value << (bit % 8));
    }
    return bytes;
}

void Field::carry() {
    for (int round = 0; round < 2; ++round) {
        std::uint64_t above = 0;
        for (std::uint64_t& limb : limbs_) {
            limb += above;
            above = limb >> kLimbBits;
            limb &= kLimbMask;
        }
        limbs_[0] += kFold * above;
    }
}

Field Field::operator+(const Field& other) const {
    Field sum;
    for (std::size_t i = 0; i < limbs_.size(); ++i)
        sum.limbs_[i] = limbs_[i] + other.limbs_[i];
    sum.carry();
    return sum;
}

Field Field::operator-(const Field& other) const {
    // Four times the prime is added, so that no limb goes below zero.
    Field difference;
    for (std::size_t i = 0; i < limbs_.size(); ++i)
        difference.limbs_[i] = limbs_[i] + 4 * (kLimbMask - (i == 0 ? kFold - 1 : 0)) - other.limbs_[i];
    difference.carry();
    return difference;
}

Field Field::operator*(const Field& other) const {
    std::array<Wide, 5> sums{};
    for (std::size_t i = 0; i < 5; ++i)
        for (std::size_t j = 0; j < 5; ++j)
            sums[(i + j) % 5] += Wide{limbs_[i]} * (i + j < 5 ? other.limbs_[j] : kFold * other.limbs_[j]);
    Field product;
    Wide above = 0;
    for (std::size_t i = 0; i < 5; ++i) {
        above += sums[i];
        product.limbs_[i] = static_cast<std::uint64_t>(above) & kLimbMask;
        above >>= kLimbBits;
    }
    // The sums are below 2^112, so this is far below 2^128.
    above = above * kFold + product.limbs_[0];
    product.limbs_[0] = static_cast<std::uint64_t>(above) & kLimbMask;
    product.limbs_[1] += static_cast<std::uint64_t>(above >> kLimbBits);
    product.carry();
    return product;
}

Field Field::power(unsigned bits, std::uint8_t low) const {
    Field result(1);
    for (unsigned bit = bits; bit-- > 0;) {
        result = result * result;
        if (bit >= 8 || (low >> bit & 1) != 0) result = result * *this;
    }
    return result;
}

}  // namespace dupengine::efi
