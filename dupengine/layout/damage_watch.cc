#include "layout/damage_watch.h"

namespace dupengine::layout {

using block::Extent;

template <typename Ask>
auto DamageWatch::watch(const Ask& ask) const {
    try {
        return ask();
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        const std::scoped_lock lock(mutex_);
        if (!damage_) damage_ = e;
        throw;
    }
}

void DamageWatch::throw_if_damaged() const {
    const std::scoped_lock lock(mutex_);
    if (damage_) throw Error(*damage_);
}

void DamageWatch::read(ByteOffset offset, std::span<std::byte> buffer) const {
    watch([&] { disk_.read(offset, buffer); });
}

void DamageWatch::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    watch([&] { disk_.read_from_medium(offset, buffer); });
}

Extent DamageWatch::next_data(Extent within) const {
    return watch([&] { return disk_.next_data(within); });
}

bool DamageWatch::has_data(Extent within) const {
    return watch([&] { return disk_.has_data(within); });
}

std::optional<std::string> DamageWatch::known_signature(Extent part) const {
    return watch([&] { return disk_.known_signature(part); });
}

}  // namespace dupengine::layout
