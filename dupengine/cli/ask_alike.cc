#include "cli/ask_alike.h"

#include <algorithm>
#include <deque>

#include "base/units.h"
#include "block/open.h"
#include "cli/version.h"
#include "codec/page_path.h"
#include "machine/facts.h"
#include "machine/likeness.h"
#include "wire/offer.h"

namespace dupengine::cli {
namespace {

// A disk of some size, of which nobody reads anything.
class NoDisk final : public block::Reader {
  public:
    explicit NoDisk(std::uint64_t size) { geometry_.size_bytes = size; }
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset, std::span<std::byte> buffer) const override {
        std::ranges::fill(buffer, std::byte{0});
    }
    block::Extent next_data(block::Extent within) const override { return {within.end, within.end}; }

  private:
    block::Geometry geometry_;
    std::string name_ = "a question";
};

}  // namespace

std::vector<std::string> ask_alike(const wire::Address& address, const PeerOptions& peers,
                                   const std::vector<std::uint64_t>& disk_bytes,
                                   const std::stop_token& stop) {
    const std::deque<NoDisk> disks(disk_bytes.begin(), disk_bytes.end());
    std::vector<const block::Reader*> all;
    for (const NoDisk& disk : disks)
        all.push_back(&disk);
    const block::DiskRow row(std::move(all));
    wire::OfferedDisk offered{"question", row};
    if (disks.size() > 1) offered.row = row.places();
    offered.round = [](std::uint32_t) -> std::shared_ptr<const block::Changes> {
        throw_error(Code::kRefused, "this was only a question");
    };
    const std::uint64_t pages = machine::read_facts().memory_bytes / codec::kPageBytes;
    offered.memory = wire::OfferedMemory{machine::to_text(machine::read_likeness()), pages, pages, {}, true};
    SystemRandom random;
    wire::Offer offer(random);
    offer.add(offered);
    wire::AnswerOptions options;
    options.version = kVersion;
    options.stop = stop;
    const wire::Answered answered = wire::answer(call(address, peers, stop), offer, options);
    if (!answered.result) throw_error(Code::kPeer, "{}: {}", address.text(), answered.lost);
    return answered.result->notes;
}

std::vector<std::string> differences_from(const RemoteSource& source,
                                          const std::vector<std::string>& targets) {
    const wire::RemoteReader& reader = source.remote_reader();
    std::vector<std::string> found =
        machine::differences(machine::parse_likeness(reader.memory()->machine), machine::read_likeness());
    for (const std::string& obstacle : machine::obstacles_to_restoring(machine::read_facts()))
        found.push_back(obstacle);
    const std::uint64_t memory = machine::read_facts().memory_bytes;
    // What the kernel keeps for itself is not counted here, so a little more is the same.
    if (reader.memory()->ram_pages * codec::kPageBytes / 5 * 4 > memory)
        found.push_back(fmt::format("it has {} of memory, and this machine {}",
                                    format_size(reader.memory()->ram_pages * codec::kPageBytes),
                                    format_size(memory)));
    for (std::size_t i = 0; i < targets.size(); ++i) {
        const std::uint64_t there = source.disk(i).geometry().size_bytes,
                            here = block::open_source(targets[i])->geometry().size_bytes;
        // The kernel that comes knows its disk, and does not ask again how large it is.
        if (there != here)
            found.push_back(fmt::format("the disk {} has {} bytes there and {} here ({})",
                                        source.disk(i).name(), there, here, targets[i]));
    }
    return found;
}

}  // namespace dupengine::cli
