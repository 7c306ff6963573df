#include "layout/ext_filesystem.h"

#include <charconv>
#include <cstring>
#include <string>

namespace dupengine::layout {

// What libext2fs holds as its channel. The C structure comes first, so that a pointer to it is a pointer to
// this.
struct ExtFilesystem::Channel {
    struct_io_channel base{};
    struct_io_manager manager{};
    const block::Reader* reader = nullptr;
    std::string name;
    std::exception_ptr failure;  // kept while C code is on the stack
};

namespace {

using Channel = ExtFilesystem::Channel;

Channel& channel_of(io_channel channel) {
    return *static_cast<Channel*>(channel->private_data);
}

// libext2fs hands nothing but a name to open(): the name is the address of our channel.
errcode_t open_channel(const char* name, int, io_channel* result) {
    std::uintptr_t address = 0;
    const char* end = name + std::strlen(name);
    if (std::from_chars(name, end, address, 16).ptr != end) return EXT2_ET_BAD_DEVICE_NAME;
    *result = &reinterpret_cast<Channel*>(address)->base;
    return 0;
}

errcode_t close_channel(io_channel) {
    return 0;
}  // ExtFilesystem owns it

errcode_t set_block_size(io_channel channel, int block_bytes) {
    channel->block_size = block_bytes;
    return 0;
}

// A negative count is a count of bytes (ext2_io.h).
errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* data) {
    Channel& self = channel_of(channel);
    const auto unit = static_cast<std::uint64_t>(channel->block_size);
    const auto size =
        count < 0 ? std::uint64_t(-std::int64_t{count}) : static_cast<std::uint64_t>(count) * unit;
    const std::uint64_t limit = self.reader->geometry().size_bytes;
    std::uint64_t offset;
    if (__builtin_mul_overflow(block, unit, &offset) || offset > limit || size > limit - offset)
        return EXT2_ET_SHORT_READ;
    try {
        self.reader->read(offset, {static_cast<std::byte*>(data), size});
        return 0;
    } catch (...) {
        self.failure = std::current_exception();
        return EXT2_ET_SHORT_READ;
    }
}

errcode_t read_blocks_32(io_channel channel, unsigned long block, int count, void* data) {
    return read_blocks(channel, block, count, data);
}

errcode_t write_blocks(io_channel, unsigned long, int, const void*) {
    return EXT2_ET_RO_FILSYS;
}
errcode_t write_blocks_64(io_channel, unsigned long long, int, const void*) {
    return EXT2_ET_RO_FILSYS;
}
errcode_t flush_channel(io_channel) {
    return 0;
}

std::unique_ptr<Channel> make_channel(const block::Reader& part) {
    auto channel = std::make_unique<Channel>();
    channel->reader = &part;
    channel->name = fmt::format("{:x}", reinterpret_cast<std::uintptr_t>(channel.get()));
    struct_io_manager& manager = channel->manager;
    manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
    manager.name = "dupengine reader";
    manager.open = open_channel;
    manager.close = close_channel;
    manager.set_blksize = set_block_size;
    manager.read_blk = read_blocks_32;
    manager.read_blk64 = read_blocks;
    manager.write_blk = write_blocks;
    manager.write_blk64 = write_blocks_64;
    manager.flush = flush_channel;
    channel->base.magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->base.manager = &manager;
    channel->base.name = channel->name.data();
    channel->base.block_size = 1024;
    channel->base.refcount = 1;
    channel->base.private_data = channel.get();
    return channel;
}

// Registers the texts of libext2fs with com_err, once.
std::string error_text(errcode_t code) {
    static const bool registered = (initialize_ext2_error_table(), true);
    return registered ? error_message(code) : "";
}

}  // namespace

ExtFilesystem::ExtFilesystem(const block::Reader& part) : channel_(make_channel(part)) {
    // No EXT2_FLAG_RW, no exclusive open, no writing of anything; 64-bit bitmaps are a condition for
    // bigalloc.
    check(ext2fs_open2(channel_->name.c_str(), nullptr, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0,
                       &channel_->manager, &filesystem_),
          "it cannot be opened");
}

ExtFilesystem::~ExtFilesystem() {
    if (filesystem_ != nullptr) ext2fs_free(filesystem_);  // and not ext2fs_close, which would want to write
}

void ExtFilesystem::check(errcode_t code, const char* what) const {
    if (code == 0) return;
    if (channel_->failure) std::rethrow_exception(std::exchange(channel_->failure, nullptr));
    throw_error(Code::kIntegrity, "{}: {}", what, error_text(code));
}

}  // namespace dupengine::layout
