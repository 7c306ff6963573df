#pragma once
// What the tests of two machines that are enrolled with each other share: their keys, a source and a target
// with a profile, receive and the copy that sends to it.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/fd.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/running.h"
#include "tests/support/scratch.h"
#include "tests/support/test_pki.h"

namespace dupengine {

using block::Extent;
using test::Running;
using test::ScratchFolder;

class Peers : public testing::Test {
  protected:
    Peers()
        : port_(test::free_port()), address_(fmt::format("127.0.0.1:{}", port_)), url_("dup://" + address_) {}

    std::unique_ptr<Running> receive(const std::string& target, std::vector<std::string> more = {}) {
        std::vector<std::string> words = {"receive",      "--yes",    "--json", "--peers",
                                          target_folder_, "--listen", address_, target};
        words.insert(words.end(), more.begin(), more.end());
        auto running = std::make_unique<Running>(std::move(words));
        running->wait_until_listening(port_);
        return running;
    }
    RunResult send(const std::string& source) const {
        return test::run_dupengine({"copy", "--json", "--peers", source_folder_, source, url_});
    }
    std::string disk_file(const std::string& name, const test::DiskBytes& disk) const {
        const std::string path = folder_.file(name);
        write_file_atomic(path, disk.content, 0600, Code::kInternal);
        return path;
    }

    ScratchFolder folder_;
    test::TestPki pki_;
    std::string source_folder_ = pki_.enrol("source"), target_folder_ = pki_.enrol("target");
    std::uint16_t port_;
    std::string address_, url_;
};

inline constexpr std::uint64_t kSize = 64 * kMiB;
inline const Extent kData{kMiB, 49 * kMiB};
inline const Extent kProfile{56 * kMiB, 57 * kMiB};

inline std::shared_ptr<test::DiskBytes> a_source() {
    return test::make_gpt_disk(kSize, {{1, kData, "root"}}, 1);
}

inline std::shared_ptr<test::DiskBytes> a_target() {
    return test::make_gpt_disk(
        kSize, {{1, {kMiB, 3 * kMiB}, "old"}, {128, kProfile, "profile", layout::type_guid::kProfile}}, 2,
        true);
}

inline Bytes part(const Bytes& disk, Extent e) {
    return {disk.begin() + static_cast<std::ptrdiff_t>(e.begin),
            disk.begin() + static_cast<std::ptrdiff_t>(e.end)};
}

inline Bytes content_of(const std::string& path) {
    const Fd fd = open_path(path, O_RDONLY, Code::kInternal);
    return read_to_end(fd.get(), 256 * kMiB, path);
}

inline void expect_copy(const std::string& target, const test::DiskBytes& source,
                        const test::DiskBytes& before) {
    const Bytes now = content_of(target);
    EXPECT_EQ(part(now, kData), part(source.content, kData));
    EXPECT_EQ(part(now, kProfile), part(before.content, kProfile)) << "the profile is lost";
    EXPECT_NE(test::must_run({"sgdisk", "-v", target}).find("No problems"), std::string::npos);
}

// Until the first eighth of the data is there; the rest takes more than a second at the rate of these tests.
inline void wait_until_it_has_begun(const std::string& target, const test::DiskBytes& source) {
    const Extent first{kData.begin, kData.begin + kData.size() / 8};
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (part(content_of(target), first) != part(source.content, first)) {
        ASSERT_LT(std::chrono::steady_clock::now(), patience) << "nothing was written";
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
}

}  // namespace dupengine
