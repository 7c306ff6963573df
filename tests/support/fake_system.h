#pragma once
// A copied system in memory: trees and identifiers without a disk, and a power cut after any number of
// writes.

#include <functional>
#include <map>
#include <memory>

#include "profiles/system/combined_tree.h"
#include "profiles/system/system.h"

namespace dupengine::test {

/// Counts the writes of a whole FakeSystem and cuts the power at one of them.
struct PowerCut {
    enum class How { kBeforeTheWrite, kAfterTheWrite, kTornWrite };
    unsigned writes = 0;  ///< so far
    unsigned at = 0;      ///< the write that is cut, from 1; 0: never
    How how = How::kBeforeTheWrite;
    struct Happened {};  ///< thrown; no dupengine::Error, so nothing can mistake it for one
    void before();
    void after();
    bool is_now() const { return at != 0 && writes == at; }
};

class MemoryTree final : public profiles::Tree {
  public:
    explicit MemoryTree(PowerCut& power, bool is_fat = false) : power_(power), is_fat_(is_fat) {}

    profiles::Node look(const std::string& path) const override;
    profiles::Node take(const std::string& path) const override;
    std::vector<std::string> list(const std::string& path) const override;
    void put(const std::string& path, const profiles::Node& node) override;
    void rename(const std::string& from, const std::string& to) override;
    bool renames_whole(const std::string&) const override { return !is_fat_; }
    void sweep(const std::string&) override {}
    profiles::Node as_stored(const std::string& path, const profiles::Node& node) const override;
    std::uint64_t free_bytes(const std::string&) const override { return room; }

    /// For building: makes the folders above it too.
    void add(const std::string& path, const std::string& content, unsigned mode = 0644);
    /// Says that it is that large.
    void add_huge(const std::string& path, std::uint64_t size_bytes);
    void add_link(const std::string& path, const std::string& target);
    void add_folder(const std::string& path);
    std::string text(const std::string& path) const;
    /// Everything but what is below `without`, as text that can be compared: "PATH kind mode owner content".
    std::string picture(const std::string& without = "") const;

    std::uint64_t room = 1u << 30;

  private:
    void tear(const std::string& from, const std::string& to);
    PowerCut& power_;
    bool is_fat_;
    std::map<std::string, profiles::Node> nodes_;
};

class FakeSystem final : public profiles::System {
  public:
    FakeSystem();

    const std::string& name() const override { return name_; }
    profiles::Tree& root() override { return root_files; }
    profiles::Tree& tree() override { return joined_; }
    std::string file_system_of(const std::string& path) override { return joined_.mount_point_of(path); }
    std::vector<std::string> boot_folders() override { return {"/boot", "/boot/efi"}; }
    std::vector<profiles::MountPoint> mounts() override { return mounted; }
    void choose_mounts(std::vector<profiles::MountPoint>) override {}
    const std::vector<profiles::Unsearchable>& unsearchable() const override { return closed; }
    const std::vector<profiles::Identifier>& identifiers() const override { return ids; }
    bool reaches_storage() const override { return true; }
    std::vector<profiles::PartitionId> partitions() const override { return parts; }
    std::vector<std::string> disk_names() const override { return names; }
    void choose_order(const std::vector<std::size_t>& order) override;
    void open_for_writing(const std::vector<profiles::IdentifierChange>&) override { ++opened; }
    void set_identifiers(const std::vector<profiles::IdentifierChange>& changes) override;
    void close() override {}

    std::string picture() const;
    /// Without the journal of taking up a role.
    std::string picture_of_system() const;

    PowerCut power;
    MemoryTree root_files{power}, boot_files{power, true};
    std::vector<profiles::Identifier> ids;
    std::vector<profiles::PartitionId> parts = {1, 2, 3};
    std::vector<profiles::MountPoint> mounted = {{"/boot/efi", 1}};
    std::vector<std::string> names = {"fake"};
    std::vector<profiles::Unsearchable> closed;
    unsigned opened = 0;

  private:
    std::string name_ = "fake";
    profiles::CombinedTree joined_{root_files};
};

/// A small Debian of somebody who forgot to clean it: names, keys, units, boot entries, identifiers
/// everywhere. Node "golden"; identifiers as below.
void fill_golden(FakeSystem& system);
/// Moves the ESP and the swap space to a second disk and gives the system a third one, with /home; fstab,
/// crypttab and a unit refer to them.
void spread_over_three_disks(FakeSystem& system);
/// The disk that was not given.
void take_disk_away(FakeSystem& system, std::size_t disk);
inline const std::string kGoldenHome = "eeeeeeee-5555-4555-8555-eeeeeeeeeeee";
inline const std::string kGoldenVaultPart = "ffffffff-6666-4666-8666-ffffffffffff";
inline const std::string kGoldenRoot = "aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa";
inline const std::string kGoldenSwap = "bbbbbbbb-2222-4222-8222-bbbbbbbbbbbb";
inline const std::string kGoldenEsp = "C0DE-0001";
inline const std::string kGoldenRootPart = "cccccccc-3333-4333-8333-cccccccccccc";
inline const std::string kGoldenDisk = "dddddddd-4444-4444-8444-dddddddddddd";
inline const std::string kGoldenMachine = "0123456789abcdef0123456789abcdef";

}  // namespace dupengine::test
