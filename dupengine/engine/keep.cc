// Which parts of the target stay as they are.

#include <algorithm>
#include <cctype>

#include "base/units.h"
#include "engine/plan.h"

namespace dupengine::engine {
namespace {

using layout::Partition;

void add(std::vector<Kept>& kept, Kept one) {
    const auto same = [&](const Kept& k) { return k.extent == one.extent; };
    const auto known = std::find_if(kept.begin(), kept.end(), same);
    if (known != kept.end()) {
        if (!known->entry) known->entry = std::move(one.entry);  // whoever knows the table entry wins
        return;
    }
    kept.push_back(std::move(one));
}

Kept keep_partition(const Partition& partition, const std::string& why) {
    return {fmt::format("{} (partition {})", why, partition.number), partition.extent, partition};
}

bool starts_with_digit(std::string_view text) {
    return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0;
}

// "BEGIN+SIZE" or "BEGIN..END".
std::optional<block::Extent> parse_extent(const std::string& text) {
    const std::size_t plus = text.find('+');
    const std::size_t dots = text.find("..");
    if (!starts_with_digit(text) || (plus == std::string::npos && dots == std::string::npos)) return {};
    try {
        if (plus == std::string::npos)
            return block::Extent{parse_size(text.substr(0, dots)), parse_size(text.substr(dots + 2))};
        const std::uint64_t begin = parse_size(text.substr(0, plus));
        return block::Extent{begin, checked_add(begin, parse_size(text.substr(plus + 1)), "its end")};
    } catch (const Error& e) {
        throw_error(Code::kUsage, "--protect {}: {}", text, e.what());
    }
}

std::optional<Guid> parse_guid(const std::string& text) {
    try {
        return Guid::parse(text);
    } catch (const Error&) {
        return {};
    }
}

// Those that answer to "PARTLABEL=x", "PARTUUID=x", or "x".
std::vector<Partition> find_partitions(const std::vector<Partition>& partitions, const std::string& given) {
    const bool by_label = given.starts_with("PARTLABEL=");
    const bool by_guid = given.starts_with("PARTUUID=");
    const std::string value = by_label || by_guid ? given.substr(given.find('=') + 1) : given;
    if (value.empty()) throw_error(Code::kUsage, "--protect '{}' names nothing", given);
    const std::optional<Guid> guid = by_label ? std::nullopt : parse_guid(value);
    std::vector<Partition> found;
    for (const Partition& p : partitions)
        if ((guid && p.guid == *guid) || (!by_guid && p.name == value)) found.push_back(p);
    return found;
}

std::vector<Partition> find_on_target(const layout::DiskDescription& target, const std::string& given) {
    std::vector<Partition> found = find_partitions(target.table.partitions, given);
    if (!found.empty() || !target.incomplete) return found;
    // After an interrupted copy the table is gone, but the mark remembers the entries.
    std::vector<Partition> marked;
    for (const Kept& k : target.incomplete->kept)
        if (k.entry) marked.push_back(*k.entry);
    return find_partitions(marked, given);
}

Kept keep_named(const layout::DiskDescription& target, const std::string& given) {
    const std::vector<Partition> found = find_on_target(target, given);
    if (found.empty())
        throw_error(Code::kRefused, "--protect {}: {} has no partition of that label or GUID", given,
                    target.name);
    if (found.size() > 1)
        throw_error(Code::kRefused, "--protect {}: {} partitions of {} answer to that; give the PARTUUID",
                    given, found.size(), target.name);
    return keep_partition(found.front(), "protected");
}

Kept keep_extent(const layout::DiskDescription& target, const std::string& given, block::Extent extent) {
    if (extent.empty() || extent.end > target.geometry.size_bytes)
        throw_error(Code::kRefused, "--protect {}: {} does not lie on {} ({} bytes)", given, extent.text(),
                    target.name, target.geometry.size_bytes);
    const std::uint32_t sector = target.table.sector_bytes;
    if (extent.begin % sector != 0 || extent.end % sector != 0)
        throw_error(Code::kUsage, "--protect {}: begin and end must be multiples of {} bytes", given, sector);
    return {"--protect " + given, extent, std::nullopt};
}

// The number of the one target that has this partition.
std::size_t find_owner(std::span<const layout::DiskDescription> targets, const std::string& given) {
    if (parse_extent(given))
        throw_error(Code::kUsage, "--protect {}: does not say on which of {} targets; name a partition",
                    given, targets.size());
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < targets.size(); ++i)
        if (!find_on_target(targets[i], given).empty()) owners.push_back(i);
    if (owners.empty())
        throw_error(Code::kRefused, "--protect {}: no target has a partition of that label or GUID", given);
    if (owners.size() > 1)
        throw_error(Code::kRefused, "--protect {}: partitions of {} and {} answer to that; give the PARTUUID",
                    given, targets[owners[0]].name, targets[owners[1]].name);
    return owners.front();
}

}  // namespace

std::vector<CopyOptions> share_out_protection(std::span<const layout::DiskDescription> targets,
                                              const CopyOptions& options) {
    std::vector<CopyOptions> shares(targets.size(), options);
    if (targets.size() == 1) return shares;
    for (CopyOptions& share : shares)
        share.protect.clear();
    for (const std::string& given : options.protect)
        shares[find_owner(targets, given)].protect.push_back(given);
    return shares;
}

std::vector<Kept> find_kept_regions(const layout::DiskDescription& target, const CopyOptions& options) {
    std::vector<Kept> kept;
    for (const Partition& p : target.table.partitions)
        if (p.type_guid == layout::type_guid::kProfile) add(kept, keep_partition(p, "profile"));
    for (const std::string& given : options.protect) {
        const auto extent = parse_extent(given);
        add(kept, extent ? keep_extent(target, given, *extent) : keep_named(target, given));
    }
    // --ignore-target-table gives up what an unfinished copy kept, too.
    if (target.incomplete && !options.ignore_target_table)
        for (const Kept& k : target.incomplete->kept)
            add(kept, k);
    std::sort(kept.begin(), kept.end(),
              [](const Kept& a, const Kept& b) { return a.extent.begin < b.extent.begin; });
    for (std::size_t i = 1; i < kept.size(); ++i)
        if (kept[i - 1].extent.touches(kept[i].extent))
            throw_error(Code::kRefused, "{}: the protected regions {} and {} overlap", target.name,
                        kept[i - 1].name, kept[i].name);
    return kept;
}

}  // namespace dupengine::engine
