// dupengine boot: keys, sign, digests; the rest is in boot_start.cc, boot_image.cc, boot_network.cc. See
// dupengine-boot(8).

#include <memory>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "block/open.h"
#include "bootloader_hooks/efi_keys.h"
#include "bootloader_hooks/piece_digests.h"
#include "bootloader_hooks/piece_digests_format.h"
#include "cli/boot_start.h"
#include "cli/interrupt.h"
#include "codec/digest.h"
#include "image/new_file.h"
#include "image/signature.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;

// Firmware reads no larger ones (efi/firmware/files.cc).
constexpr std::size_t kLargestFile = kGiB;

struct Arguments {
    std::string input, output, key;
    std::vector<std::string> files, trusted;
};

void report(const Globals& globals, ordered_json json, const std::string& text) {
    json["result"] = "ok";
    fmt::print("{}\n",
               globals.json ? json.dump(2, ' ', false, ordered_json::error_handler_t::replace) : text);
}

void write_new(const std::string& path, std::span<const std::byte> content) {
    image::NewFile file(path);
    file.append(content);
    file.commit();
}

int run_keys(const Globals& globals, const Arguments& arguments) {
    std::vector<boot::PublicKey> trusted;
    for (const std::string& file : arguments.trusted)
        trusted.push_back(image::read_public_key(file));
    const std::string program = read_file(arguments.input, Code::kUsage);
    try {
        write_new(arguments.output, boot::with_keys(as_bytes(program), trusted));
    } catch (Error& e) {
        if (e.code() == Code::kUsage || e.code() == Code::kRefused) e.add_context(arguments.input);
        throw;
    }
    report(globals, {{"program", arguments.output}, {"keys", trusted.size()}},
           fmt::format("made {}, which believes {} key{}; sign it for Secure Boot now", arguments.output,
                       trusted.size(), trusted.size() == 1 ? "" : "s"));
    return 0;
}

int run_sign(const Globals& globals, const Arguments& arguments) {
    const image::SigningKey key(arguments.key);
    for (const std::string& path : arguments.files) {
        const std::string content = read_file(path, Code::kUsage, kLargestFile);
        write_new(path + image::signature_words::kFileSuffix,
                  as_bytes(key.sign(codec::sha256(as_bytes(content)), image::signature_words::kOfBootFile)));
    }
    report(globals, {{"files", arguments.files}, {"key", key.id()}},
           fmt::format("signed {} file{} with key {}", arguments.files.size(),
                       arguments.files.size() == 1 ? "" : "s", key.id()));
    return 0;
}

int run_digests(const Globals& globals, const Arguments& arguments) {
    const InterruptWatch interrupt;
    for (const std::string& path : arguments.files)
        write_new(path + boot::pieces::kFileSuffix,
                  boot::make_piece_digests(*block::open_source(path), interrupt.token()));
    report(globals, {{"files", arguments.files}},
           fmt::format("made {}{}; sign {}, if dupengine.efi has keys", arguments.files.front(),
                       boot::pieces::kFileSuffix, arguments.files.size() == 1 ? "it" : "it and the others"));
    return 0;
}

}  // namespace

void add_boot(CLI::App& app, Globals& globals, Action& action) {
    CLI::App& boot = *app.add_subcommand(
        "boot", "Say what firmware starts, how often a new system is tried, and whom to believe");
    boot.require_subcommand(1);
    const auto arguments = std::make_shared<Arguments>();
    const auto add = [&](const char* name, const char* description,
                         int (*run)(const Globals&, const Arguments&)) -> CLI::App& {
        CLI::App& verb = *boot.add_subcommand(name, description);
        add_json_option(verb, globals);
        verb.callback([&globals, &action, arguments, run] {
            action = [&globals, arguments, run] { return run(globals, *arguments); };
        });
        return verb;
    };

    CLI::App& keys = add("keys", "Make a dupengine.efi that believes these keys", run_keys);
    keys.add_option("--trust", arguments->trusted, "A public key; may be repeated")
        ->required()
        ->option_text("FILE")
        ->allow_extra_args(false);
    keys.add_option("IN", arguments->input, "A dupengine.efi that is not signed for Secure Boot")->required();
    keys.add_option("OUT", arguments->output, "Where the new one goes")->required();

    CLI::App& sign = add("sign", "Sign kernels, initrds and loaders, each into FILE.sig", run_sign);
    sign.add_option("--sign-key", arguments->key, "The secret key")->required()->option_text("FILE");
    sign.add_option("FILE", arguments->files, "What firmware starts")->required()->option_text("FILE...");

    add("digests", "Make what firmware holds a disk image on a web server against, into FILE.digests",
        run_digests)
        .add_option("FILE", arguments->files, "A raw disk image")
        ->required()
        ->option_text("FILE...");

    add_boot_start(boot, globals, action);
    add_boot_image(boot, globals, action);
    add_boot_network(boot, globals, action);
}

}  // namespace dupengine::cli
