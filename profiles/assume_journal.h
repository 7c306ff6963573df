#pragma once
// The journal of taking up a role: /var/lib/dupengine/assume in the copied system's root file system. It says
// what is being done, holds every file as it was (kept until the next run, for undo) and as it will be (until
// the run is complete), and what was drawn for this copy.
//
//   state          first line "dupengine-assume 1 HMAC", then JSON; replaced as a whole
//   RUN/before-N   the N-th file as it was
//   RUN/after-N    the N-th file as it will be
//   RUN/there-N-M, RUN/back-N-M   the M-th file that the N-th rename moves, on FAT
//
// HMAC is HMAC-SHA-256 of the JSON under the node's secret: a journal that was copied from a source, or made
// by anybody else, is not ours and is never acted on. It also names the disk that it was written on, and the
// others that the role was taken up on at once.

#include <optional>

#include "profiles/assume.h"

namespace dupengine::profiles {

enum class AssumePhase {
    kApplying,
    kDone,
    kUndoing,
    kUndone  ///< all is as it was; only the journal itself is still there
};

/// What a rename on FAT moves, so that it can be put there again: nobody knows what a cut leaves of it.
struct SavedNode {
    std::string path;  ///< below what is renamed; empty: itself
    NodeKind kind = NodeKind::kAbsent;
    std::string digest, image;  ///< files; image: its name in the folder of the run
};
struct SavedRename {
    std::size_t rename = 0;             ///< which of AssumeRecord::renames
    std::vector<std::string> siblings;  ///< the names beside it
    std::vector<SavedNode> nodes;       ///< a folder before what is in it; empty if there was nothing
};

struct RecordedDisk {
    std::string name;           ///< as it was called in that run
    std::string before, after;  ///< disk GUID or signature
    bool has(const std::string& identity) const { return identity == before || identity == after; }
};

struct AssumeRecord {
    AssumePhase phase = AssumePhase::kApplying;
    std::string node;
    std::uint64_t generation = 0;
    std::vector<RecordedDisk> disks;        ///< in their order; empty without any
    std::string run;                        ///< the folder of the images
    std::vector<std::string> made_folders;  ///< above the journal; removed with it
    std::vector<MountPoint> mounts;
    std::map<std::string, std::string> remembered;
    std::vector<RenameAction> renames;
    std::vector<PutAction> puts;  ///< files without content: read_before() and read_after() have it
    std::vector<IdentifierChange> identifiers;
    std::vector<std::string> digests_before,
        digests_after;  ///< of each put's content; empty if it is no file
    std::vector<SavedRename> saved;
    std::set<std::string> left_alone;  ///< what the undo under way does not bring back
};

class AssumeJournal {
  public:
    AssumeJournal(System& system, const NodeSecret& secret) : system_(system), secret_(secret) {}

    /// Ours, or nothing. Throws kRefused for one that is not ours and was left in the middle.
    std::optional<AssumeRecord> load() const;
    /// The same, whatever another one says.
    std::optional<AssumeRecord> load_ours() const;
    /// Writes the images, then the state. From here on the next run knows what to do.
    AssumeRecord begin(const AssumePlan& plan);
    void set_phase(AssumeRecord& record, AssumePhase phase);
    /// Done: images of what will be, and of earlier runs, are not needed any more.
    void finish(AssumeRecord& record);
    /// Whether begin() was cut before the state was written, or finish() after.
    bool has_leftovers() const;
    void remove_leftovers();
    /// In the root tree, links followed.
    std::string folder() const;
    /// Nothing is left of the journal, nor of the folders that were made for it.
    void erase(const AssumeRecord& record);

    /// Saves what the renames of a role that was taken up will move back. The next set_phase() makes it
    /// count.
    void save_for_the_way_back(AssumeRecord& record);
    std::string read_saved(const AssumeRecord& record, const SavedNode& node) const;

    /// The N-th put's node with its content. Throws kIntegrity if the image is not what was written.
    Node read_before(const AssumeRecord& record, std::size_t n) const;
    Node read_after(const AssumeRecord& record, std::size_t n) const;

  private:
    std::string state_text() const;
    std::vector<std::string> leftovers(const std::string& run_in_use) const;
    std::vector<std::string> leftovers_at_rest() const;
    SavedRename save(const Tree& tree, const std::string& path, std::size_t rename, const std::string& run,
                     const std::string& prefix);
    void write_state(const AssumeRecord& record);
    void make_folder(const std::string& path, unsigned mode, std::vector<std::string>& made);
    void remove_folder(const std::string& path);
    Node read_image(const AssumeRecord& record, const Node& node, const std::string& digest,
                    const std::string& name) const;

    System& system_;
    const NodeSecret& secret_;
};

}  // namespace dupengine::profiles
