#include "wire/offer.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "image/reference.h"
#include "wire/answering.h"
#include "wire/fields.h"

namespace dupengine::wire {

using namespace std::chrono_literals;

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
                  disk.memory,
                  disk.row};
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

namespace {

// Ends early when it is stopped.
void pause_for(std::chrono::milliseconds time, const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop, time, [] { return false; });
}

// Whoever else answers at the address is not given the disk.
Peer call_the_same(const std::function<Peer()>& call, std::optional<codec::Sha256>& first) {
    Peer peer = call();
    if (!first) first = peer.key;
    if (*first != peer.key)
        throw_error(Code::kAuthenticity, "{}: is another machine than the one that this copy began with",
                    peer.name);
    return peer;
}

}  // namespace

AnsweredAll answer_until_done(const std::function<Peer()>& call, const Offer& offer, AnswerOptions options) {
    const Patience& patience = options.patience;
    AnsweredAll all;
    std::optional<codec::Sha256> first;
    Deadline give_up{};
    unsigned fruitless = 0;
    std::string lost;
    for (auto pause = patience.pause;; pause = std::min<std::chrono::milliseconds>(2 * pause, 5s)) {
        std::optional<Peer> peer;
        try {
            peer = call_the_same(call, first);
        } catch (const Error& e) {
            if (lost.empty() || e.code() != Code::kPeer) throw;
            lost = e.what();
        }
        if (peer) {
            const Deadline latest = after(patience.outage);
            const Answered answered = answer(std::move(*peer), offer, options);
            const bool lived = answered.was_open && std::chrono::steady_clock::now() > latest;
            all.bytes_sent += answered.bytes_sent;
            all.bytes_received += answered.bytes_received;
            if (answered.result) {
                all.result = *answered.result;
                return all;
            }
            if (answered.got_on || lived)
                fruitless = 0;
            else if (!answered.was_turned_away)
                ++fruitless;
            if (answered.got_on || lived || (answered.was_open && all.times_broken == 0)) {
                pause = patience.pause;
                give_up = after(patience.outage);
            }
            if (answered.was_open) {
                options.only_transfer = answered.transfer;
                ++all.times_broken;
            }
            lost = answered.lost;
        }
        if (fruitless > patience.fruitless || std::chrono::steady_clock::now() > give_up)
            throw_error(Code::kPeer,
                        "the connection was lost: {}; run both ends again, what came so far stays", lost);
        pause_for(pause, options.stop);
        if (options.stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request");
    }
}

}  // namespace dupengine::wire
