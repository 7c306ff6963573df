#include "efi/firmware/uefi.h"

#include "efi/core/device_path.h"
#include "efi/firmware/keys.h"
#include "efi/firmware/network.h"

namespace dupengine::efi {
namespace {

// UEFI 2.10, 8.5.4.
constexpr std::uint64_t kBootToSetup = 1;
constexpr std::uint32_t kKeptAndVisible = 7;  // non-volatile, boot services, runtime
constexpr std::uint32_t kVisible = 6;

using Name = std::array<char16_t, 64>;

Name name_of(TextView text) {
    Name name{};
    to_utf16(text, false, name);
    return name;
}

std::optional<std::uint64_t> read_number(RuntimeServices& runtime, TextView name) {
    std::uint64_t value = 0, bytes = sizeof value;
    const Status status =
        runtime.get_variable(name_of(name).data(), &kGlobalVariables, nullptr, &bytes, &value);
    if (status != kSuccess || bytes != sizeof value) return std::nullopt;
    return value;
}

// Of one byte (UEFI 2.10, 3.3).
bool read_flag(RuntimeServices& runtime, TextView name) {
    std::uint8_t value = 0;
    std::uint64_t bytes = sizeof value;
    return runtime.get_variable(name_of(name).data(), &kGlobalVariables, nullptr, &bytes, &value) ==
               kSuccess &&
           bytes == sizeof value && value == 1;
}

}  // namespace

Uefi::Uefi(SystemTable& system, Handle self)
    : boot_(*system.boot),
      runtime_(*system.runtime),
      self_(self),
      ipxe_(ipxe_of(*system.boot, self)),
      console_(system),
      program_(*system.boot),
      initrd_(*system.boot),
      signature_(*system.boot),
      trust_{built_in_keys(), read_flag(*system.runtime, "SecureBoot")} {}

void Uefi::announce(TextView version) {
    runtime_.set_variable(name_of("DupengineVersion").data(), &kOwnVariables, kVisible, version.size(),
                          version.data());
}

void Uefi::find_disks() {
    disks_.find(boot_, ipxe_ == nullptr ? Disks::Network::kToo : Disks::Network::kLeaveAlone);
}

std::optional<std::size_t> Uefi::own_disk() {
    const auto* loaded = protocol_of<LoadedImage>(boot_, self_, kLoadedImageProtocol);
    if (loaded == nullptr || loaded->device == nullptr) return std::nullopt;
    return disks_.disk_of(path_of(boot_, loaded->device));
}

TextView Uefi::read_file(const FilePlace& place, FileUse use, Bytes& content) {
    content = {};
    Pool& into = pool_of(use);
    const Handle partition = handle_of(place);
    if (partition == nullptr) return "its partition has no file system that firmware can read";
    const TextView reason = read_whole_file(boot_, partition, place.path, into);
    if (reason.empty()) content = into.all();
    return reason;
}

WebAnswer Uefi::fetch(TextView url, const WebAddress& address, FileUse use, Bytes& content) {
    content = {};
    Pool& into = pool_of(use);
    const WebAnswer answer = ipxe_ == nullptr ? fetch_file(boot_, console_, url, address, into)
                                              : fetch_by_ipxe(boot_, console_, *ipxe_, url, into);
    if (answer.reason.empty()) content = into.all();
    return answer;
}

WebAnswer Uefi::fetch_part(TextView url, const WebAddress& address, std::uint64_t offset, Buffer part) {
    if (ipxe_ != nullptr) return {"iPXE, which started this program, fetches no parts of files"};
    return fetch_file_part(boot_, console_, url, address, offset, part);
}

TextView Uefi::start_program(const FilePlace& place, Bytes content) {
    return run_program(boot_, self_, {handle_of(place), place.path, content}, {});
}

TextView Uefi::start_kernel(const FilePlace& place, Bytes content, Bytes initrd, TextView command_line) {
    const ProgramSource source{handle_of(place), place.path, content};
    if (initrd.empty()) return run_program(boot_, self_, source, command_line);
    const OfferedInitrd offered(boot_, initrd);
    if (!offered.offered()) return "firmware does not take its initrd";
    return run_program(boot_, self_, source, command_line);
}

std::optional<std::size_t> Uefi::read_variable(TextView name, Buffer into) {
    std::uint64_t bytes = into.size();
    const Status status =
        runtime_.get_variable(name_of(name).data(), &kOwnVariables, nullptr, &bytes, into.data());
    // A longer one than is wanted is there, and says nothing that is known.
    if (status == kBufferTooSmall) return 0;
    if (status != kSuccess) return std::nullopt;
    return bytes;
}

bool Uefi::write_variable(TextView name, Bytes value) {
    return runtime_.set_variable(name_of(name).data(), &kOwnVariables, kKeptAndVisible, value.size(),
                                 value.data()) == kSuccess;
}

bool Uefi::delete_variable(TextView name) {
    const Name wide = name_of(name);
    runtime_.set_variable(wide.data(), &kOwnVariables, 0, 0, nullptr);
    std::uint64_t bytes = 0;
    return runtime_.get_variable(wide.data(), &kOwnVariables, nullptr, &bytes, nullptr) == kNotFound;
}

bool Uefi::has_setup() {
    return (read_number(runtime_, "OsIndicationsSupported").value_or(0) & kBootToSetup) != 0;
}

TextView Uefi::restart_to_setup() {
    const std::uint64_t wanted = read_number(runtime_, "OsIndications").value_or(0) | kBootToSetup;
    const Status status = runtime_.set_variable(name_of("OsIndications").data(), &kGlobalVariables,
                                                kKeptAndVisible, sizeof wanted, &wanted);
    if (status != kSuccess) return "firmware does not keep the request";
    restart();
    return "the firmware did not restart it";
}

void Uefi::restart() {
    runtime_.reset(ResetType::kCold, kSuccess, 0, nullptr);
}

}  // namespace dupengine::efi
