// doctor says what the verbs would refuse, before they have to.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/scratch.h"
#include "tests/support/test_pki.h"

namespace dupengine {
namespace {

using nlohmann::json;

json ability(const json& report, const std::string& name) {
    for (const json& one : report["abilities"])
        if (one["name"] == name) return one;
    return {};
}

TEST(Doctor, AMachineThatHasEverythingCanDoEverything) {
    test::TestPki pki;
    const RunResult result = test::run_dupengine({"doctor", "--json", "--peers", pki.enrol("web-1")});
    ASSERT_EQ(result.status, 0) << result.err;
    const json report = json::parse(result.out);
    for (const char* name : {"copy, verify, inspect", "copy --grow", "copy --shrink", "copy from qcow2",
                             "copy to and from dup://", "clone --disks-only"})
        EXPECT_TRUE(ability(report, name)["possible"].get<bool>()) << ability(report, name);
    EXPECT_FALSE(ability(report, "clone")["possible"].get<bool>());
    EXPECT_NE(ability(report, "copy to and from dup://")["notes"].dump().find("web-1"), std::string::npos);
}

TEST(Doctor, WhatIsMissingIsNamedWithItsPackage) {
    const test::ScratchFolder nobody;
    const RunResult result = run_program({"unshare", "--mount", "bash", "-c",
                                          "mount --bind /dev/null $(command -v ntfsresize) && mount --bind "
                                          "/dev/null $(command -v qemu-nbd) && " +
                                              test::command() + " doctor --peers " + nobody.path()});
    ASSERT_EQ(result.status, 0) << result.err;
    for (const char* text :
         {"ntfsresize is missing (Debian packages ntfs-3g", "is not enrolled", "qemu-nbd is missing"})
        EXPECT_NE(result.out.find(text), std::string::npos) << result.out;
}

}  // namespace
}  // namespace dupengine
