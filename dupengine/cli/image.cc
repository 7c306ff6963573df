// dupengine image: keygen, sign, prune. See dupengine-image(8).

#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/command.h"
#include "image/new_file.h"
#include "image/open_image.h"
#include "image/prune.h"
#include "image/tar_names.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ImageArguments {
    std::string file, reference, key;
    std::vector<std::string> keep;
    std::uint64_t keep_last = 0;
};

void print_json(const Json& json) {
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

int keygen(const ImageArguments& arguments, const Globals& globals) {
    image::make_signing_key(arguments.file);
    const std::string id = image::SigningKey(arguments.file).id();
    if (globals.json)
        print_json(
            {{"result", "ok"}, {"secret", arguments.file}, {"public", arguments.file + ".pub"}, {"id", id}});
    else
        fmt::print(
            "made {} (secret: sign with it, give it to nobody) and {}.pub (for {} of the machines that take "
            "its "
            "images)\nkey {}\n",
            arguments.file, arguments.file, image::kTrustedFolder, id);
    return 0;
}

image::Reference reference_of(const std::string& text) {
    const auto reference = image::parse_writable_reference(text);
    return reference ? *reference : image::Reference{text, {}, {}};
}

void refuse_tar(const std::string& place) {
    if (image::is_tar(place))
        throw_error(Code::kRefused,
                    "{}: a tar holds one image and is not changed; capture anew, or use a folder", place);
}

int sign(const ImageArguments& arguments, const Globals& globals) {
    const image::SigningKey key(arguments.key);
    const image::Reference reference = reference_of(arguments.reference);
    refuse_tar(reference.place);
    const image::Store store(reference.place, image::StoreLock::For::kWriting);
    const image::StoredImage image = store.index().find(reference);
    // Nobody signs what cannot be one.
    image::read_manifest(store.files(), image, {}, nullptr);
    const Bytes json = image::read_whole(store.files(), image.base() + ".json", image::kManifestLimit);
    image::NewFile file(store.path() + "/" + image.base() + ".sig");
    file.append(as_bytes(key.sign(json)));
    file.commit();
    if (globals.json)
        print_json({{"result", "ok"}, {"image", image.text()}, {"key", key.id()}});
    else
        fmt::print("signed {} with key {}\n", image.text(), key.id());
    return 0;
}

// Newest versions of each name, and what is named; everything if nothing of both was said.
std::function<bool(const image::StoredImage&)> what_stays(const ImageArguments& arguments,
                                                          const image::StoreIndex& index) {
    std::vector<image::StoredImage> stays;
    for (const std::string& name : arguments.keep) {
        const auto named = *image::parse_reference("image:" + arguments.reference + "#" + name);
        const image::StoredImage& newest = index.find(named);  // refuses what is not there
        for (const image::StoredImage& image : index.images)
            if (image.name == newest.name && (!named.version || image.version == *named.version))
                stays.push_back(image);
    }
    std::map<std::string, std::uint64_t> counts;
    for (auto image = index.images.rbegin(); image != index.images.rend(); ++image)
        if (counts[image->name]++ < arguments.keep_last) stays.push_back(*image);
    const bool all_stay = arguments.keep.empty() && arguments.keep_last == 0;
    return [stays, all_stay](const image::StoredImage& image) {
        return all_stay || std::find(stays.begin(), stays.end(), image) != stays.end();
    };
}

int prune(ImageArguments arguments, const Globals& globals) {
    arguments.reference = reference_of(arguments.reference).place;
    refuse_tar(arguments.reference);
    image::Store store(arguments.reference, image::StoreLock::For::kTakingOut);
    const image::PruneReport report =
        image::prune(store, what_stays(arguments, store.index()), globals.dry_run);
    if (globals.json) {
        Json json = {{"result", globals.dry_run ? "planned" : "ok"},
                     {"kept", Json::array()},
                     {"removed", Json::array()}};
        for (const auto& image : report.kept)
            json["kept"].push_back(image.text());
        for (const auto& image : report.removed)
            json["removed"].push_back(image.text());
        json["packs_removed"] = report.packs_removed;
        json["packs_made"] = report.packs_made;
        json["bytes_freed"] = report.bytes_freed;
        print_json(json);
        return 0;
    }
    for (const auto& image : report.removed)
        fmt::print("{} {}\n", globals.dry_run ? "would remove" : "removed", image.text());
    fmt::print("{} {}; {} images stay\n", globals.dry_run ? "would free" : "freed",
               format_size(report.bytes_freed), report.kept.size());
    return 0;
}

}  // namespace

void add_image(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb =
        app.add_subcommand("image", "Make keys for images, sign them, take old ones out of a store");
    verb->require_subcommand(1);
    const auto arguments = std::make_shared<ImageArguments>();
    const auto runs = [&globals, &action, arguments](int (*run)(ImageArguments, const Globals&)) {
        return [&globals, &action, arguments, run] {
            action = [=, &globals] { return run(*arguments, globals); };
        };
    };

    CLI::App* make = verb->add_subcommand("keygen", "Make a key pair to sign images with");
    make->add_option("FILE", arguments->file, "Where the secret key goes; the public one goes to FILE.pub")
        ->required();
    add_json_option(*make, globals);
    make->callback(runs([](ImageArguments a, const Globals& g) { return keygen(a, g); }));

    CLI::App* signing = verb->add_subcommand("sign", "Sign an image that is in a store");
    signing->add_option("IMAGE", arguments->reference, "image:STORE#NAME@VERSION")->required();
    signing->add_option("--sign-key", arguments->key, "The secret key")->required()->option_text("FILE");
    add_json_option(*signing, globals);
    signing->callback(runs([](ImageArguments a, const Globals& g) { return sign(a, g); }));

    CLI::App* pruning = verb->add_subcommand("prune", "Take images out of a store and give back their room");
    pruning->add_option("STORE", arguments->reference, "The folder of the store")->required();
    pruning->add_option("--keep", arguments->keep, "NAME or NAME@VERSION stays; may be repeated")
        ->option_text("IMAGE")
        ->allow_extra_args(false);
    pruning->add_option("--keep-last", arguments->keep_last, "The newest N versions of each name stay")
        ->check(CLI::Range(1, 1000000).description(""))
        ->option_text("N");
    pruning->add_flag("--dry-run", globals.dry_run, "Tell what would go and stop");
    add_json_option(*pruning, globals);
    pruning->callback(runs([](ImageArguments a, const Globals& g) { return prune(std::move(a), g); }));
}

}  // namespace dupengine::cli
