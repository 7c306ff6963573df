// qcow2 through qemu-nbd, which is told to read this one file and no backing file, over a socket in a folder
// of ours that is gone as soon as all connections are made.

#include <libnbd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/child_program.h"
#include "base/subprocess.h"
#include "base/units.h"
#include "image/foreign/foreign_disk.h"

namespace dupengine::image {
namespace {

using block::Extent;

constexpr unsigned kConnections = 4;
constexpr std::uint64_t kMostRead = 4 * kMiB;
constexpr std::uint64_t kMostAsked = kGiB;

class Connection {
  public:
    Connection() : handle_(::nbd_create()) {
        if (handle_ == nullptr || ::nbd_add_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
            throw_error(Code::kInternal, "libnbd: {}", reason());
    }
    ~Connection() { ::nbd_close(handle_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    static std::string reason() {
        const char* text = ::nbd_get_error();
        return text != nullptr ? text : "?";
    }
    ::nbd_handle* get() const { return handle_; }

  private:
    ::nbd_handle* handle_;
};

// A folder that only we may look into.
class PrivateFolder {
  public:
    PrivateFolder() {
        const char* temporary = std::getenv("TMPDIR");
        path_ = fmt::format("{}/dupengine-XXXXXX",
                            temporary != nullptr && *temporary != '\0' ? temporary : "/tmp");
        if (::mkdtemp(path_.data()) == nullptr)
            throw_errno(Code::kRefused, errno, "{}: no folder for a socket can be made there", path_);
    }
    ~PrivateFolder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;
    std::string socket() const { return path_ + "/socket"; }

  private:
    std::string path_;
};

// What of a file qemu-nbd may look at, said so that neither a name nor a header can say otherwise.
std::string only_this_file(const std::string& path) {
    const nlohmann::json file = {
        {"driver", "file"}, {"filename", std::filesystem::absolute(path).string()}, {"read-only", true}};
    return "json:" + nlohmann::json{{"driver", "qcow2"}, {"backing", nullptr}, {"file", file}}.dump(
                         -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class Qcow2Disk final : public block::Reader {
  public:
    explicit Qcow2Disk(const std::string& path)
        : name_(path),
          program_({"qemu-nbd", "--read-only", "--shared=" + std::to_string(kConnections),
                    "--socket=" + folder_->socket(), only_this_file(path)}) {
        for (unsigned i = 0; i < kConnections; ++i) {
            connections_.push_back(connect());
            free_.push_back(connections_.back().get());
        }
        folder_.reset();
        const std::int64_t size = ::nbd_get_size(connections_.front()->get());
        if (size <= 0) throw_error(Code::kSourceIo, "{}: tells no size: {}", name_, Connection::reason());
        geometry_.size_bytes = static_cast<std::uint64_t>(size);
    }

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }

    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
            throw_error(Code::kInternal, "{}: read of {} bytes at {} passes the end", name_, buffer.size(),
                        offset);
        const Borrowed connection(*this);
        while (!buffer.empty()) {
            const auto part = buffer.first(std::min<std::size_t>(buffer.size(), kMostRead));
            if (::nbd_pread(connection.get(), part.data(), part.size(), offset, 0) != 0)
                throw_error(Code::kSourceIo, "{}: read of {} bytes at {} failed: {}", name_, part.size(),
                            offset, Connection::reason());
            buffer = buffer.subspan(part.size());
            offset += part.size();
        }
    }

    Extent next_data(Extent within) const override {
        within = within.clipped_to({0, geometry_.size_bytes});
        const std::scoped_lock lock(map_mutex_);
        while (!within.empty()) {
            if (!mapped_.contains(within.begin)) map_from(within.begin);
            const auto at = std::ranges::upper_bound(data_, within.begin, {}, &Extent::end);
            if (at != data_.end()) return at->begin < within.end ? at->clipped_to(within) : Extent{};
            within.begin = mapped_.end;
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
        ::nbd_handle* get() const { return connection_->get(); }

      private:
        const Qcow2Disk& disk_;
        const Connection* connection_ = nullptr;
    };

    // The program needs a moment until it listens.
    std::unique_ptr<Connection> connect() {
        constexpr unsigned kTries = 500;
        constexpr useconds_t kPauseMicroseconds = 20'000;
        std::string reason;
        for (unsigned i = 0; i < kTries && !program_.has_ended(); ++i) {
            auto connection = std::make_unique<Connection>();
            if (::access(folder_->socket().c_str(), F_OK) == 0) {
                if (::nbd_connect_unix(connection->get(), folder_->socket().c_str()) == 0) return connection;
                reason = Connection::reason();
            }
            ::usleep(kPauseMicroseconds);
        }
        throw_error(Code::kSourceIo, "{}: cannot be read as qcow2: {} {}", name_, reason,
                    program_.complaint());
    }

    // From `begin` on as far as one answer goes. With map_mutex_ held.
    void map_from(ByteOffset begin) const {
        data_.clear();
        mapped_ = {begin, begin};
        const Borrowed connection(*this);
        const std::uint64_t asked = std::min(kMostAsked, geometry_.size_bytes - begin);
        const ::nbd_extent_callback on_extents{&Qcow2Disk::take_extents, const_cast<Qcow2Disk*>(this),
                                               nullptr};
        if (::nbd_block_status(connection.get(), asked, begin, on_extents, 0) != 0 || mapped_.empty()) {
            // It only saves work: all of it may be data.
            mapped_ = {begin, begin + asked};
            data_ = {mapped_};
        }
        mapped_.end = std::min(mapped_.end, geometry_.size_bytes);
    }
    // Pairs of length and flags.
    static int take_extents(void* user, const char* context, std::uint64_t offset, std::uint32_t* entries,
                            std::size_t count, int*) {
        auto& disk = *static_cast<const Qcow2Disk*>(user);
        if (std::string_view(context) != LIBNBD_CONTEXT_BASE_ALLOCATION) return 0;
        for (std::size_t i = 0; i + 1 < count; i += 2) {
            const Extent extent{offset, offset + entries[i]};
            offset = extent.end;
            disk.mapped_.end = std::max(disk.mapped_.end, extent.end);
            if (extent.empty() || (entries[i + 1] & LIBNBD_STATE_ZERO) != 0) continue;
            if (!disk.data_.empty() && disk.data_.back().end == extent.begin)
                disk.data_.back().end = extent.end;
            else
                disk.data_.push_back(extent);
        }
        return 0;
    }

    std::string name_;
    block::Geometry geometry_;
    std::optional<PrivateFolder> folder_{std::in_place};
    ChildProgram program_;
    std::vector<std::unique_ptr<Connection>> connections_;
    mutable std::mutex free_mutex_;
    mutable std::condition_variable freed_;
    mutable std::vector<const Connection*> free_;
    mutable std::mutex map_mutex_;
    mutable Extent mapped_;
    mutable std::vector<Extent> data_;  // of what is mapped
};

// QEMU reads zeros where the file ends before the data that its tables name: whoever copies would not notice.
void refuse_if_damaged(const std::string& path) {
    constexpr int kSound = 0, kOnlyWastesRoom = 3;
    const RunResult result = run_program({"qemu-img", "check", "-q", only_this_file(path)});
    if (result.status != kSound && result.status != kOnlyWastesRoom)
        throw_error(Code::kSourceIo, "{}: is damaged or cut off as qcow2 (qemu-img check: {})", path,
                    result.complaint());
}

}  // namespace

ForeignDisk open_qcow2(const std::string& path) {
    if (!program_exists("qemu-nbd"))
        throw_error(Code::kUnsupported,
                    "{}: qemu-nbd, which reads qcow2, is not on this machine; install the package qemu-utils",
                    path);
    refuse_if_damaged(path);
    auto disk = std::make_unique<Qcow2Disk>(path);
    std::string note = fmt::format("{} holds {} in qcow2, read through qemu-nbd", path,
                                   format_size(disk->geometry().size_bytes));
    return {std::move(disk), std::move(note)};
}

}  // namespace dupengine::image
