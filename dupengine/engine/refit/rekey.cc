#include "engine/refit/rekey.h"

#include <algorithm>
#include <optional>

#include "block/patchwork.h"
#include "layout/describe.h"
#include "layout/luks_new_key.h"
#include "layout/luks_reader.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using layout::LuksHeader;
using layout::LuksReader;
using layout::PartitionTable;
using layout::TableKind;

// All of LUKS1's header, and more than the digest and the salt of LUKS2's: no two are the same.
constexpr std::uint64_t kHeaderBegin = 4096;

// A partition, or the whole of a disk without a table.
struct Part {
    unsigned number = 0;  // 0: the whole
    Extent extent;
};

std::string name_of(const block::Reader& disk, const Part& part) {
    return part.number == 0 ? disk.name() : fmt::format("{} partition {}", disk.name(), part.number);
}

std::vector<Part> parts_of(const block::Reader& disk) {
    PartitionTable table;
    try {
        table = layout::read_partition_table(disk);
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        return {};  // make_plan has something to say about that
    }
    if (table.kind == TableKind::kNone) return {{0, {0, disk.geometry().size_bytes}}};
    std::vector<Part> parts;
    for (const layout::Partition& p : table.partitions)
        if (p.type_guid != layout::type_guid::kProfile) parts.push_back({p.number, p.extent});
    return parts;
}

bool is_container(const block::Reader& part) {
    // Also where something older shines through behind the header, so that libblkid is in doubt.
    constexpr std::string_view kMagic("LUKS\xba\xbe", 6);
    if (part.geometry().size_bytes < kHeaderBegin) return false;
    if (as_text(block::read_extent(part, {0, kMagic.size()})) == kMagic) return true;
    const auto signature = layout::probe_signature(part);
    return signature && signature->type == "crypto_LUKS";
}

LuksHeader header_of(const block::Reader& part) {
    try {
        return layout::read_luks_header(part);
    } catch (Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        e.set_code(Code::kRefused);
        e.add_context(fmt::format("{}: this LUKS container cannot get a new key", part.name()));
        throw;
    }
}

std::shared_ptr<const block::Reader> plaintext_of(const block::Reader& part, const LuksHeader& header,
                                                  layout::PlaintextFinder& finder) {
    layout::Plaintext found = finder.find(part, header);
    if (found.reader == nullptr)
        throw_error(Code::kRefused,
                    "{}: this LUKS{} container ({}) cannot get a new key without its plaintext; open it "
                    "(cryptsetup open) or give a key of it (--luks-key-file)",
                    part.name(), header.version, found.how);
    if (found.reader->geometry().size_bytes != header.payload.size())
        throw_error(Code::kRefused,
                    "{}: this LUKS{} container is {} with {} bytes, and its payload has {}; close it, or let "
                    "cryptsetup resize mend that",
                    part.name(), header.version, found.how, found.reader->geometry().size_bytes,
                    header.payload.size());
    return std::move(found.reader);
}

layout::KeyedHeader header_of_copy(const Part& part, const LuksHeader& old, const Rekeying& rekeying) {
    const block::Reader& copy = *rekeying.copy;
    const std::vector<Part> parts = parts_of(copy);
    const auto there =
        std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.number == part.number; });
    const std::string name = name_of(copy, part);
    if (there == parts.end()) throw_error(Code::kIntegrity, "{}: is not there", name);
    return layout::take_luks_header(block::Window(copy, there->extent, name), old, rekeying.key);
}

// The new container, in the place of the old one, and what it reads from.
class Rekeyer {
  public:
    Rekeyer(const block::Reader& source, const Rekeying& rekeying) : source_(source), rekeying_(rekeying) {}

    Rekeyed run() {
        for (const Part& part : parts_of(source_)) {
            const auto window =
                std::make_shared<const block::Window>(source_, part.extent, name_of(source_, part));
            if (is_container(*window))
                replace(part, window);
            else
                refuse_header_elsewhere(*window);
        }
        rekeyed_.view = std::move(view_);
        return std::move(rekeyed_);
    }

  private:
    void refuse_header_elsewhere(const block::Reader& part) const {
        const std::string name = rekeying_.old.open_without_header(part);
        if (!name.empty())
            throw_error(Code::kRefused,
                        "{}: it is open as {}, a LUKS container with its header elsewhere; only one that has "
                        "its header in it can get a new key",
                        part.name(), name);
    }

    void replace(const Part& part, const std::shared_ptr<const block::Window>& old) {
        const LuksHeader header = header_of(*old);
        const auto plain = plaintext_of(*old, header, rekeying_.old);
        layout::KeyedHeader made =
            rekeying_.copy == nullptr
                ? layout::make_luks_header(*old, header, rekeying_.key, rekeying_.random)
                : header_of_copy(part, header, rekeying_);
        const auto payload = std::make_shared<const LuksReader>(
            plain, made.header, std::move(made.volume_key), LuksReader::Direction::kEncrypt,
            old->name() + ", encrypted anew");
        rekeying_.made.add({made.area.begin(), made.area.begin() + kHeaderBegin}, plain);
        note(*old, header, made.slot);
        lay(part.extent.begin, header.payload, std::move(made.area), *payload);
        rekeyed_.parts.insert(rekeyed_.parts.end(), {old, plain, payload});
    }

    void lay(ByteOffset begin, Extent payload, Bytes area, const block::Reader& encrypted) {
        if (!view_) {
            view_ = std::make_unique<block::Patchwork>(source_.name(), source_.geometry());
            view_->lay({0, source_.geometry().size_bytes}, source_, 0);
        }
        view_->lay(begin, std::move(area));
        view_->lay({begin + payload.begin, begin + payload.end}, encrypted, 0);
    }

    void note(const block::Reader& part, const LuksHeader& header, const std::string& slot) {
        rekeyed_.notes.push_back(fmt::format(
            "{}: its LUKS{} container gets a new volume key, and one key slot ({}) for the new key; "
            "its other keys and tokens do not go along",
            part.name(), header.version, slot));
    }

    const block::Reader& source_;
    const Rekeying& rekeying_;
    std::unique_ptr<block::Patchwork> view_;
    Rekeyed rekeyed_;
};

}  // namespace

void RekeyedContainers::add(Bytes header_begin, std::shared_ptr<const block::Reader> plain) {
    containers_.push_back({std::move(header_begin), std::move(plain)});
}

layout::Plaintext RekeyedContainers::find(const block::Reader& part, const LuksHeader& header) {
    const Bytes begin = block::read_extent(part, {0, kHeaderBegin});
    const auto known = std::find_if(containers_.begin(), containers_.end(),
                                    [&](const Container& c) { return c.header_begin == begin; });
    if (known == containers_.end())
        throw_error(Code::kRefused,
                    "{}: this LUKS{} container lies in something else; only one that is a partition or a "
                    "whole disk can get a new key, and this one would keep its old ones",
                    part.name(), header.version);
    // A reader of its own for each who asks; the plaintext is shared.
    const auto& plain = known->plain;
    return {std::make_unique<block::Window>(*plain, Extent{0, plain->geometry().size_bytes}, plain->name()),
            "with a new key", true};
}

void RekeyedContainers::pass_by(const std::string& what, const std::string& why) {
    throw_error(Code::kRefused,
                "{}: nobody can look into it ({}), and a LUKS container in it would keep its old keys; copy "
                "without --luks-new-key-file, or what lies in it by itself",
                what, why);
}

Rekeyed rekey_source(const block::Reader& source, const Rekeying& rekeying) {
    return Rekeyer(source, rekeying).run();
}

}  // namespace dupengine::engine
