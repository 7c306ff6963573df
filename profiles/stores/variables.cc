#include "profiles/stores/variables.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/fd.h"
#include "machine/efi_variables.h"

namespace dupengine::profiles {
namespace {

std::string folder_or_usual(const std::string& folder) {
    if (!folder.empty()) return folder;
    if (machine::runs_from_memory()) machine::mount_efi_variables();
    return machine::kEfivarsFolder;
}

// Two that write at the same time would take one slot each, or the same one.
Fd lock(const machine::EfiVariables& variables) {
    Fd folder = open_path(variables.folder(), O_RDONLY | O_DIRECTORY, Code::kRefused);
    if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0)
        throw_errno(Code::kRefused, errno, "{}: another program changes the profile there",
                    variables.folder());
    return folder;
}

Slots read_variables(const machine::EfiVariables& variables) {
    Slots slots;
    for (unsigned i = 0; i < slot::kVariables.size(); ++i) {
        StoredProfile content;
        Slots::Slot found{SlotState::kBlank, "never written"};
        try {
            if (const auto value = variables.read(slot::kVariables[i]))
                found = decode_short_slot(as_bytes(*value), content);
        } catch (const Error& e) {
            found = {SlotState::kUnreadable, e.what()};
        }
        slots.add(i, std::move(found), std::move(content));
    }
    return slots;
}

void write_variable(machine::EfiVariables& variables, const StoredProfile& next, const std::string& name) {
    const unsigned number = slot_to_write(read_variables(variables), next, name);
    try {
        variables.write(slot::kVariables[number], std::string(as_text(encode_short_slot(next))),
                        machine::Readers::kRoot);
    } catch (Error& e) {
        e.add_context(name);
        throw;
    }
}

class VariableStore final : public ProfileStore {
  public:
    explicit VariableStore(const std::string& folder) : name_("efivar:" + folder), folder_(folder) {}
    const std::string& name() const override { return name_; }
    Slots look() const override { return read_variables(machine::EfiVariables(folder_or_usual(folder_))); }
    void write(const StoredProfile& next) override {
        machine::EfiVariables variables(folder_or_usual(folder_));
        const Fd locked = lock(variables);
        write_variable(variables, next, name_);
    }

  private:
    std::string name_;
    std::string folder_;
};

}  // namespace

std::unique_ptr<ProfileStore> variable_store(const std::string& folder) {
    return std::make_unique<VariableStore>(folder);
}

void check_new_variable_store(const std::string& folder, bool replace_damaged) {
    const auto store = variable_store(folder);
    check_replaceable(store->look(), store->name(), replace_damaged);
}

void init_variable_store(const std::string& folder, const StoredProfile& first, bool replace_damaged) {
    const std::string name = "efivar:" + folder;
    machine::EfiVariables variables(folder_or_usual(folder));
    const Fd locked = lock(variables);
    check_replaceable(read_variables(variables), name, replace_damaged);
    write_variable(variables, first, name);
}

bool has_variable_store(const std::string& folder) {
    try {
        return !variable_store(folder)->look().blank();
    } catch (const Error&) {
        return false;
    }
}

}  // namespace dupengine::profiles
