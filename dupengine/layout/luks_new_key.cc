#include "layout/luks_new_key.h"

#include <libcryptsetup.h>

#include <algorithm>
#include <vector>

#include "layout/luks_memory.h"
#include "layout/luks_reader.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kSector = 512;  // what libcryptsetup counts offsets in

void expect_done(int result, const std::string& name, const char* what) {
    if (result < 0)
        throw_errno(Code::kRefused, -result, "{}: libcryptsetup does not make its new header ({})", name,
                    what);
}

std::string text_of(const char* text) {
    return text == nullptr ? "" : text;
}

const char* none_if_empty(const std::string& text) {
    return text.empty() ? nullptr : text.c_str();
}

// What the new header takes over from the old one, beside what LuksHeader says.
struct OldSettings {
    std::string label, subsystem;
    std::size_t key_bytes = 0;
    std::uint64_t json_bytes = 0, slots_bytes = 0;
    std::uint32_t flags = 0;
    std::string pbkdf, hash;
    std::uint32_t pbkdf_memory_kib = 0;
};

bool has_token(crypt_device* device, int slot) {
    constexpr int kTokens = 32;  // LUKS2_TOKENS_MAX
    for (int token = 0; token < kTokens; ++token)
        if (crypt_token_is_assigned(device, token, slot) == 0) return true;
    return false;
}

// Which of the old slots the new one is like. Slots of tokens (TPM, FIDO2) have strong keys and a weak PBKDF.
void find_pbkdf(crypt_device* device, bool of_tokens_too, OldSettings& settings) {
    for (int slot = 0; slot < crypt_keyslot_max(crypt_get_type(device)); ++slot) {
        const crypt_keyslot_info state = crypt_keyslot_status(device, slot);
        if (state != CRYPT_SLOT_ACTIVE && state != CRYPT_SLOT_ACTIVE_LAST) continue;
        if (!of_tokens_too && has_token(device, slot)) continue;
        crypt_pbkdf_type pbkdf{};
        if (crypt_keyslot_get_pbkdf(device, slot, &pbkdf) < 0) continue;
        const std::string type = text_of(pbkdf.type);
        if (!settings.pbkdf.empty() && type != CRYPT_KDF_PBKDF2) continue;
        settings.pbkdf = type;
        settings.hash = text_of(pbkdf.hash);
        settings.pbkdf_memory_kib = pbkdf.max_memory_kb;
        if (type == CRYPT_KDF_PBKDF2) return;
    }
}

OldSettings settings_of(LuksInMemory& old, const std::string& name) {
    crypt_device* const device = old.device();
    OldSettings settings;
    settings.label = text_of(crypt_get_label(device));
    settings.subsystem = text_of(crypt_get_subsystem(device));
    settings.key_bytes = static_cast<std::size_t>(std::max(crypt_get_volume_key_size(device), 0));
    if (std::string_view(crypt_get_type(device)) == CRYPT_LUKS2) {
        expect_done(crypt_get_metadata_size(device, &settings.json_bytes, &settings.slots_bytes), name,
                    "its size");
        expect_done(crypt_persistent_flags_get(device, CRYPT_FLAGS_ACTIVATION, &settings.flags), name,
                    "its flags");
    }
    find_pbkdf(device, false, settings);
    if (settings.pbkdf.empty()) find_pbkdf(device, true, settings);
    if (settings.pbkdf.empty())
        throw_error(Code::kRefused, "{}: none of its key slots says how it guards its key", name);
    return settings;
}

void choose_pbkdf(crypt_device* device, const OldSettings& old, const std::string& name) {
    const crypt_pbkdf_type* const usual = crypt_get_pbkdf_type_params(old.pbkdf.c_str());
    if (usual == nullptr) throw_error(Code::kRefused, "{}: libcryptsetup does not know {}", name, old.pbkdf);
    crypt_pbkdf_type chosen = *usual;
    chosen.hash = old.hash.empty() ? usual->hash : old.hash.c_str();
    // The target may have no more memory than what the source was made on.
    chosen.max_memory_kb = std::min(usual->max_memory_kb, old.pbkdf_memory_kib);
    expect_done(crypt_set_pbkdf_type(device, &chosen), name, "its key slot's function");
}

void format_luks1(crypt_device* device, const LuksHeader& like, const OldSettings& old,
                  const Secret& volume_key, const std::string& name) {
    const std::size_t dash = like.cipher.find('-');
    const std::string cipher = like.cipher.substr(0, dash), mode = like.cipher.substr(dash + 1);
    crypt_params_luks1 params{};
    params.hash = old.hash.c_str();
    expect_done(crypt_format(device, CRYPT_LUKS1, cipher.c_str(), mode.c_str(), like.uuid.c_str(),
                             volume_key.chars(), volume_key.size(), &params),
                name, "format");
}

void format_luks2(crypt_device* device, const LuksHeader& like, const OldSettings& old,
                  const Secret& volume_key, const std::string& name) {
    const std::size_t dash = like.cipher.find('-');
    const std::string cipher = like.cipher.substr(0, dash), mode = like.cipher.substr(dash + 1);
    expect_done(crypt_set_metadata_size(device, old.json_bytes, old.slots_bytes), name, "its size");
    crypt_params_luks2 params{};
    params.sector_size = like.sector_bytes;
    params.label = none_if_empty(old.label);
    params.subsystem = none_if_empty(old.subsystem);
    expect_done(crypt_format(device, CRYPT_LUKS2, cipher.c_str(), mode.c_str(), like.uuid.c_str(),
                             volume_key.chars(), volume_key.size(), &params),
                name, "format");
    if (old.flags != 0)
        expect_done(crypt_persistent_flags_set(device, CRYPT_FLAGS_ACTIVATION, old.flags), name, "its flags");
}

// An area in memory, as a part of which only that can be read.
class AreaReader final : public block::Reader {
  public:
    AreaReader(const Bytes& area, const block::Reader& part) : area_(area), part_(part) {}
    const block::Geometry& geometry() const override { return part_.geometry(); }
    const std::string& name() const override { return part_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        if (offset > area_.size() || buffer.size() > area_.size() - offset)
            throw_error(Code::kInternal, "{}: a read behind its new header", name());
        std::copy_n(area_.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
    }

  private:
    const Bytes& area_;
    const block::Reader& part_;
};

bool is_like(const LuksHeader& made, const LuksHeader& old) {
    return made.version == old.version && made.uuid == old.uuid && made.cipher == old.cipher &&
           made.sector_bytes == old.sector_bytes && made.payload.begin == old.payload.begin;
}

}  // namespace

KeyedHeader make_luks_header(const block::Reader& part, const LuksHeader& old, const Secret& key,
                             RandomSource& random) {
    const std::string& name = part.name();
    if (old.cipher != kUnderstoodCipher)
        throw_error(Code::kRefused, "{}: it is encrypted with {}, and only {} can be encrypted anew", name,
                    old.cipher, kUnderstoodCipher);
    LuksInMemory before = LuksInMemory::copy_of(part, old);
    const OldSettings settings = settings_of(before, name);
    LuksInMemory made = LuksInMemory::blank(name, old);
    Secret volume_key(settings.key_bytes);
    random.fill(volume_key.all());
    choose_pbkdf(made.device(), settings, name);
    expect_done(crypt_set_data_offset(made.device(), old.payload.begin / kSector), name, "its payload");
    (old.version == 1 ? format_luks1 : format_luks2)(made.device(), old, settings, volume_key, name);
    const int slot = crypt_keyslot_add_by_volume_key(made.device(), CRYPT_ANY_SLOT, volume_key.chars(),
                                                     volume_key.size(), key.chars(), key.size());
    expect_done(slot, name, "its key slot");
    KeyedHeader header{{}, made.area(), std::move(volume_key), settings.pbkdf};
    header.header = read_luks_header(AreaReader(header.area, part));
    if (!is_like(header.header, old) || header.header.payload != old.payload)
        throw_error(Code::kRefused,
                    "{}: libcryptsetup makes no header with its payload at the same place (bytes {})", name,
                    old.payload.text());
    return header;
}

KeyedHeader take_luks_header(const block::Reader& part, const LuksHeader& old, const Secret& key) {
    LuksHeader header;
    try {
        header = read_luks_header(part);
    } catch (Error& e) {
        if (e.code() == Code::kIntegrity) e.add_context(part.name() + ": is no LUKS container");
        throw;
    }
    if (!is_like(header, old))
        throw_error(Code::kIntegrity, "{}: its LUKS header is not one like the source's", part.name());
    LuksInMemory copy = LuksInMemory::copy_of(part, header);
    std::optional<Secret> volume_key = copy.unlock(key);
    if (!volume_key)
        throw_error(Code::kRefused, "{}: the new key does not open this LUKS{} container", part.name(),
                    header.version);
    return {header, copy.area(), std::move(*volume_key), settings_of(copy, part.name()).pbkdf};
}

}  // namespace dupengine::layout
