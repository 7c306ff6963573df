// Variables of firmware as files: what firmware reads is what was meant, and a machine without them says so.

#include "machine/efi_variables.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using ::testing::HasSubstr;

const std::string kFile = "DupengineTries-87463cd7-2602-467b-beac-b3b17a82e3d0";

std::string message_of(Code code, const std::string& folder) {
    try {
        const machine::EfiVariables variables(folder);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code);
        return e.what();
    }
    return "taken";
}

class EfiVariablesTest : public ::testing::Test {
  protected:
    EfiVariablesTest() { put("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x07"); }
    void put(const std::string& name, const std::string& content) {
        write_file_atomic(folder_.file(name), as_bytes(content), 0644, Code::kInternal);
    }
    machine::EfiVariables variables() const { return machine::EfiVariables(folder_.path()); }

    const test::ScratchFolder folder_;
};

TEST_F(EfiVariablesTest, HaveTheirAttributesInFrontOfTheValue) {
    variables().write("DupengineTries", "3");
    EXPECT_EQ(read_file(folder_.file(kFile), Code::kInternal), std::string("\x07\0\0\0"
                                                                           "3",
                                                                           5));
    EXPECT_EQ(variables().read("DupengineTries"), "3");
}

TEST_F(EfiVariablesTest, AreReplacedWhole) {
    variables().write("DupengineTries", "10");
    variables().write("DupengineTries", "9");
    EXPECT_EQ(variables().read("DupengineTries"), "9");
    variables().write("DupengineTries", "");
    EXPECT_EQ(variables().read("DupengineTries"), "");
}

TEST_F(EfiVariablesTest, AreNoneWhereNobodyMadeThem) {
    EXPECT_EQ(variables().read("DupengineTries"), std::nullopt);
    put(kFile, "\x07");
    EXPECT_EQ(variables().read("DupengineTries"), std::nullopt) << "a file without attributes";
    variables().remove("DupengineTries");
    EXPECT_FALSE(std::filesystem::exists(folder_.file(kFile)));
    variables().remove("DupengineTries");
}

TEST_F(EfiVariablesTest, AreMissedInPlainWords) {
    EXPECT_THAT(message_of(Code::kUnsupported, folder_.file("none")),
                HasSubstr("not started by UEFI firmware"));
    const test::ScratchFolder empty;
    EXPECT_THAT(message_of(Code::kUnsupported, empty.path()),
                HasSubstr("empty; mount -t efivarfs efivarfs /"));
    EXPECT_THAT(
        message_of(Code::kUnsupported, folder_.file("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c")),
        HasSubstr("no variables of firmware"));
}

}  // namespace
}  // namespace dupengine
