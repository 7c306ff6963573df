#include "tests/support/hostile_scenarios.h"

#include <algorithm>

#include "tests/support/hostile_stage.h"

namespace dupengine::test {
namespace {

using namespace dupengine::wire;
using block::Extent;

constexpr std::uint64_t kSize = kMiB;
const Extent kData{320 * kKiB, 384 * kKiB};

constexpr const char* kTypeNames[] = {
    "nothing", "hello",  "open",  "opened",  "prepare",  "prefill", "read",   "data",  "digest", "digests",
    "map",     "mapped", "check", "checked", "progress", "done",    "failed", "abort", "known",  "alive"};
std::string name_of(Type type) {
    return kTypeNames[static_cast<std::size_t>(type)];
}

// A message of each type as it could be in this copy.
Message example_of(Type type) {
    const std::vector<Extent> extents = {{kData.begin, kData.begin + 64 * kKiB}};
    const auto payload = [&]() -> Bytes {
        switch (type) {
            case Type::kHello:
                return encode(Hello{Role::kAnswers, "0"});
            case Type::kOpen:
                return encode(Open{"disk", {}, {}});
            case Type::kOpened:
                return opened().payload;
            case Type::kPrefill:
                return encode_prefill(kData.begin, Bytes{std::byte{0}, std::byte{0}, std::byte{2},
                                                         std::byte{0}, std::byte{0}});  // 512 zeros
            case Type::kRead:
                return encode(ReadRequest{{}, extents});
            case Type::kData:
                return {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1},
                        std::byte{0}};  // 64 KiB of zeros
            case Type::kDigest:
            case Type::kMap:
                return encode_extents(extents);
            case Type::kDigests:
                return Bytes(32, std::byte{1});
            case Type::kMapped:
                return encode(Mapped{kSize, extents});
            case Type::kChecked: {
                const auto text = as_bytes("changed");
                return {text.begin(), text.end()};
            }
            case Type::kProgress:
                return encode(ProgressNote{"copy", 1, 2, 0, 1});
            case Type::kDone:
                return encode(Result{"target", true, 1, 1, 1, 1, 1, {}});
            case Type::kFailed:
            case Type::kAbort:
                return encode(Failure{Code::kSourceIo, "it failed"});
            case Type::kKnown:
                return encode(Known{kData, ""});
            default:
                return {};
        }
    };
    return {type, 0, payload()};
}

std::vector<Type> all_types() {
    std::vector<Type> types;
    for (auto type = static_cast<int>(Type::kHello); type <= static_cast<int>(Type::kAlive); ++type)
        types.push_back(static_cast<Type>(type));
    return types;
}

// The first of each type, and the last.
std::vector<std::size_t> moments_of(const std::vector<Message>& messages) {
    std::vector<std::size_t> moments;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const auto same = [&](const Message& other) { return other.type == messages[i].type; };
        const auto here = messages.begin() + static_cast<std::ptrdiff_t>(i);
        if (std::none_of(messages.begin(), here, same) || std::none_of(here + 1, messages.end(), same))
            moments.push_back(i);
    }
    return moments;
}

Bytes with_payload(const Message& message, Bytes payload) {
    return encode(Message{message.type, message.id, std::move(payload)});
}

// Whether the bytes of it are what the source's end says about its own disk, which nobody else knows.
bool is_about_its_disk(Type type) {
    return type == Type::kData || type == Type::kMapped || type == Type::kPrefill || type == Type::kKnown ||
           type == Type::kOpened;
}

void add_order(std::vector<Scenario>& table, Liar liar, std::size_t number, const Message& original) {
    const std::string where = fmt::format("{} {} ({})", liar == Liar::kSource ? "source" : "target",
                                          name_of(original.type), number);
    for (const Type type : all_types()) {
        // Data in the place of the data, a map in the place of a map: see is_about_its_disk.
        const bool believed = type == original.type && is_about_its_disk(type);
        const auto like = [type](std::uint64_t id) {
            Message other = example_of(type);
            other.id = id;
            return encode(other);
        };
        table.push_back({where + " replaced by " + name_of(type), liar, number,
                         [like](const Message& m) { return like(m.id); }, believed || liar == Liar::kTarget});
        table.push_back({where + " after an unasked " + name_of(type), liar, number,
                         [like](const Message& m) { return together(like(m.id + 1000), encode(m)); },
                         liar == Liar::kTarget});
        table.push_back({where + " after another " + name_of(type), liar, number,
                         [like](const Message& m) { return together(like(m.id), encode(m)); },
                         is_about_its_disk(type) || liar == Liar::kTarget});
    }
    const bool own = liar == Liar::kTarget;
    table.push_back({where + " twice", liar, number,
                     [](const Message& m) { return together(encode(m), encode(m)); }, own});
    table.push_back({where + " never", liar, number, [](const Message&) { return Bytes{}; }, own});
    table.push_back({where + " half, then nothing", liar, number,
                     [](const Message& m) {
                         Bytes bytes = encode(m);
                         bytes.resize(bytes.size() / 2);
                         return bytes;
                     },
                     own});
    for (const std::uint64_t id : {std::uint64_t{0}, ~std::uint64_t{0}})
        table.push_back({fmt::format("{} with id {}", where, id), liar, number,
                         [id](const Message& m) {
                             return encode(Message{m.type, id, m.payload});
                         },
                         own});
}

void add_fields(std::vector<Scenario>& table, Liar liar, std::size_t number, const Message& original) {
    const std::string where = fmt::format("{} {} ({})", liar == Liar::kSource ? "source" : "target",
                                          name_of(original.type), number);
    const bool own = liar == Liar::kTarget || is_about_its_disk(original.type);
    // Small ones at every byte.
    constexpr std::size_t kSmall = 160;
    const std::size_t size = std::min(original.payload.size(), kSmall);
    for (std::size_t byte = 0; byte < size; ++byte) {
        table.push_back({fmt::format("{} that ends at byte {}", where, byte), liar, number,
                         [byte](const Message& m) {
                             Bytes payload = m.payload;
                             payload.resize(std::min(byte, payload.size()));
                             return with_payload(m, payload);
                         },
                         own});
        for (const unsigned value : {0x00u, 0x7fu, 0xffu})
            table.push_back({fmt::format("{} with byte {} = {}", where, byte, value), liar, number,
                             [byte, value](const Message& m) {
                                 Bytes payload = m.payload;
                                 if (byte < payload.size()) payload[byte] = std::byte(value);
                                 return with_payload(m, payload);
                             },
                             own});
    }
    for (const std::size_t more : {std::size_t{1}, std::size_t{70'000}, kMostPayload})
        table.push_back({fmt::format("{} with {} bytes behind it", where, more), liar, number,
                         [more](const Message& m) {
                             Bytes payload = m.payload;
                             payload.resize(std::min(payload.size() + more, kMostPayload), std::byte{1});
                             return with_payload(m, payload);
                         },
                         own});
    for (const std::uint32_t length :
         {static_cast<std::uint32_t>(kMostPayload) + 1, 0x7fffffffu, 0xffffffffu})
        table.push_back({fmt::format("{} that claims {} bytes", where, length), liar, number,
                         [length](const Message& m) {
                             Bytes bytes = encode(m);
                             store_le<std::uint32_t>(bytes, 0, length);
                             return bytes;
                         },
                         own});
    for (const std::uint32_t type : {0u, 20u, 0x106u, 0xffffffffu})
        table.push_back({fmt::format("{} of type {}", where, type), liar, number,
                         [type](const Message& m) {
                             Bytes bytes = encode(m);
                             store_le<std::uint32_t>(bytes, 4, type);
                             return bytes;
                         },
                         own});
}

}  // namespace

std::vector<Scenario> hostile_scenarios(const std::vector<Message>& from_source,
                                        const std::vector<Message>& from_target) {
    std::vector<Scenario> table;
    for (const Liar liar : {Liar::kSource, Liar::kTarget}) {
        const auto& messages = liar == Liar::kSource ? from_source : from_target;
        for (const std::size_t number : moments_of(messages)) {
            add_order(table, liar, number, messages[number]);
            add_fields(table, liar, number, messages[number]);
        }
    }
    return table;
}

}  // namespace dupengine::test
