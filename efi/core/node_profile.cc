#include "efi/core/node_profile.h"

#include "efi/core/toml.h"

namespace dupengine::efi {
namespace {

constexpr std::uint32_t kLongestTimeout = 3600, kMostTries = 99;
constexpr std::array<Choice, 5> kChoices = {Choice::kDisk, Choice::kKernel, Choice::kReceive,
                                            Choice::kRestore, Choice::kMenu};

bool is_printable(TextView text) {
    for (char c : text)
        if (c < ' ' || c > '~') return false;
    return true;
}

class Reading final : public TomlSink {
  public:
    explicit Reading(NodeProfile& into) : into_(into) {}

    void value(TextView key, unsigned arrays, const TomlValue& value) override {
        if (arrays == 0) return single(key, value);
        if (arrays == 1 && key == "roles" && value.kind == TomlValue::Kind::kString) add_role(value.text);
    }

    TextView fault() const {
        if (!fault_.empty()) return fault_;
        if (!has_schema_) return "its profile has no schema";
        if (!is_node_) return "its profile is not that of a node";
        if (into_.node.empty()) return "its profile names no node";
        return {};
    }

  private:
    void single(TextView key, const TomlValue& value) {
        BootSettings& boot = into_.boot;
        if (key == "schema")
            has_schema_ = is(value, TomlValue::Kind::kInteger) && value.integer == 1;
        else if (key == "kind")
            is_node_ = is(value, TomlValue::Kind::kString) && value.text == "node";
        else if (key == "node")
            text(value, into_.node);
        else if (key == "boot/choice")
            choice(value, boot.choice);
        else if (key == "boot/timeout")
            timeout(value);
        else if (key == "boot/partition")
            partition(value);
        else if (key == "boot/loader")
            text(value, boot.loader);
        else if (key == "boot/kernel")
            text(value, boot.kernel);
        else if (key == "boot/initrd")
            text(value, boot.initrd);
        else if (key == "boot/command_line")
            text(value, boot.command_line);
        else if (key == "boot/receive_disk")
            text(value, boot.receive_disk);
        else if (key == "boot/restore_from")
            text(value, boot.restore_from);
        else if (key == "boot/fallback")
            choice(value, boot.fallback);
        else if (key == "boot/tries")
            tries(value);
        else if (key == "boot/duplicate_from")
            text(value, boot.duplicate_from);
        else if (key == "boot/report_to")
            is(value, TomlValue::Kind::kString);  // for the system
        else if (key.starts_with("boot/") && !key.starts_with("boot/x-"))
            fail("its profile has a key in [boot] that is not known here");
    }

    bool is(const TomlValue& value, TomlValue::Kind kind) {
        if (value.kind != kind) fail("its profile has a value of a wrong type");
        return value.kind == kind;
    }

    template <std::size_t kCapacity>
    void text(const TomlValue& value, Text<kCapacity>& into) {
        if (!is(value, TomlValue::Kind::kString)) return;
        if (!into.empty()) return fail("its profile says something twice");
        into.add(value.text);
        if (into.cut() || value.cut || !is_printable(value.text))
            fail("its profile has a text that cannot be used here");
    }

    void choice(const TomlValue& value, Choice& into) {
        if (!is(value, TomlValue::Kind::kString)) return;
        const auto found = choice_of(value.text);
        if (!found) return fail("its profile has a choice in [boot] that is not known here");
        into = *found;
    }

    void timeout(const TomlValue& value) {
        if (!is(value, TomlValue::Kind::kInteger)) return;
        if (value.integer < 0 || value.integer > kLongestTimeout)
            return fail("its profile has a timeout of more than an hour");
        into_.boot.timeout_seconds = static_cast<std::uint32_t>(value.integer);
    }

    void tries(const TomlValue& value) {
        if (!is(value, TomlValue::Kind::kInteger)) return;
        if (value.integer < 1 || value.integer > kMostTries)
            return fail("its profile has tries that are not 1 to 99");
        into_.boot.tries = static_cast<std::uint32_t>(value.integer);
    }

    void partition(const TomlValue& value) {
        if (!is(value, TomlValue::Kind::kString)) return;
        into_.boot.partition = guid_of(value.text);
        if (!into_.boot.partition) fail("its profile names a partition that is no GUID");
    }

    void add_role(TextView role) {
        if (!is_printable(role)) return fail("its profile has a text that cannot be used here");
        if (!into_.roles.empty()) into_.roles.add(", ");
        into_.roles.add(role);
    }

    void fail(TextView reason) {
        if (fault_.empty()) fault_ = reason;
    }

    NodeProfile& into_;
    TextView fault_;
    bool has_schema_ = false, is_node_ = false;
};

// The value of a hexadecimal digit, or 16.
unsigned hex_value(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
    return 16;
}

}  // namespace

TextView choice_word(Choice choice) {
    switch (choice) {
        case Choice::kDisk:
            return "disk";
        case Choice::kKernel:
            return "kernel";
        case Choice::kReceive:
            return "receive";
        case Choice::kRestore:
            return "restore";
        case Choice::kMenu:
            return "menu";
    }
    return "menu";
}

std::optional<Choice> choice_of(TextView word) {
    for (Choice choice : kChoices)
        if (word == choice_word(choice)) return choice;
    return std::nullopt;
}

std::optional<Guid> guid_of(TextView text) {
    // Where the digits of each byte begin, in the order of the bytes on a disk.
    constexpr std::array<std::size_t, 16> kDigits = {6,  4,  2,  0,  11, 9,  16, 14,
                                                     19, 21, 24, 26, 28, 30, 32, 34};
    if (text.size() != 36) return std::nullopt;
    for (std::size_t dash : {8u, 13u, 18u, 23u})
        if (text[dash] != '-') return std::nullopt;
    Guid guid;
    for (std::size_t i = 0; i < guid.bytes.size(); ++i) {
        const unsigned high = hex_value(text[kDigits[i]]), low = hex_value(text[kDigits[i] + 1]);
        if (high > 15 || low > 15) return std::nullopt;
        guid.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return guid;
}

TextView read_profile(TextView text, NodeProfile& into) {
    into = {};
    into.boot.timeout_seconds = kUsualTimeout;
    into.boot.fallback = Choice::kMenu;
    Reading reading(into);
    if (const TextView reason = read_toml(text, reading); !reason.empty()) return reason;
    return reading.fault();
}

}  // namespace dupengine::efi
