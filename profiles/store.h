#pragma once
// Where a profile lives and survives duplication. A store holds the profile's text, exactly as it was given,
// the node's secret and a generation that only grows. Every kind of store has the two slots of slots.h.
// Reading changes nothing; a write is durable and read back when it returns, and a cut leaves the old
// profile. One store is used by one thread at a time.

#include <memory>
#include <string>

#include "base/random.h"
#include "profiles/schema.h"
#include "profiles/slots.h"

namespace dupengine::profiles {

class ProfileStore {
  public:
    virtual ~ProfileStore() = default;
    /// As on the command line: "partition:/dev/sda".
    virtual const std::string& name() const = 0;
    /// What is in both slots. Throws kRefused if there is no such store, kSourceIo if it cannot be read.
    virtual Slots look() const = 0;
    /// Throws kRefused if there is no such store, another program uses it or the generation does not grow;
    /// otherwise as write_slot().
    virtual void write(const StoredProfile& next) = 0;

    /// The newest profile. Throws kIntegrity if no slot can be used.
    StoredProfile read() const { return newest_or_throw(look(), name()); }
};

/// The two parts of a store's name.
struct StoreSpec {
    enum class Kind { kPartition, kFile, kMemory, kVariables };
    Kind kind = Kind::kPartition;
    std::string path;  ///< or the address; empty: where the kernel has the variables
};
/// Throws kUsage unless it is "partition:DISK", "file:PATH", "memory:ADDRESS", "efivar:" or "efivar:FOLDER".
StoreSpec parse_store_spec(const std::string& spec);

/// "partition:DISK": the profile partition of a disk or raw image (stores/partition.h).
/// "file:PATH": a file (stores/file.h).
/// "memory:ADDRESS": memory that the kernel leaves alone (stores/memory.h).
/// "efivar:": variables of the firmware (stores/variables.h). Throws kUsage for anything else; opens nothing
/// yet.
std::unique_ptr<ProfileStore> open_store(const std::string& spec);

/// The profile in a store, checked; its generation is the store's. Throws kRefused if there is none yet,
/// kIntegrity if the text is no profile of a node.
Layer load_node(const StoredProfile& stored, const std::string& store_name);

/// What a new store begins with: a fresh secret, and `text` (checked; empty: no profile yet), which messages
/// call `file`. Throws kUsage for a bad text.
StoredProfile first_profile(const std::string& text, const std::string& file, RandomSource& random);

/// Puts a new text in: checks it, keeps the secret, and takes the text's own generation or, if it names none,
/// the next one. Throws kUsage for a bad text, kRefused for a generation that does not grow. Returns what is
/// stored now.
StoredProfile set_profile(ProfileStore& store, const std::string& text, const std::string& file);

}  // namespace dupengine::profiles
