#pragma once
// What starts this machine's system, and what it can be told: to have entries for the small system beside the
// one that it starts, to start something else once or from now on, to count the starts of a system that is
// new. One implementation a loader. What a loader reads is replaced as a whole or not at all, and never names
// a file that is not there: a cut at any moment leaves a machine that starts. One thread at a time.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bootloader_hooks/small_system.h"
#include "machine/efi_variables.h"

namespace dupengine::boot {

/// Where loaders keep what is theirs.
struct Places {
    std::string root;  ///< the folder in which the system's folders are; empty: this system's
    std::string esp;   ///< the EFI system partition; empty: it is looked for below the root
    std::string efivars = machine::kEfivarsFolder;
};

struct LoaderState {
    /// Its version, if it started this machine; empty if it does not tell it.
    std::optional<std::string> started_by;
    std::optional<std::string> once;        ///< what the next start does, once
    std::optional<std::string> by_default;  ///< what every start does, if it was told here
    std::optional<std::string> tries;       ///< how many are left
    bool has_small_system = false;          ///< it has entries for it
};

class Loader {
  public:
    virtual ~Loader() = default;
    virtual std::string_view name() const = 0;
    /// What a start does that was told nothing: "what the profile says".
    virtual std::string_view usual() const = 0;
    virtual LoaderState look() const = 0;

    /// Puts the entries in place of those that it made before. Throws kRefused, with nothing changed, where
    /// the loader is not there or cannot be given these.
    virtual void install(const SmallSystem& system) = 0;
    /// Takes away all that was done here, also what install() was cut in.
    virtual void remove() = 0;

    /// Nothing: what it did before. Throws kUsage for a word that the loader does not know, kRefused for an
    /// entry that is not there.
    virtual void choose_once(const std::optional<std::string>& choice) = 0;
    virtual void choose_default(const std::optional<std::string>& choice) = 0;

    /// Throws kUsage for a number that it cannot count.
    virtual void set_tries(unsigned tries) = 0;
    /// The system came up well: nothing is counted any more. Returns how many tries were left, or nothing if
    /// none were counted.
    virtual std::optional<std::string> confirm() = 0;
};

/// By its name; without one that which started this machine or has entries of ours, and dupengine.efi where
/// none does. Throws kUsage for a name that nobody has, and as the loader where it cannot be talked to.
std::unique_ptr<Loader> find_loader(const Places& places, const std::string& name);

inline constexpr std::string_view kDupengineEfiName = "dupengine.efi", kSystemdBootName = "systemd-boot",
                                  kGrubName = "grub";

}  // namespace dupengine::boot
