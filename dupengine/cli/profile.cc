// dupengine profile: init, show, set, sign, validate. See dupengine-profile(8).

#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/profile_text.h"
#include "profiles/signed_text.h"
#include "profiles/stores/file.h"
#include "profiles/stores/memory.h"
#include "profiles/stores/partition_init.h"
#include "profiles/stores/variables.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;
using namespace dupengine::profiles;

// Everything that the sub-verbs may be given.
struct Options {
    std::string store;
    std::string size;  // empty: the default
    std::string from;
    std::string key;
    unsigned number = 0;  // 0: the default
    bool replace_damaged = false;
    bool explain = false;
    std::vector<std::string> role_folders;
    std::vector<std::string> files;
};

void print_json(const ordered_json& json) {
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}
void print_warning(const std::string& text) {
    if (!text.empty()) fmt::print(stderr, "dupengine: {}\n", text);
}

std::string read_profile_file(const std::string& path) {
    std::string text = read_file(path, Code::kUsage, kProfileTextLimit);
    if (text.empty()) throw_error(Code::kUsage, "{}: is empty", path);
    return text;
}

// -- init
// -----------------------------------------------------------------------------------------------------------

ordered_json partition_json(const PartitionPlan& plan) {
    return {{"number", plan.partition.number},      {"guid", plan.partition.guid.text()},
            {"begin", plan.partition.extent.begin}, {"end", plan.partition.extent.end},
            {"new_table", plan.new_table},          {"new_partition", plan.new_partition},
            {"taken_up", plan.profile_is_there}};
}

std::string partition_text(const PartitionPlan& plan) {
    return fmt::format("partition {} {}, {}{}", plan.partition.number, plan.partition.extent.text(),
                       format_size(plan.partition.extent.size()),
                       plan.profile_is_there ? ", taken up where an earlier init was cut"
                       : plan.new_table      ? ", in a new GPT"
                       : plan.new_partition  ? ", new in the GPT"
                                             : ", there already");
}

void report_init(const Globals& globals, const Options& options, const StoredProfile& first,
                 const PartitionPlan* plan) {
    const bool filled = !first.text.empty();
    if (globals.json) {
        ordered_json json = {{"result", globals.dry_run ? "planned" : "ok"},
                             {"store", options.store},
                             {"generation", first.generation},
                             {"has_profile", filled}};
        if (plan != nullptr) json["partition"] = partition_json(*plan);
        return print_json(json);
    }
    fmt::print("{} {}", globals.dry_run ? "would make" : "made", options.store);
    if (plan != nullptr) fmt::print(": {}", partition_text(*plan));
    fmt::print("\n");
    if (!filled)
        fmt::print("it holds no profile yet: dupengine profile set --store {} FILE.toml\n", options.store);
}

void init_without_table(const Globals& globals, const Options& options, const StoreSpec& spec,
                        const StoredProfile& first) {
    if (spec.kind == StoreSpec::Kind::kMemory)
        return globals.dry_run ? check_new_memory_store(spec.path) : init_memory_store(spec.path, first);
    if (spec.kind == StoreSpec::Kind::kVariables)
        return globals.dry_run ? check_new_variable_store(spec.path, options.replace_damaged)
                               : init_variable_store(spec.path, first, options.replace_damaged);
    return globals.dry_run ? check_new_file_store(spec.path, options.replace_damaged)
                           : init_file_store(spec.path, first, options.replace_damaged);
}

int run_init(const Globals& globals, const Options& options) {
    const StoreSpec spec = parse_store_spec(options.store);
    SystemRandom random;
    const std::string text = options.from.empty() ? "" : read_profile_file(options.from);
    const StoredProfile first = first_profile(text, options.from, random);
    if (spec.kind != StoreSpec::Kind::kPartition) {
        if (!options.size.empty() || options.number != 0)
            throw_error(Code::kUsage, "--size and --number are for partition: stores only");
        init_without_table(globals, options, spec, first);
        report_init(globals, options, first, nullptr);
        return 0;
    }
    PartitionRequest request;
    if (!options.size.empty()) request.size_bytes = parse_size(options.size);
    if (options.number != 0) request.number = options.number;
    request.replace_damaged = options.replace_damaged;
    const PartitionPlan plan = prepare_partition_store(spec.path, request, first, random);
    if (!globals.dry_run) init_partition_store(spec.path, plan, first);
    report_init(globals, options, first, &plan);
    return 0;
}

// -- show
// -----------------------------------------------------------------------------------------------------------

int run_show(const Globals& globals, const Options& options) {
    const auto store = open_store(options.store);
    const Slots slots = store->look();
    const StoredProfile stored = newest_or_throw(slots, store->name());
    print_warning(slots_warning(slots, store->name()));
    const Layer node = load_node(stored, store->name());
    Merged merged;
    if (options.explain)
        merged = merge(node, find_roles(node.profile, options.role_folders.empty() ? default_role_folders()
                                                                                   : options.role_folders));
    if (globals.json) {
        ordered_json json = {{"store", store->name()},
                             {"generation", stored.generation},
                             {"slot", slots.newest_slot},
                             {"slots", slots_json(slots)},
                             {"profile", profile_json(options.explain ? merged.profile : node.profile)}};
        if (options.explain) json["explain"] = explain_json(merged.explain);
        print_json(json);
    } else if (options.explain) {
        fmt::print("{}", explain_text(merged.explain));
    } else {
        fmt::print("# {}, generation {}, slot {}\n{}{}", store->name(), stored.generation, slots.newest_slot,
                   stored.text, stored.text.ends_with('\n') ? "" : "\n");
    }
    return 0;
}

// -- set
// ------------------------------------------------------------------------------------------------------------

int run_set(const Globals& globals, const Options& options) {
    const std::string& file = options.files.front();
    const std::string text = read_profile_file(file);
    const auto store = open_store(options.store);
    const StoredProfile stored = set_profile(*store, text, file);
    const Profile profile = parse_profile(stored.text, file);
    if (globals.json)
        print_json({{"result", "ok"},
                    {"store", store->name()},
                    {"generation", stored.generation},
                    {"node", profile.node},
                    {"roles", profile.roles}});
    else
        fmt::print("{}: generation {} of node {}\n", store->name(), stored.generation, profile.node);
    return 0;
}

// -- sign
// -----------------------------------------------------------------------------------------------------------

int run_sign(const Globals& globals, const Options& options) {
    const std::string& file = options.files.front();
    const image::SigningKey key(options.key);
    const std::string text = read_profile_file(file);
    // Nobody signs what cannot be one, and roles are not what firmware reads.
    if (parse_profile(text, file).kind != Kind::kNode)
        throw_error(Code::kUsage, "{}: is the file of a role; the profile of a node is signed", file);
    struct stat info {};
    if (::stat(file.c_str(), &info) != 0) throw_errno(Code::kUsage, errno, "{}", file);
    write_file_atomic(file, as_bytes(with_signature(text, key, file)), info.st_mode & 07777, Code::kTargetIo);
    if (globals.json)
        print_json({{"result", "ok"}, {"file", file}, {"key", key.id()}});
    else
        fmt::print("signed {} with key {}\n", file, key.id());
    return 0;
}

// -- validate
// -------------------------------------------------------------------------------------------------------

CheckedProfile check_file(const std::string& path) {
    try {
        return check_profile(read_file(path, Code::kUsage, kProfileTextLimit), path);
    } catch (const Error& e) {
        return {{}, {{{path, {}}, e.what()}}};
    }
}

int run_validate(const Globals& globals, const Options& options) {
    ordered_json json = ordered_json::array();
    bool all_good = true;
    for (const std::string& file : options.files) {
        const CheckedProfile checked = check_file(file);
        const bool good = checked.problems.empty();
        all_good = all_good && good;
        if (globals.json) {
            ordered_json one = {
                {"file", file}, {"valid", good}, {"problems", problems_json(checked.problems)}};
            if (good) one["profile"] = profile_json(checked.layer.profile);
            json.push_back(std::move(one));
            continue;
        }
        for (const Problem& problem : checked.problems)
            fmt::print("{}\n", problem.text());
        if (good) fmt::print("{}: good\n", file);
    }
    if (globals.json) print_json({{"valid", all_good}, {"files", json}});
    return all_good ? 0 : static_cast<int>(Code::kUsage);
}

// -- options
// --------------------------------------------------------------------------------------------------------

using Run = int (*)(const Globals&, const Options&);

CLI::App& add_sub_verb(CLI::App& profile, const char* name, const char* description, Globals& globals,
                       Action& action, const std::shared_ptr<Options>& options, Run run) {
    CLI::App& verb = *profile.add_subcommand(name, description);
    add_json_option(verb, globals);
    verb.callback([&globals, &action, options, run] {
        action = [&globals, options, run] { return run(globals, *options); };
    });
    return verb;
}

void add_store_option(CLI::App& verb, Options& options) {
    verb.add_option("--store", options.store,
                    "The profile store: partition:DISK, file:PATH, memory:ADDRESS or efivar:")
        ->required()
        ->option_text("STORE");
}

void add_init(CLI::App& verb, Globals& globals, Options& options) {
    add_store_option(verb, options);
    verb.add_option("--from", options.from, "The node's profile to begin with")->option_text("FILE.toml");
    verb.add_option("--size", options.size, "Size of the partition (4MiB)")->option_text("SIZE");
    verb.add_option("--number", options.number, "Number of the partition (the highest free one)")
        ->check(CLI::PositiveNumber)
        ->option_text("N");
    verb.add_flag("--replace-damaged", options.replace_damaged,
                  "Give up a store of which neither copy can be used, with its node secret");
    verb.add_flag("--dry-run", globals.dry_run, "Say what would be made and stop: nothing is written");
}

}  // namespace

void add_profile(CLI::App& app, Globals& globals, Action& action) {
    CLI::App& profile =
        *app.add_subcommand("profile", "Make, show, change and check the profile of a machine");
    profile.require_subcommand(1);
    const auto options = std::make_shared<Options>();

    CLI::App& init = add_sub_verb(profile, "init", "Make a profile store: a protected partition, or a file",
                                  globals, action, options, run_init);
    add_init(init, globals, *options);

    CLI::App& show =
        add_sub_verb(profile, "show", "Show the profile in a store", globals, action, options, run_show);
    add_store_option(show, *options);
    show.add_flag("--explain", options->explain,
                  "Merge the roles, and tell for each key which file and line won");
    show.add_option("--roles", options->role_folders,
                    "A folder of roles, instead of the system's; may be repeated")
        ->option_text("DIR");

    CLI::App& set = add_sub_verb(profile, "set", "Put a new profile into a store; the node's secret stays",
                                 globals, action, options, run_set);
    add_store_option(set, *options);
    set.add_option("FILE", options->files, "The profile")->required()->expected(1)->option_text("FILE.toml");

    CLI::App& sign = add_sub_verb(profile, "sign", "Sign the profile of a node, in its file", globals, action,
                                  options, run_sign);
    sign.add_option("--sign-key", options->key, "The secret key")->required()->option_text("FILE");
    sign.add_option("FILE", options->files, "The profile")->required()->expected(1)->option_text("FILE.toml");

    CLI::App& validate = add_sub_verb(profile, "validate", "Check profiles and roles; tells all problems",
                                      globals, action, options, run_validate);
    validate.add_option("FILE", options->files, "Profiles or roles")->required()->option_text("FILE.toml...");
}

}  // namespace dupengine::cli
