#include "block/patchwork.h"

#include <algorithm>
#include <iterator>

#include "block/transfers.h"

namespace dupengine::block {

Patchwork::Patchwork(std::string name, const Geometry& geometry)
    : name_(std::move(name)), geometry_(geometry) {}

void Patchwork::check(Extent place) const {
    if (place.end < place.begin || place.end > geometry_.size_bytes)
        throw_error(Code::kInternal, "{}: {} lies outside its {} bytes", name_, place.text(),
                    geometry_.size_bytes);
}

// Makes `at` a boundary: no patch lies on both sides of it.
void Patchwork::cut_at(ByteOffset at) {
    auto patch = patches_.upper_bound(at);
    if (patch == patches_.begin()) return;
    --patch;
    const ByteOffset begin = patch->first;
    if (begin == at || patch->second.end <= at) return;
    Patch behind = patch->second;
    behind.begin += at - begin;
    patch->second.end = at;
    patches_.emplace(at, std::move(behind));
}

void Patchwork::lift(Extent place) {
    check(place);
    if (place.empty()) return;
    cut_at(place.begin);
    cut_at(place.end);
    patches_.erase(patches_.lower_bound(place.begin), patches_.lower_bound(place.end));
}

void Patchwork::put(Extent place, Patch patch) {
    lift(place);
    if (place.empty()) return;
    patch.end = place.end;
    patches_.emplace(place.begin, std::move(patch));
}

void Patchwork::lay(Extent place, const Reader& from, ByteOffset begin) {
    const std::uint64_t size = from.geometry().size_bytes;
    if (begin > size || size - begin < place.size())
        throw_error(Code::kInternal, "{}: {} bytes from {} pass the end of {}", name_, place.size(), begin,
                    from.name());
    put(place, Patch{0, &from, nullptr, begin});
}

void Patchwork::lay(ByteOffset place, Bytes content) {
    const Extent extent{place, place + content.size()};
    put(extent, Patch{0, nullptr, std::make_shared<const Bytes>(std::move(content)), 0});
}

Patchwork::Patches::const_iterator Patchwork::first_ending_after(ByteOffset at) const {
    auto patch = patches_.upper_bound(at);
    if (patch != patches_.begin() && std::prev(patch)->second.end > at) --patch;
    return patch;
}

// Calls on_piece(extent, patch, begin of the extent in it) in order; the patch is null for a hole. Stops when
// it returns false.
template <typename OnPiece>
void Patchwork::for_each_piece(Extent within, OnPiece&& on_piece) const {
    auto patch = first_ending_after(within.begin);
    for (ByteOffset at = within.begin; at < within.end;) {
        const bool is_hole = patch == patches_.end() || patch->first > at;
        const ByteOffset end =
            is_hole ? (patch == patches_.end() ? within.end : patch->first) : patch->second.end;
        const Extent piece{at, std::min(end, within.end)};
        const bool go_on = is_hole ? on_piece(piece, static_cast<const Patch*>(nullptr), ByteOffset{0})
                                   : on_piece(piece, &patch->second, patch->second.begin + at - patch->first);
        if (!go_on) return;
        if (!is_hole) ++patch;
        at = piece.end;
    }
}

void Patchwork::read_pieces(ByteOffset offset, std::span<std::byte> buffer, From from) const {
    if (offset > geometry_.size_bytes || geometry_.size_bytes - offset < buffer.size())
        throw_error(Code::kSourceIo, "{}: {} bytes at {} pass its end ({} bytes)", name_, buffer.size(),
                    offset, geometry_.size_bytes);
    for_each_piece({offset, offset + buffer.size()}, [&](Extent piece, const Patch* patch, ByteOffset begin) {
        const std::span<std::byte> part = buffer.subspan(piece.begin - offset, piece.size());
        if (patch == nullptr)
            std::fill(part.begin(), part.end(), std::byte{0});
        else if (patch->from == nullptr)
            std::copy_n(patch->content->begin() + static_cast<std::ptrdiff_t>(begin), part.size(),
                        part.begin());
        else if (from == From::kMedium)
            patch->from->read_from_medium(begin, part);
        else
            patch->from->read(begin, part);
        return true;
    });
}

void Patchwork::read(ByteOffset offset, std::span<std::byte> buffer) const {
    read_pieces(offset, buffer, From::kAnywhere);
}

void Patchwork::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    read_pieces(offset, buffer, From::kMedium);
}

void Patchwork::start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                           std::span<std::byte> buffer, From from) const {
    const auto patch = first_ending_after(offset);
    const bool in_one = patch != patches_.end() && patch->first <= offset &&
                        offset + buffer.size() <= patch->second.end && patch->second.from != nullptr;
    // Only what lies in one other reader can be under way as one transfer.
    if (!in_one) return Reader::start_read(transfers, tag, offset, buffer, from);
    patch->second.from->start_read(transfers, tag, patch->second.begin + offset - patch->first, buffer, from);
}

std::optional<std::string> Patchwork::known_signature(Extent part) const {
    const auto patch = first_ending_after(part.begin);
    if (patch == patches_.end() || patch->first > part.begin || part.end > patch->second.end ||
        patch->second.from == nullptr)
        return {};
    const ByteOffset begin = patch->second.begin + part.begin - patch->first;
    return patch->second.from->known_signature({begin, begin + part.size()});
}

Extent Patchwork::next_data(Extent within) const {
    Extent found;
    for_each_piece(within.clipped_to({0, geometry_.size_bytes}), [&](Extent piece, const Patch* patch,
                                                                     ByteOffset begin) {
        Extent data = patch == nullptr ? Extent{} : piece;
        if (patch != nullptr && patch->from != nullptr) {
            const Extent there = patch->from->next_data({begin, begin + piece.size()});
            data = there.empty() ? Extent{}
                                 : Extent{piece.begin + there.begin - begin, piece.begin + there.end - begin};
        }
        if (data.empty()) return found.empty();  // go on until there is something
        if (!found.empty() && data.begin != found.end) return false;
        if (found.empty()) found.begin = data.begin;
        found.end = data.end;
        return data.end == piece.end;
    });
    return found;
}

}  // namespace dupengine::block
