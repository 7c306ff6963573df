#pragma once
// A machine of the tests on which dupengine.efi runs, and what its profile may say.

#include <gmock/gmock.h>

#include "efi/core/application.h"
#include "tests/unit/efi/fake_firmware.h"

namespace dupengine::test {

inline const std::string kWeb =
    "schema = 1\nkind = \"node\"\nnode = \"web-1\"\nroles = [\"base\", \"web\"]\n";
inline const std::string kStorage = "schema = 1\nkind = \"node\"\nnode = \"storage-1\"\n";
inline const std::string kFallback = "/EFI/BOOT/BOOTX64.EFI", kGrub = "/EFI/debian/grubx64.efi";

class EfiApplication : public ::testing::Test {
  protected:
    void run() {
        efi::run_application(machine_, scratch_, *survey_);
        ASSERT_FALSE(machine_.done.empty());
        if (machine_.done.back() == "restart") machine_.done.pop_back();
    }
    std::string own_program() { return "MZ..." + string_of(efi::kOwnMark) + "..."; }

    FakeFirmware machine_;
    std::vector<std::byte> scratch_ = std::vector<std::byte>(efi::kDialogScratchBytes);
    std::unique_ptr<efi::Survey> survey_ = std::make_unique<efi::Survey>();
};

}  // namespace dupengine::test
