#include "image/stream_files.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/copy_bytes.h"

namespace dupengine::image {
namespace {

// What is read of the pipe at once; more than a pipe holds.
constexpr std::size_t kReadBytes = 256 * kKiB;
constexpr std::size_t kMostInMemory = 2;

}  // namespace

StreamFiles::StreamFiles(int fd, std::string name)
    : name_(std::move(name)), fd_(fd), buffer_(kReadBytes), spool_("what of the image is needed again") {
    scanner_.emplace(TarScanner::Source{[this] { return read_pipe(); }, {}}, name_);
    look_ahead();
    if (!coming_ || coming_->name.part != TarPart::kManifest)
        throw_error(Code::kIntegrity, "{}: no image begins here", name_);
    image_ = coming_->name.image;
}

void StreamFiles::set_stop(std::stop_token stop) {
    const std::scoped_lock lock(mutex_);
    stop_ = std::move(stop);
}

std::span<const std::byte> StreamFiles::read_pipe() {
    constexpr int kLookAgainMs = 200;
    for (;;) {
        if (stop_.stop_requested())
            throw_error(Code::kInterrupted, "stopped on request while waiting for {}", name_);
        pollfd polled{fd_, POLLIN, 0};
        if (::poll(&polled, 1, kLookAgainMs) == 0) continue;
        const ::ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
        if (n >= 0) return std::span(buffer_).first(static_cast<std::size_t>(n));
        // Not an error of the source's sectors: nothing that comes behind it can be had.
        if (errno != EINTR && errno != EAGAIN)
            throw_errno(Code::kIntegrity, errno, "{}: cannot be read", name_);
    }
}

int StreamFiles::rank(TarPart part) const {
    switch (part) {
        case TarPart::kManifest:
            return 1;
        case TarPart::kSignature:
            return 2;
        case TarPart::kLists:
            return 3;
        case TarPart::kPlaces:
            return 4;
        case TarPart::kPack:
            return index_passed_ ? 7 : 5;
        case TarPart::kIndex:
            return 6;
    }
    return 0;
}

void StreamFiles::look_ahead() const {
    coming_.reset();
    auto entry = scanner_->next();
    if (!entry) return;
    TarName name = parse_tar_name(name_, entry->file, entry->size_bytes);
    const int its_rank = rank(name.part);
    const bool once = name.part != TarPart::kPack;
    const bool is_foreign =
        once && name.part != TarPart::kIndex && name.part != TarPart::kManifest && name.image != image_;
    if (its_rank < last_rank_ || (once && its_rank == last_rank_) || is_foreign ||
        files_.contains(entry->file))
        throw_error(Code::kIntegrity,
                    "{}: {} does not come in the order that can be read from a pipe; save the tar in a file",
                    name_, entry->file);
    // As in TarFiles::scan.
    if (files_.size() > 16 + entry->offset / (2 * kMiB))
        throw_error(Code::kIntegrity, "{}: holds more files than an image of its size", name_);
    last_rank_ = its_rank;
    coming_ = Coming{std::move(*entry), std::move(name)};
}

// With the mutex held, as all of the following.
void StreamFiles::take() const {
    if (failure_) throw Error(*failure_);
    try {
        take_unguarded();
    } catch (Error& e) {
        // No room for what passes: perhaps when a target has been written to, so nothing that was refused.
        if (e.code() == Code::kRefused) e.set_code(Code::kUnsupported);
        failure_ = e;
        throw;
    }
}

void StreamFiles::take_unguarded() const {
    const Coming coming = std::move(*coming_);
    coming_.reset();
    Held held;
    held.place = {coming.entry.offset, coming.entry.offset + coming.entry.size_bytes};
    held.is_first = !index_passed_;
    if (coming.entry.size_bytes != 0) held.kept.insert({0, coming.entry.size_bytes});
    // It is there when all of it has come, not before: it may be cut off.
    if (coming.name.part == TarPart::kPack) {
        Bytes content = read_pack(held.place.size());
        if (auto forgotten = forgotten_ahead_.extract(coming.entry.file); forgotten && !held.is_first)
            held.kept.erase(forgotten.mapped());
        Held& there = files_[coming.entry.file] = std::move(held);
        memory_.push_back({&there, std::move(content)});
        ++packs_taken_;
    } else {
        spool(held.place);
        files_[coming.entry.file] = std::move(held);
    }
    index_passed_ = index_passed_ || coming.name.part == TarPart::kIndex;
    look_ahead();
}

Bytes StreamFiles::read_pack(std::uint64_t size_bytes) const {
    Bytes content;
    if (memory_.size() == kMostInMemory) {
        push_out();
        content = std::move(memory_.front().content);
        memory_.pop_front();
    }
    content.resize(size_bytes);
    scanner_->read(content);
    return content;
}

void StreamFiles::spool(block::Extent place) const {
    Bytes buffer(std::min<std::uint64_t>(kMiB, place.size()));
    for (ByteOffset at = place.begin; at < place.end; at += buffer.size()) {
        const auto part = std::span(buffer).first(std::min(buffer.size(), place.end - at));
        scanner_->read(part);
        spool_.write(at, part);
    }
    spooled_bytes_ += place.size();
}

// What of the oldest pack in memory is still wanted goes to the scratch file.
void StreamFiles::push_out() const {
    const auto& [held, content] = memory_.front();
    for (const block::Extent e : held->kept)
        spool_.write(held->place.begin + e.begin, std::span(content).subspan(e.begin, e.size()));
    spooled_bytes_ += held->kept.total_bytes();
}

std::optional<std::uint64_t> StreamFiles::size_of(const std::string& file) const {
    const std::scoped_lock lock(mutex_);
    const TarPart part = parse_tar_name(name_, file, 0).part;
    for (;;) {
        const auto at = files_.find(file);
        if (at != files_.end()) return at->second.place.size();
        if (failure_) throw Error(*failure_);
        const bool has_passed = coming_ && part != TarPart::kPack && rank(coming_->name.part) > rank(part);
        if (!coming_ || has_passed) return std::nullopt;
        if (coming_->entry.file == file) return coming_->entry.size_bytes;
        take();
    }
}

void StreamFiles::read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const {
    if (!size_of(file))
        throw_error(Code::kIntegrity, "{}: {} is missing, or the tar is cut off", name_, file);
    const std::scoped_lock lock(mutex_);
    auto at = files_.find(file);
    if (at == files_.end()) {
        take();
        at = files_.find(file);
    }
    const Held& held = at->second;
    if (offset > held.place.size() || held.place.size() - offset < buffer.size())
        throw_error(Code::kIntegrity, "{}: {} is cut off at byte {}", name_, file, held.place.size());
    for (const InMemory& pack : memory_)
        if (pack.held == &held) {
            copy_bytes(std::span(pack.content).subspan(offset, buffer.size()), buffer);
            return;
        }
    if (!buffer.empty() && !held.kept.contains({offset, offset + buffer.size()}))
        throw_error(Code::kIntegrity,
                    "{}: a part of {} is needed again that has passed; save the tar in a file and read that",
                    name_, file);
    spool_.read(held.place.begin + offset, buffer);
}

void StreamFiles::forget(const std::string& file, block::Extent bytes) const {
    const std::scoped_lock lock(mutex_);
    const auto at = files_.find(file);
    if (at == files_.end()) return forgotten_ahead_[file].insert(bytes);
    if (at->second.is_first) return;
    Held& held = at->second;
    held.kept.erase(bytes);
    const bool in_memory =
        std::ranges::any_of(memory_, [&](const InMemory& pack) { return pack.held == &held; });
    if (!in_memory) spool_.forget({held.place.begin + bytes.begin, held.place.begin + bytes.end});
}

void StreamFiles::take_rest(std::size_t most_packs, Rest rest) {
    const std::scoped_lock lock(mutex_);
    const auto forget_packs = [&] {
        for (InMemory& pack : memory_)
            if (rest == Rest::kForgotten) pack.held->kept.clear();
    };
    forget_packs();
    while (coming_) {
        if (coming_->name.part == TarPart::kPack && packs_taken_ == most_packs)
            throw_error(Code::kIntegrity, "{}: more comes than belongs to the image", name_);
        take();
        forget_packs();
    }
    if (failure_) throw Error(*failure_);
}

std::uint64_t StreamFiles::spooled_bytes() const {
    const std::scoped_lock lock(mutex_);
    return spooled_bytes_;
}

}  // namespace dupengine::image
