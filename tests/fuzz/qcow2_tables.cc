// Any bytes as a qcow2 file: its tables name only what lies within it, or it is refused.

#include "image/foreign/qcow2_tables.h"

#include "tests/fuzz/fuzz_disk.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dupengine;
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    const fuzz::FuzzDisk file(Bytes(bytes, bytes + size), 512, false);
    try {
        image::refuse_if_cut_off(file);
    } catch (const Error& e) {
        fuzz::require(e.code() == Code::kSourceIo, "refused as damaged");
    }
    return 0;
}
