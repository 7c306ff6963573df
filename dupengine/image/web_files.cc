#include "image/web_files.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <thread>

#include "base/copy_bytes.h"
#include "image/web_server.h"

namespace dupengine::image {
namespace {

// Announcements cost memory as well.
constexpr std::size_t kMostParts = 4096;

void prepare_libcurl() {
    static const bool is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    if (!is_ready) throw_error(Code::kInternal, "libcurl cannot be used");
}

// While it lives, threads are started that take no signals: these are for whoever waits for them, and a
// connection that breaks is told by its error.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};

// What one request is to bring.
struct Part {
    std::string file;
    ByteOffset offset = 0;
    std::span<std::byte> bytes;         // where to
    Bytes own;                          // that memory, of what was announced
    bool is_look = false;               // only the size is asked for
    std::optional<std::uint64_t> size;  // the answer to that
    std::size_t unread = 0;             // of what was announced
    unsigned readers = 0;               // that wait for it
    bool is_done = false;
    std::optional<Error> error;

    ByteOffset end() const { return offset + bytes.size(); }
};
using Shared = std::shared_ptr<Part>;

class WebFiles final : public Files {
  public:
    WebFiles(const std::string& address, const WebOptions& options) : server_(address, options) {
        prepare_libcurl();
        std::vector<std::shared_ptr<WebClient>> clients;
        for (unsigned i = 0; i < kWebConnections; ++i)
            clients.push_back(std::make_shared<WebClient>(options, [this] { return server_.is_stopped(); }));
        const SignalsBlocked blocked;
        for (const auto& client : clients)
            workers_.emplace_back([this, client] { work(*client); });
    }

    ~WebFiles() override {
        server_.end();
        {
            const std::scoped_lock lock(mutex_);
            is_ending_ = true;
        }
        has_work_.notify_all();
        for (std::thread& worker : workers_)
            worker.join();
    }
    WebFiles(const WebFiles&) = delete;
    WebFiles& operator=(const WebFiles&) = delete;

    const std::string& name() const override { return server_.name(); }
    std::optional<std::uint64_t> size_of(const std::string& file) const override;
    void read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const override;
    void will_read(const std::string& file, ByteOffset offset, std::size_t bytes) const override;
    void set_stop(std::stop_token stop) override { server_.set_stop(std::move(stop)); }

  private:
    using Lock = std::unique_lock<std::mutex>;
    void work(WebClient& client);
    void run_now(const Shared& part) const;
    Shared announced_at(const std::string& file, ByteOffset offset) const;
    ByteOffset next_announced(const std::string& file, ByteOffset from, ByteOffset to) const;
    void take(const Shared& part, ByteOffset offset, std::span<std::byte> buffer, Lock& lock) const;
    void forget(const Shared& part) const;
    void make_room(std::size_t bytes) const;

    mutable WebServer server_;
    mutable std::mutex mutex_;  // of all that follows
    mutable std::condition_variable has_work_, has_come_;
    mutable std::deque<Shared> queue_;
    mutable std::list<Shared> announced_;  // in the order of announcing; they do not overlap
    mutable std::size_t announced_bytes_ = 0;
    bool is_ending_ = false;
    std::vector<std::thread> workers_;
};

void WebFiles::work(WebClient& client) {
    Lock lock(mutex_);
    for (;;) {
        has_work_.wait(lock, [&] { return is_ending_ || !queue_.empty(); });
        if (is_ending_) return;
        const Shared part = queue_.front();
        queue_.pop_front();
        lock.unlock();
        std::optional<Error> error;
        try {
            if (part->is_look)
                part->size = server_.look(client, part->file);
            else
                server_.read(client, part->file, part->offset, part->bytes);
        } catch (const Error& e) {
            error = e;
        } catch (const std::exception& e) {
            error = Error(Code::kInternal, e.what());
        }
        lock.lock();
        part->error = error;
        part->is_done = true;
        has_come_.notify_all();
    }
}

// In front of all that is only announced.
void WebFiles::run_now(const Shared& part) const {
    Lock lock(mutex_);
    queue_.push_front(part);
    has_work_.notify_one();
    has_come_.wait(lock, [&] { return part->is_done; });
    if (part->error) throw Error(*part->error);
}

std::optional<std::uint64_t> WebFiles::size_of(const std::string& file) const {
    const auto part = std::make_shared<Part>();
    part->file = file;
    part->is_look = true;
    run_now(part);
    return part->size;
}

// With the mutex held, as all that follows but read() and will_read().
Shared WebFiles::announced_at(const std::string& file, ByteOffset offset) const {
    const auto at = std::ranges::find_if(announced_, [&](const Shared& part) {
        return part->offset <= offset && offset < part->end() && part->file == file;
    });
    return at == announced_.end() ? nullptr : *at;
}

ByteOffset WebFiles::next_announced(const std::string& file, ByteOffset from, ByteOffset to) const {
    for (const Shared& part : announced_)
        if (part->offset > from && part->offset < to && part->file == file) to = part->offset;
    return to;
}

void WebFiles::forget(const Shared& part) const {
    const auto at = std::ranges::find(announced_, part);
    if (at == announced_.end()) return;
    announced_bytes_ -= part->bytes.size();
    announced_.erase(at);
    std::erase(queue_, part);
}

void WebFiles::make_room(std::size_t bytes) const {
    while (announced_bytes_ + bytes > kMostAhead || announced_.size() >= kMostParts) {
        const auto oldest =
            std::ranges::find_if(announced_, [](const Shared& part) { return part->readers == 0; });
        if (oldest == announced_.end()) return;
        forget(*oldest);
    }
}

// Waits for what was announced.
void WebFiles::take(const Shared& part, ByteOffset offset, std::span<std::byte> buffer, Lock& lock) const {
    // Nobody works on it yet: it becomes the first.
    if (const auto queued = std::ranges::find(queue_, part); queued != queue_.end()) {
        queue_.erase(queued);
        queue_.push_front(part);
    }
    ++part->readers;
    has_come_.wait(lock, [&] { return part->is_done; });
    --part->readers;
    if (part->error) {
        forget(part);
        throw Error(*part->error);
    }
    lock.unlock();
    copy_bytes(part->bytes.subspan(offset - part->offset, buffer.size()), buffer);
    lock.lock();
    part->unread -= std::min(part->unread, buffer.size());
    if (part->unread == 0) forget(part);
}

void WebFiles::read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const {
    while (!buffer.empty()) {
        std::size_t size = buffer.size();
        {
            Lock lock(mutex_);
            if (const Shared part = announced_at(file, offset)) {
                size = std::min(size, part->end() - offset);
                take(part, offset, buffer.first(size), lock);
                offset += size;
                buffer = buffer.subspan(size);
                continue;
            }
            size = next_announced(file, offset, offset + size) - offset;
        }
        const auto part = std::make_shared<Part>();
        part->file = file;
        part->offset = offset;
        part->bytes = buffer.first(size);
        run_now(part);
        offset += size;
        buffer = buffer.subspan(size);
    }
}

void WebFiles::will_read(const std::string& file, ByteOffset offset, std::size_t bytes) const {
    const Lock lock(mutex_);
    const ByteOffset end = offset + bytes;
    while (offset < end) {
        if (const Shared known = announced_at(file, offset)) {
            offset = known->end();
            continue;
        }
        const auto part = std::make_shared<Part>();
        part->file = file;
        part->offset = offset;
        const std::size_t size = next_announced(file, offset, end) - offset;
        make_room(size);
        if (size > kMostAhead - announced_bytes_ || announced_.size() >= kMostParts) return;
        part->own.resize(size);
        part->bytes = part->own;
        part->unread = size;
        announced_bytes_ += size;
        announced_.push_back(part);
        queue_.push_back(part);
        has_work_.notify_one();
        offset += size;
    }
}

}  // namespace

std::unique_ptr<Files> open_web(const std::string& address, const WebOptions& options) {
    return std::make_unique<WebFiles>(address, options);
}

}  // namespace dupengine::image
