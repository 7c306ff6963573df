#include "efi/core/ed25519.h"

#include <optional>

#include "efi/core/field25519.h"
#include "efi/core/sha512.h"

namespace dupengine::efi {
namespace {

// -- Scalars: numbers modulo the order of the base point, 2^252 + 27742317777372353535851937790883648493

using Scalar = std::array<std::uint64_t, 4>;  // the lowest word first
constexpr Scalar kOrder = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000};

bool is_below_order(const Scalar& scalar) {
    for (std::size_t i = scalar.size(); i-- > 0;)
        if (scalar[i] != kOrder[i]) return scalar[i] < kOrder[i];
    return false;
}

void subtract_order(Scalar& scalar) {
    std::uint64_t borrow = 0;
    for (std::size_t i = 0; i < scalar.size(); ++i) {
        const std::uint64_t before = scalar[i];
        scalar[i] = before - kOrder[i] - borrow;
        borrow = before < kOrder[i] || (before == kOrder[i] && borrow != 0) ? 1 : 0;
    }
}

bool bit_of(const Scalar& scalar, unsigned bit) {
    return (scalar[bit / 64] >> (bit % 64) & 1) != 0;
}

// The remainder of a little-endian number, from its highest bit down.
Scalar remainder_of(Bytes number) {
    Scalar rest{};
    for (std::size_t bit = number.size() * 8; bit-- > 0;) {
        for (std::size_t i = rest.size(); i-- > 1;)
            rest[i] = rest[i] << 1 | rest[i - 1] >> 63;
        rest[0] = rest[0] << 1 | (std::to_integer<std::uint64_t>(number[bit / 8]) >> (bit % 8) & 1);
        if (!is_below_order(rest)) subtract_order(rest);
    }
    return rest;
}

// -- Points, in the extended coordinates of RFC 8032 5.1.4

struct Point {
    Field x, y = Field(1), z = Field(1), t;  // (0, 1) adds nothing
};

class Curve {
  public:
    Curve() : d_(-Field(121665) * Field(121666).inverse()) {}

    Point base() const { return *decode((Field(4) * Field(5).inverse()).encode()); }

    Point add(const Point& p, const Point& q) const {
        const Field a = (p.y - p.x) * (q.y - q.x), b = (p.y + p.x) * (q.y + q.x);
        const Field c = p.t * (d_ + d_) * q.t, d = p.z * (q.z + q.z);
        const Field e = b - a, f = d - c, g = d + c, h = b + a;
        return {e * f, g * h, f * g, e * h};
    }

    // RFC 8032 5.1.3.
    std::optional<Point> decode(Field::Encoded bytes) const {
        const bool wants_odd = (bytes[31] & std::byte{0x80}) != std::byte{0};
        bytes[31] &= std::byte{0x7f};
        const Field y = Field::decode(bytes);
        if (y.encode() != bytes) return std::nullopt;
        const Field u = y * y - Field(1), v = d_ * y * y + Field(1);
        const Field v3 = v * v * v;
        Field x = u * v3 * (u * v3 * v3 * v).power(252, 0xfd);   // (prime - 5) / 8
        if (v * x * x == -u) x = x * Field(2).power(253, 0xfb);  // a root of -1
        if (!(v * x * x == u) || (x == Field() && wants_odd)) return std::nullopt;
        if (x.is_odd() != wants_odd) x = -x;
        return Point{x, y, Field(1), x * y};
    }

    static Field::Encoded encode(const Point& point) {
        const Field inverse = point.z.inverse();
        Field::Encoded bytes = (point.y * inverse).encode();
        if ((point.x * inverse).is_odd()) bytes[31] |= std::byte{0x80};
        return bytes;
    }

    static Point negative(const Point& point) { return {-point.x, point.y, point.z, -point.t}; }

    // p taken a times and q taken b times; both bit by bit, so that they share the doubling.
    Point sum(const Scalar& a, const Point& p, const Scalar& b, const Point& q) const {
        const Point both = add(p, q);
        Point result;
        for (unsigned bit = 253; bit-- > 0;) {
            result = add(result, result);
            if (bit_of(a, bit) && bit_of(b, bit))
                result = add(result, both);
            else if (bit_of(a, bit))
                result = add(result, p);
            else if (bit_of(b, bit))
                result = add(result, q);
        }
        return result;
    }

  private:
    Field d_;
};

}  // namespace

bool is_signed_by(const PublicKey& key, Bytes message, Bytes signature) {
    if (signature.size() != kSignatureBytes) return false;
    const Curve curve;
    const auto owner = curve.decode(key);
    Scalar s;
    for (std::size_t i = 0; i < s.size(); ++i)
        s[i] = load_le<std::uint64_t>(signature, Field::kBytes + 8 * i);
    if (!owner || !is_below_order(s)) return false;
    const Bytes r = signature.first(Field::kBytes);
    const Scalar k = remainder_of(Sha512().add(r).add(key).add(message).finish());
    // r is compared as it is encoded, so it needs no decoding.
    return equal(Curve::encode(curve.sum(s, curve.base(), k, Curve::negative(*owner))), r);
}

}  // namespace dupengine::efi
