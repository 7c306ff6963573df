#include "machine/kept_lines.h"

#include "codec/page_path.h"

namespace dupengine::machine {

using codec::kPageBytes;
using codec::LineTags;

KeptLines::KeptLines(std::uint64_t most)
    : most_(most), room_(align_up(most * sizeof(LineTags), kPageBytes) / kPageBytes) {}

std::span<LineTags> KeptLines::all() const {
    return {reinterpret_cast<LineTags*>(room_.all().data()), most_};
}

const LineTags* KeptLines::find(std::uint64_t number) const {
    const auto place = places_.find(number);
    return place == places_.end() ? nullptr : &all()[place->second];
}

void KeptLines::keep(std::uint64_t number, const LineTags& lines) {
    auto place = places_.find(number);
    if (place == places_.end()) {
        if (places_.size() == most_) return;
        place = places_.emplace(number, places_.size()).first;
    }
    all()[place->second] = lines;
}

}  // namespace dupengine::machine
