// The layers of ARCHITECTURE.md: arrows go down only, a third-party header stays in its folder, files stay
// short.

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <sstream>

#include "base/error.h"
#include "base/fd.h"
#include "tests/support/paths.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const fs::path kSource = test::source_folder();

// From the bottom up: a folder includes itself and what stands before it.
const std::vector<std::string> kLayers = {
    "client",           "base", "block", "codec", "layout", "image", "wire", "machine", "engine", "profiles",
    "bootloader_hooks", "cli",  "efi"};

// A third-party header, and the only places that may include it.
struct ThirdParty {
    const char* prefix;
    std::vector<std::string> places;
};
const std::vector<ThirdParty> kThirdParty = {
    {"blkid", {"dupengine/layout/"}},
    {"ext2fs/", {"dupengine/layout/"}},
    {"et/", {"dupengine/layout/"}},
    {"openssl/", {"dupengine/codec/", "dupengine/image/", "dupengine/wire/", "profiles/items/"}},
    {"xxhash.h", {"dupengine/codec/"}},
    {"zstd.h", {"dupengine/codec/"}},
    {"archive", {"profiles/", "dupengine/image/"}},
    {"curl/", {"dupengine/image/"}},
    {"libnbd.h", {"dupengine/image/"}},
    {"zlib.h", {"dupengine/image/"}},
    {"fuse3/", {"dupengine/block/"}},
    {"toml++/", {"profiles/"}},
    {"CLI/", {"dupengine/cli/"}},
    {"qrencode.h", {"dupengine/cli/"}}};

struct Include {
    std::string name;
    bool is_ours = false;  // in quotes
};

std::vector<Include> includes_of(const std::string& text) {
    static const std::regex kInclude(R"re(^\s*#\s*include\s*([<"])([^">]+)[">])re");
    std::vector<Include> found;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::smatch match;
        if (std::regex_search(line, match, kInclude)) found.push_back({match[2], match[1] == "\""});
    }
    return found;
}

// The layer of a path as it is included ("base/error.h", "profiles/schema.h") or stands in the tree
// ("dupengine/base/error.h"); the number of layers (above all) for main.cc; -1 for what is no part of them.
int layer_of(std::string path) {
    if (path.starts_with("dupengine/")) path.erase(0, std::string("dupengine/").size());
    if (path == "main.cc") return static_cast<int>(kLayers.size());
    for (std::size_t i = 0; i < kLayers.size(); ++i)
        if (path.starts_with(kLayers[i] + "/")) return static_cast<int>(i);
    return -1;
}

// What is wrong with one file.
std::vector<std::string> complaints(const std::string& path, const std::string& text) {
    std::vector<std::string> found;
    const int layer = layer_of(path);
    if (layer < 0) found.push_back(path + " is in no layer");
    for (const Include& include : includes_of(text)) {
        if (include.is_ours) {
            const int other = layer_of(include.name);
            if (other < 0) found.push_back(path + " includes " + include.name + ", which is in no layer");
            if (other > layer) found.push_back(path + " includes " + include.name + ", which is above it");
            if (path.starts_with("efi/") && other >= 0 && !include.name.starts_with("efi/") &&
                !include.name.ends_with("_format.h"))
                found.push_back(path + " includes " + include.name + ", which firmware has no library for");
            if (include.name == "block/linux_device.h" && !path.starts_with("dupengine/block/"))
                found.push_back(path + " goes around the guard: block/linux_device.h is private to block/");
        }
        for (const ThirdParty& party : kThirdParty) {
            if (!include.name.starts_with(party.prefix) || include.is_ours) continue;
            bool allowed = false;
            for (const std::string& place : party.places)
                allowed = allowed || path.starts_with(place);
            if (!allowed)
                found.push_back(path + " includes <" + include.name + ">, which is of another folder");
        }
    }
    return found;
}

bool is_source(const fs::path& path) {
    return path.extension() == ".h" || path.extension() == ".cc" || path.extension() == ".c";
}

std::map<std::string, std::string> sources_below(const std::vector<std::string>& folders) {
    std::map<std::string, std::string> sources;
    for (const std::string& folder : folders) {
        if (!fs::exists(kSource / folder)) continue;
        for (const auto& entry : fs::recursive_directory_iterator(kSource / folder))
            if (is_source(entry.path()))
                sources[fs::relative(entry.path(), kSource).string()] =
                    read_file(entry.path(), Code::kInternal);
    }
    return sources;
}

TEST(Layers, ArrowsGoDownOnlyAndThirdPartyHeadersStayInTheirFolders) {
    const auto sources = sources_below({"dupengine", "profiles", "bootloader_hooks", "efi"});
    ASSERT_GT(sources.size(), 40u) << "the sources were not found below " << kSource;
    for (const auto& [path, text] : sources)
        EXPECT_THAT(complaints(path, text), IsEmpty());
}

TEST(Layers, NoFileIsLongerThanSixHundredLines) {
    for (const auto& [path, text] :
         sources_below({"dupengine", "profiles", "bootloader_hooks", "efi", "tests"}))
        EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 600) << path << " wants to be split";
}

TEST(Layers, AnArrowThatGoesUpIsSeen) {
    EXPECT_THAT(complaints("dupengine/base/error.h", "#include \"block/extent.h\"\n"),
                ElementsAre("dupengine/base/error.h includes block/extent.h, which is above it"));
    EXPECT_THAT(complaints("dupengine/layout/gpt.cc", "  #  include \"profiles/profile.h\" // why\n"),
                ElementsAre("dupengine/layout/gpt.cc includes profiles/profile.h, which is above it"));
    EXPECT_THAT(complaints("profiles/x.cc", "#include \"elsewhere.h\"\n"),
                ElementsAre("profiles/x.cc includes elsewhere.h, which is in no layer"));
    EXPECT_THAT(
        complaints("dupengine/cli/copy.cc", "#include \"base/error.h\"\n#include \"cli/command.h\"\n"),
        IsEmpty());
}

TEST(Layers, AThirdPartyHeaderInAnotherFolderIsSeen) {
    EXPECT_THAT(complaints("dupengine/engine/plan.cc", "#include <blkid/blkid.h>\n"),
                ElementsAre("dupengine/engine/plan.cc includes <blkid/blkid.h>, which is of another folder"));
    EXPECT_THAT(complaints("profiles/store.cc", "#include <openssl/evp.h>\n").size(), 1u);
    EXPECT_THAT(complaints("profiles/items/ssh.cc", "#include <openssl/evp.h>\n"), IsEmpty());
    EXPECT_THAT(complaints("dupengine/layout/signature.cc", "#include <blkid.h>\n"), IsEmpty());
}

TEST(Layers, WhatFirmwareHasNoLibraryForIsSeen) {
    EXPECT_THAT(complaints("efi/core/gpt.cc", "#include \"layout/gpt.h\"\n"),
                ElementsAre("efi/core/gpt.cc includes layout/gpt.h, which firmware has no library for"));
    EXPECT_THAT(complaints("efi/core/gpt.cc", "#include \"layout/gpt_format.h\"\n"), IsEmpty());
}

TEST(Layers, AWayAroundTheGuardIsSeen) {
    EXPECT_THAT(complaints("dupengine/engine/apply.cc", "#include \"block/linux_device.h\"\n").size(), 1u);
    EXPECT_THAT(complaints("dupengine/block/open.cc", "#include \"block/linux_device.h\"\n"), IsEmpty());
}

}  // namespace
}  // namespace dupengine
