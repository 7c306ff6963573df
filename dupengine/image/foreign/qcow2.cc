// qcow2 through qemu-nbd, which is told to read this one file and no backing file, over a socket in a folder
// of ours that is gone as soon as all connections are made.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/child_program.h"
#include "base/subprocess.h"
#include "base/units.h"
#include "image/foreign/foreign_disk.h"
#include "image/foreign/nbd_connection.h"
#include "image/foreign/qcow2_tables.h"
#include "image/foreign/socket_folder.h"

namespace dupengine::image {
namespace {

using block::Extent;
using Patience = NbdConnection::Patience;

constexpr unsigned kConnections = 4;
constexpr std::uint64_t kMostRead = 4 * kMiB;
constexpr std::uint64_t kMostAsked = kGiB;

// What qemu-nbd may look at, said so that neither a name nor a header can say otherwise.
std::string only_this_file(const ForeignFile& file) {
    const nlohmann::json node = {{"driver", "file"}, {"filename", file.path()}, {"read-only", true}};
    return "json:" + nlohmann::json{{"driver", "qcow2"}, {"backing", nullptr}, {"file", node}}.dump();
}

class Qcow2Disk final : public block::Reader {
  public:
    explicit Qcow2Disk(const ForeignFile& file)
        : name_(file.name),
          program_({"qemu-nbd", "--read-only", "--shared=" + std::to_string(kConnections),
                    "--socket=" + folder_->socket(), only_this_file(file)}) {
        for (unsigned i = 0; i < kConnections; ++i) {
            connections_.push_back(connect());
            free_.push_back(connections_.back().get());
        }
        folder_.reset();
        geometry_.size_bytes = connections_.front()->size_bytes();
    }

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void set_stop(std::stop_token stop) {
        patience_.ended = [stop = std::move(stop)] { return stop.stop_requested(); };
    }

    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
            throw_error(Code::kInternal, "{}: read of {} bytes at {} passes the end", name_, buffer.size(),
                        offset);
        const Borrowed connection(*this);
        while (!buffer.empty()) {
            const auto part = buffer.first(std::min<std::size_t>(buffer.size(), kMostRead));
            connection->read(offset, part, patience_);
            buffer = buffer.subspan(part.size());
            offset += part.size();
        }
    }

    Extent next_data(Extent within) const override {
        within = within.clipped_to({0, geometry_.size_bytes});
        const std::scoped_lock lock(map_mutex_);
        while (!within.empty()) {
            if (!map_.known.contains(within.begin)) map_from(within.begin);
            const auto at = std::ranges::upper_bound(map_.data, within.begin, {}, &Extent::end);
            if (at != map_.data.end()) return at->begin < within.end ? at->clipped_to(within) : Extent{};
            within.begin = map_.known.end;
        }
        return {};
    }

  private:
    // Waits for its turn.
    class Borrowed {
      public:
        explicit Borrowed(const Qcow2Disk& disk) : disk_(disk) {
            std::unique_lock lock(disk_.free_mutex_);
            disk_.freed_.wait(lock, [&] { return !disk_.free_.empty(); });
            connection_ = disk_.free_.back();
            disk_.free_.pop_back();
        }
        ~Borrowed() {
            {
                const std::scoped_lock lock(disk_.free_mutex_);
                disk_.free_.push_back(connection_);
            }
            disk_.freed_.notify_one();
        }
        Borrowed(const Borrowed&) = delete;
        Borrowed& operator=(const Borrowed&) = delete;
        NbdConnection* operator->() const { return connection_; }

      private:
        const Qcow2Disk& disk_;
        NbdConnection* connection_ = nullptr;
    };

    // The program needs a moment until it listens.
    std::unique_ptr<NbdConnection> connect() {
        using std::chrono::steady_clock;
        constexpr std::chrono::seconds kLongest{10};
        constexpr useconds_t kPauseMicroseconds = 20'000;
        const Patience patience{kLongest, [this] { return folder_->is_to_end(); }};
        const auto until = steady_clock::now() + kLongest;
        const std::string socket = folder_->socket();
        std::string reason;
        while (steady_clock::now() < until && !program_.has_ended()) {
            if (patience.ended()) throw_error(Code::kInterrupted, "{}: opening it was stopped", name_);
            try {
                if (::access(socket.c_str(), F_OK) == 0)
                    return std::make_unique<NbdConnection>(socket, name_, patience);
            } catch (const Error& e) {
                if (e.code() != Code::kSourceIo) throw;
                reason = e.what();
            }
            ::usleep(kPauseMicroseconds);
        }
        throw_error(Code::kSourceIo, "{}: cannot be read as qcow2: {} {}", name_, reason,
                    program_.complaint());
    }

    // From `begin` on as far as one answer goes. With map_mutex_ held.
    void map_from(ByteOffset begin) const {
        const std::uint64_t asked = std::min(kMostAsked, geometry_.size_bytes - begin);
        map_ = {};
        map_ = Borrowed(*this)->map({begin, begin + asked}, patience_);
        // It only saves work: all of it may be data.
        if (map_.known.empty()) map_ = {{begin, begin + asked}, {{begin, begin + asked}}};
        map_.known.end = std::min(map_.known.end, geometry_.size_bytes);
    }

    std::string name_;
    block::Geometry geometry_;
    std::optional<SocketFolder> folder_{std::in_place};  // until all connections are made
    ChildProgram program_;
    Patience patience_;
    std::vector<std::unique_ptr<NbdConnection>> connections_;
    mutable std::mutex free_mutex_;
    mutable std::condition_variable freed_;
    mutable std::vector<NbdConnection*> free_;
    mutable std::mutex map_mutex_;
    mutable NbdConnection::Map map_;
};

// QEMU's programs tell each other by locks on bytes of the file (its block/file-posix.c) what they do to it;
// this one: it writes.
void refuse_if_in_use(const ForeignFile& file) {
    constexpr off_t kWrites = 101;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kWrites;
    lock.l_len = 1;
    if (::fcntl(file.fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        throw_error(
            Code::kRefused,
            "{}: a virtual machine, or another program of QEMU, has it open for writing; shut it down "
            "first",
            file.name);
}

// What holds the tables and counters against each other.
void refuse_if_damaged(const ForeignFile& file) {
    constexpr int kSound = 0, kOnlyWastesRoom = 3;
    const RunResult result = run_program({"qemu-img", "check", "-q", only_this_file(file)});
    if (result.status == kSound || result.status == kOnlyWastesRoom) return;
    refuse_if_in_use(file);
    throw_error(Code::kSourceIo, "{}: is damaged or cut off as qcow2 (qemu-img check: {})", file.name,
                result.complaint());
}

}  // namespace

ForeignDisk open_qcow2(const ForeignFile& file) {
    for (const char* program : {"qemu-nbd", "qemu-img"})
        if (!program_exists(program))
            throw_error(Code::kUnsupported,
                        "{}: {}, with which qcow2 is read, is not on this machine; install the package "
                        "qemu-utils",
                        file.name, program);
    refuse_if_in_use(file);
    const auto whole = block::open_source(file.path());
    refuse_if_cut_off(block::Window(*whole, {0, whole->geometry().size_bytes}, file.name));
    refuse_if_damaged(file);
    auto disk = std::make_unique<Qcow2Disk>(file);
    std::string note = fmt::format("{} holds {} in qcow2, read through qemu-nbd", file.name,
                                   format_size(disk->geometry().size_bytes));
    auto* opened = disk.get();
    return {std::move(disk), std::move(note),
            [opened](std::stop_token stop) { opened->set_stop(std::move(stop)); }};
}

}  // namespace dupengine::image
