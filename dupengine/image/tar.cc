#include "image/tar.h"

#include <archive.h>
#include <archive_entry.h>

#include <exception>

namespace dupengine::image {
namespace {

// What libarchive hands over at once.
constexpr int kBlockBytes = static_cast<int>(kMiB);
// Two of these, all zero, end an archive.
constexpr std::uint64_t kRecordBytes = 512;

using Entry = std::unique_ptr<archive_entry, decltype(&::archive_entry_free)>;

}  // namespace

// Exceptions cannot pass through libarchive: they wait in `failure` until it has returned.
struct TarWriter::State {
    Append append;
    std::int64_t modified = 0;
    std::unique_ptr<archive, decltype(&::archive_write_free)> handle{nullptr, ::archive_write_free};
    std::exception_ptr failure;

    static la_ssize_t on_write(archive*, void* data, const void* bytes, std::size_t size) {
        auto& state = *static_cast<State*>(data);
        try {
            state.append({static_cast<const std::byte*>(bytes), size});
            return static_cast<la_ssize_t>(size);
        } catch (...) {
            state.failure = std::current_exception();
            return -1;
        }
    }
    void check(la_ssize_t status) const {
        if (status >= ARCHIVE_OK) return;
        if (failure) std::rethrow_exception(failure);
        const char* reason = ::archive_error_string(handle.get());
        throw_error(Code::kInternal, "the tar cannot be written: {}", reason != nullptr ? reason : "?");
    }
};

TarWriter::TarWriter(Append append, std::int64_t modified) : state_(std::make_unique<State>()) {
    state_->append = std::move(append);
    state_->modified = modified;
    state_->handle.reset(::archive_write_new());
    archive* handle = state_->handle.get();
    if (handle == nullptr) throw_error(Code::kInternal, "libarchive gives no tar to write");
    state_->check(::archive_write_set_format_pax_restricted(handle));
    state_->check(::archive_write_set_bytes_per_block(handle, kBlockBytes));
    state_->check(::archive_write_set_bytes_in_last_block(handle, 1));
    state_->check(::archive_write_open(handle, state_.get(), nullptr, State::on_write, nullptr));
}

TarWriter::~TarWriter() {
    // Without this, giving it free would complete the archive.
    ::archive_write_fail(state_->handle.get());
}

void TarWriter::begin(const std::string& file, std::uint64_t size_bytes) {
    const Entry entry(::archive_entry_new(), ::archive_entry_free);
    ::archive_entry_set_pathname(entry.get(), file.c_str());
    ::archive_entry_set_filetype(entry.get(), AE_IFREG);
    ::archive_entry_set_perm(entry.get(), 0644);
    ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size_bytes));
    ::archive_entry_set_mtime(entry.get(), state_->modified, 0);
    state_->check(::archive_write_header(state_->handle.get(), entry.get()));
}

void TarWriter::append(std::span<const std::byte> bytes) {
    const la_ssize_t done = ::archive_write_data(state_->handle.get(), bytes.data(), bytes.size());
    state_->check(done);
    if (static_cast<std::size_t>(done) != bytes.size())
        throw_error(Code::kInternal, "more was put into a file of a tar than was announced");
}

void TarWriter::add(const std::string& file, std::span<const std::byte> content) {
    begin(file, content.size());
    append(content);
}

void TarWriter::finish() {
    state_->check(::archive_write_close(state_->handle.get()));
}

struct TarScanner::State {
    Source source;
    std::string name;
    std::unique_ptr<archive, decltype(&::archive_read_free)> handle{nullptr, ::archive_read_free};
    std::exception_ptr failure;
    ByteOffset end = 0;  // of the file that was found last, with what fills it up

    static la_ssize_t on_read(archive*, void* data, const void** bytes) {
        auto& state = *static_cast<State*>(data);
        try {
            const auto got = state.source.read();
            *bytes = got.data();
            return static_cast<la_ssize_t>(got.size());
        } catch (...) {
            state.failure = std::current_exception();
            return -1;
        }
    }
    static la_int64_t on_skip(archive*, void* data, la_int64_t size) {
        static_cast<State*>(data)->source.skip(static_cast<std::uint64_t>(size));
        return size;
    }
    [[noreturn]] void refuse() const {
        if (failure) std::rethrow_exception(failure);
        const char* reason = ::archive_error_string(handle.get());
        throw_error(Code::kIntegrity, "{}: no image in a tar, or a damaged one: {}", name,
                    reason != nullptr ? reason : "?");
    }
    [[noreturn]] void refuse_cut() const { throw_error(Code::kIntegrity, "{}: the tar is cut off", name); }
    ByteOffset position() const { return static_cast<ByteOffset>(::archive_filter_bytes(handle.get(), 0)); }
};

TarScanner::TarScanner(Source source, std::string name) : state_(std::make_unique<State>()) {
    state_->source = std::move(source);
    state_->name = std::move(name);
    state_->handle.reset(::archive_read_new());
    archive* handle = state_->handle.get();
    if (handle == nullptr || ::archive_read_support_format_tar(handle) != ARCHIVE_OK ||
        ::archive_read_set_callback_data(handle, state_.get()) != ARCHIVE_OK ||
        ::archive_read_set_read_callback(handle, State::on_read) != ARCHIVE_OK)
        throw_error(Code::kInternal, "libarchive gives no tar to read");
    if (state_->source.skip) ::archive_read_set_skip_callback(handle, State::on_skip);
    if (::archive_read_open1(handle) != ARCHIVE_OK) state_->refuse();
}

TarScanner::~TarScanner() = default;

std::optional<TarScanner::Entry> TarScanner::next() {
    archive_entry* entry = nullptr;
    const int status = ::archive_read_next_header(state_->handle.get(), &entry);
    if (status == ARCHIVE_EOF) {
        // A tar that just ends is an end for libarchive as well; a whole one says that it ends.
        if (state_->position() < state_->end + 2 * kRecordBytes) state_->refuse_cut();
        return std::nullopt;
    }
    if (status != ARCHIVE_OK) state_->refuse();
    const char* path = ::archive_entry_pathname(entry);
    if (path == nullptr || ::archive_entry_filetype(entry) != AE_IFREG ||
        ::archive_entry_hardlink(entry) != nullptr || ::archive_entry_sparse_count(entry) != 0 ||
        !::archive_entry_size_is_set(entry) || ::archive_entry_size(entry) < 0)
        throw_error(Code::kIntegrity, "{}: holds something else than plain files", state_->name);
    Entry found{path, static_cast<std::uint64_t>(::archive_entry_size(entry)), state_->position()};
    state_->end = align_up(checked_add(found.offset, found.size_bytes, "a file of a tar"), kRecordBytes);
    return found;
}

void TarScanner::read(std::span<std::byte> buffer) {
    const la_ssize_t got = ::archive_read_data(state_->handle.get(), buffer.data(), buffer.size());
    if (state_->failure) std::rethrow_exception(state_->failure);
    if (got < 0 || static_cast<std::size_t>(got) != buffer.size()) state_->refuse_cut();
}

}  // namespace dupengine::image
