#include "profiles/store.h"

#include <limits>

#include "profiles/names.h"

namespace dupengine::profiles {
namespace {

// The text of a node that someone wants to store.
Layer parse_node(const std::string& text, const std::string& file) {
    Layer layer = parse_layer(text, file);
    if (layer.profile.kind != Kind::kNode)
        throw_error(Code::kUsage, "{}: is a role; a store holds the profile of a node, which names its roles",
                    file);
    return layer;
}

}  // namespace

StoreSpec parse_store_spec(const std::string& spec) {
    const auto after = [&](std::string_view prefix) { return spec.substr(prefix.size()); };
    if (spec.starts_with("partition:") && spec.size() > 10)
        return {StoreSpec::Kind::kPartition, after("partition:")};
    if (spec.starts_with("file:") && spec.size() > 5) return {StoreSpec::Kind::kFile, after("file:")};
    if (spec.starts_with("memory:") && spec.size() > 7) return {StoreSpec::Kind::kMemory, after("memory:")};
    if (spec.starts_with("efivar:")) return {StoreSpec::Kind::kVariables, after("efivar:")};
    throw_error(Code::kUsage,
                "{} is no profile store; partition:DISK, file:PATH, memory:ADDRESS and efivar: are",
                quoted(spec));
}

Layer load_node(const StoredProfile& stored, const std::string& store_name) {
    if (stored.text.empty())
        throw_error(Code::kRefused,
                    "{}: holds no profile yet; run: dupengine profile set --store {} FILE.toml", store_name,
                    store_name);
    try {
        Layer layer = parse_node(stored.text, store_name);
        layer.profile.generation = stored.generation;
        return layer;
    } catch (Error& e) {
        e.set_code(Code::kIntegrity);
        throw;
    }
}

StoredProfile first_profile(const std::string& text, const std::string& file, RandomSource& random) {
    StoredProfile first{1, text, {}};
    if (!text.empty())
        first.generation = std::max<std::uint64_t>(1, parse_node(text, file).profile.generation);
    std::array<std::byte, 32> secret;
    random.fill(secret);
    first.secret.bytes = as_text(secret);
    return first;
}

StoredProfile set_profile(ProfileStore& store, const std::string& text, const std::string& file) {
    const Layer layer = parse_node(text, file);
    const StoredProfile old = store.read();
    StoredProfile next{layer.profile.generation, text, old.secret};
    if (next.generation == 0) {
        if (old.generation == std::numeric_limits<std::uint64_t>::max())
            throw_error(Code::kRefused, "{}: no generation is left", store.name());
        next.generation = old.generation + 1;
    }
    if (next.generation <= old.generation)
        throw_error(Code::kRefused,
                    "{}: generation {} is not larger than {}, which {} holds; raise it, or leave it out for "
                    "the next one",
                    file, next.generation, old.generation, store.name());
    store.write(next);
    return next;
}

}  // namespace dupengine::profiles
