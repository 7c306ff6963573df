// The profile store in reserved memory, on a file in the place of /dev/mem and maps that are written here.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>

#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "profiles/stores/memory.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

using ::testing::HasSubstr;

constexpr const char* kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";
constexpr std::uint64_t kMemoryBytes = 16 * kMiB;

// As a machine with 16 MiB shows itself after memmap=2M$0x800000; its firmware keeps 2 MiB at 0xc00000.
constexpr const char* kMap =
    "00000000-00000fff : Reserved\n"
    "00001000-007fffff : System RAM\n"
    "  00200000-003fffff : Kernel code\n"
    "00800000-009fffff : Reserved\n"
    "00a00000-00bfffff : System RAM\n"
    "00c00000-00dfffff : Reserved\n"
    "00e00000-00efffff : ACPI Tables\n";

class MemoryStoreTest : public ::testing::Test {
  protected:
    MemoryStoreTest() {
        write_file_atomic(paths_.kernel_map, as_bytes(kMap), 0644, Code::kInternal);
        firmware(0, 0, 0xbfffff, "System RAM");
        firmware(1, 0xc00000, 0xdfffff, "Reserved");
        firmware(2, 0xe00000, 0xefffff, "ACPI Tables");
        // What memory holds after a start is anything.
        const Fd fd = open_path(paths_.memory, O_WRONLY | O_CREAT, Code::kInternal);
        Bytes content(kMemoryBytes);
        random_.fill(content);
        pwrite_exact(fd.get(), 0, content, Code::kInternal, paths_.memory);
    }
    void firmware(unsigned number, std::uint64_t first, std::uint64_t last, const std::string& type) {
        const std::string folder = fmt::format("{}/{}", paths_.firmware_map, number);
        std::filesystem::create_directories(folder);
        const auto write = [&](const char* name, const std::string& text) {
            write_file_atomic(folder + "/" + name, as_bytes(text + "\n"), 0644, Code::kInternal);
        };
        write("start", fmt::format("{:#x}", first));
        write("end", fmt::format("{:#x}", last));
        write("type", type);
    }
    void kernel_map(const std::string& text) {
        write_file_atomic(paths_.kernel_map, as_bytes(text), 0644, Code::kInternal);
    }
    std::string memory() { return read_file(paths_.memory, Code::kInternal); }

    StoredProfile first() { return first_profile(kNode, "p.toml", random_); }
    // Refused, by every way to the store, and not a byte of memory changed.
    void expect_refused(const std::string& address, const std::string& reason) {
        const std::string before = memory();
        const auto expect = [&](auto work) {
            try {
                work();
                ADD_FAILURE() << address << " was accepted";
            } catch (const Error& e) {
                EXPECT_EQ(e.code(), Code::kRefused);
                EXPECT_THAT(e.what(), HasSubstr(reason));
            }
        };
        expect([&] { init_memory_store(address, first(), paths_); });
        expect([&] { check_new_memory_store(address, paths_); });
        expect([&] { memory_store(address, paths_)->look(); });
        expect([&] { memory_store(address, paths_)->write(first()); });
        EXPECT_TRUE(memory() == before);
    }

    test::ScratchFolder scratch_;
    MemoryPaths paths_{scratch_.file("mem"), scratch_.file("iomem"), scratch_.file("memmap")};
    SeededRandom random_{1};
};

TEST_F(MemoryStoreTest, KeepsAProfileInTheReservedRangeAndTouchesNoByteBesideIt) {
    const std::string before = memory();
    init_memory_store("0x800000", first(), paths_);
    const auto store = memory_store("0x800000", paths_);
    EXPECT_EQ(store->name(), "memory:0x800000");
    EXPECT_EQ(store->read().text, kNode);
    EXPECT_EQ(set_profile(*store, std::string(kNode) + "roles = [\"web\"]\n", "p.toml").generation, 2u);
    EXPECT_EQ(store->read().generation, 2u);
    const std::string after = memory();
    EXPECT_TRUE(after.substr(0, 0x800000) == before.substr(0, 0x800000));
    EXPECT_TRUE(after.substr(0xa00000) == before.substr(0xa00000));
}

TEST_F(MemoryStoreTest, AProfileThatIsThereIsNotMadeAnew) {
    init_memory_store("0x800000", first(), paths_);
    expect_refused("0x900000", "System RAM");
    EXPECT_THROW(init_memory_store("0x800000", first(), paths_), Error);
    EXPECT_EQ(memory_store("0x800000", paths_)->read().generation, 1u);
}

TEST_F(MemoryStoreTest, MemoryOfTheSystemIsNeverTaken) {
    expect_refused("0x200000", "'System RAM'");
    expect_refused("0x7ff000", "'System RAM'");
    expect_refused("0x801000", "'System RAM'");
}

TEST_F(MemoryStoreTest, WhatTheFirmwareKeepsForItselfIsNeverTaken) {
    expect_refused("0xc00000", "reserved by the firmware");
}

TEST_F(MemoryStoreTest, TablesAndHolesAreNeverTaken) {
    expect_refused("0xd00000", "ACPI Tables");
    expect_refused("0xe00000", "ACPI Tables");
    expect_refused("0x1000000", "no memory that the kernel leaves alone");
}

TEST_F(MemoryStoreTest, ADeviceInsideTheRangeIsSomebody) {
    kernel_map(std::string("00001000-007fffff : System RAM\n") +
               "00800000-009fffff : Reserved\n  00900000-00900fff : pnp 00:01\n");
    expect_refused("0x800000", "pnp 00:01");
}

TEST_F(MemoryStoreTest, AMapWithoutAddressesSaysNothing) {
    kernel_map("00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n");
    expect_refused("0x800000", "shows no addresses");
}

TEST_F(MemoryStoreTest, AMapThatCannotBeUnderstoodSaysNothing) {
    for (const char* line : {"rubbish\n", "00a00000-009fffff : Reserved\n", "g-h : Reserved\n"}) {
        kernel_map(std::string(kMap) + line);
        expect_refused("0x800000", "cannot be understood");
    }
}

TEST_F(MemoryStoreTest, WithoutTheFirmwaresMapNobodyKnows) {
    std::filesystem::remove_all(paths_.firmware_map);
    expect_refused("0x800000", "does not tell the firmware's memory map");
}

TEST_F(MemoryStoreTest, AnAddressIsHexadecimalAndOnAPage) {
    for (const char* address :
         {"8388608", "0x800100", "0x", "0xzz", "0x800000 ", "-0x1000", "0xffffffffffffff000"})
        EXPECT_THROW(parse_memory_address(address), Error) << address;
    EXPECT_EQ(parse_memory_address("0x18000000"), (block::Extent{0x18000000, 0x18200000}));
}

TEST_F(MemoryStoreTest, AnotherWriterIsWaitedForByNobody) {
    init_memory_store("0x800000", first(), paths_);
    const Fd other = open_path(paths_.memory, O_RDWR, Code::kInternal);
    ASSERT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
    const auto store = memory_store("0x800000", paths_);
    EXPECT_THROW(set_profile(*store, kNode, "p.toml"), Error);
    EXPECT_EQ(store->read().generation, 1u);
}

TEST_F(MemoryStoreTest, HasAName) {
    EXPECT_EQ(parse_store_spec("memory:0x18000000").kind, StoreSpec::Kind::kMemory);
    EXPECT_EQ(parse_store_spec("memory:0x18000000").path, "0x18000000");
    EXPECT_THROW(parse_store_spec("memory:"), Error);
}

}  // namespace
}  // namespace dupengine::profiles
