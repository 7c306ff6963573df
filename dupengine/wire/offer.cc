#include "wire/offer.h"

#include <algorithm>

#include "image/reference.h"
#include "wire/answering.h"
#include "wire/fields.h"

namespace dupengine::wire {

namespace {

// Takes as long for any two.
bool is_same(const Token& a, const Token& b) {
    std::byte different{0};
    for (std::size_t i = 0; i < a.size(); ++i)
        different |= a[i] ^ b[i];
    return different == std::byte{0};
}

}  // namespace

Offer::Offer(RandomSource& random) {
    random.fill(key_);
}

void Offer::add(OfferedDisk disk) {
    if (!image::is_image_name(disk.name))
        throw_error(Code::kUsage,
                    "'{}' cannot be the name of an offer: letters, digits, '-', '_' and '.', at most 64",
                    disk.name);
    const auto same = [&](const OfferedDisk& other) { return other.name == disk.name; };
    if (std::ranges::any_of(disks_, same)) throw_error(Code::kUsage, "'{}' is offered twice", disk.name);
    disks_.push_back(std::move(disk));
}

const OfferedDisk& Offer::find(const std::string& name) const {
    if (name.empty() && disks_.size() == 1) return disks_.front();
    const auto found =
        std::ranges::find_if(disks_, [&](const OfferedDisk& disk) { return disk.name == name; });
    if (found != disks_.end()) return *found;
    std::string names;
    for (const OfferedDisk& disk : disks_)
        names += (names.empty() ? "" : ", ") + disk.name;
    throw_error(Code::kRefused, "there is no offer '{}' here; there is {}", name,
                names.empty() ? "none" : names);
}

Offer::Admitted Offer::admit(const Open& open, const codec::Sha256& peer) const {
    const OfferedDisk& disk = find(open.source);
    const std::string change = disk.change ? disk.change() : "";
    if (!change.empty())
        throw_error(open.resume == Token{} ? Code::kRefused : Code::kIntegrity, "{}: {} since it was offered",
                    disk.reader.name(), change);
    FieldWriter what;
    what.text("dupengine transfer");
    what.text(disk.name);
    what.raw(open.transfer);
    what.raw(peer);
    Opened opened{disk.reader.geometry(),
                  disk.reader.name(),
                  {},
                  codec::hmac_sha256(key_, what.take()),
                  disk.is_busy,
                  disk.could_change_unseen,
                  disk.round != nullptr,
                  disk.memory};
    if (open.resume != Token{} && !is_same(open.resume, opened.resume))
        throw_error(Code::kRefused, "{}: what was begun was another transfer than this one",
                    disk.reader.name());
    const std::string state = disk.state ? disk.state() : "";
    if (!state.empty()) opened.state = codec::sha256(as_bytes(state));
    return {disk, opened};
}

Answered answer(Peer peer, const Offer& offer, const AnswerOptions& options) {
    return Answering(std::move(peer), offer, options).run();
}

}  // namespace dupengine::wire
