#pragma once
// What the tests of taking up a role share: a golden system in memory, the profile of a web server, and the
// short forms of plan and apply.

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "profiles/assume.h"
#include "tests/support/fake_system.h"

namespace dupengine::profiles {

inline Profile web_profile() {
    Profile profile;
    profile.node = "web-1";
    profile.generation = 7;
    profile.hostname.mode = Mode::kDerive;
    profile.machine_id.mode = Mode::kDerive;
    profile.ssh_host_keys = {Mode::kDerive, {"ed25519", "ecdsa"}};
    profile.random_seed.mode = Mode::kRegenerate;
    for (Item* item : {&profile.disk_guid, &profile.part_guid, &profile.fs_uuid, &profile.swap_uuid})
        item->mode = Mode::kDerive;
    profile.services = {{"web"}, {"old"}, {"noise.timer"}};
    profile.hosts = {{"10.0.0.2", {"storage-1", "storage"}}};
    profile.users = {{"ops", {"ssh-ed25519 AAAA ops"}}};
    profile.files = {{"/etc/web/site.conf", "hello\n", 0640}};
    return profile;
}

inline const NodeSecret kSecret{std::string(32, 'k')}, kOtherSecret{std::string(32, 'o')};

inline AssumePlan plan(test::FakeSystem& system, const Profile& profile, const NodeSecret& secret = kSecret,
                       std::uint64_t seed = 1) {
    SeededRandom random(seed);
    return plan_assume(profile, secret, system, random);
}

inline void assume(test::FakeSystem& system, const Profile& profile = web_profile(),
                   const NodeSecret& secret = kSecret) {
    apply_assume(plan(system, profile, secret), secret, system);
}

inline std::string refusal_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused) << e.what();
        return e.what();
    }
    ADD_FAILURE() << "was not refused";
    return {};
}

class AssumeTest : public ::testing::Test {
  protected:
    AssumeTest() { fill_golden(system); }
    test::FakeSystem system;
};

// Runs `work` on a fresh golden system with the power cut at its k-th write, for every k, in every way; then
// `after`.
inline void for_every_cut(const std::function<void(test::FakeSystem&)>& prepare,
                          const std::function<void(test::FakeSystem&)>& work,
                          const std::function<void(test::FakeSystem&)>& after) {
    for (const test::PowerCut::How how :
         {test::PowerCut::How::kBeforeTheWrite, test::PowerCut::How::kAfterTheWrite,
          test::PowerCut::How::kTornWrite}) {
        for (unsigned k = 1;; ++k) {
            ASSERT_LT(k, 10'000u);
            test::FakeSystem system;
            fill_golden(system);
            prepare(system);
            system.power.writes = 0;
            system.power.at = k;
            system.power.how = how;
            bool cut = false;
            try {
                work(system);
            } catch (const test::PowerCut::Happened&) {
                cut = true;
            }
            system.power.at = 0;
            SCOPED_TRACE(fmt::format("cut at write {} ({})", k, static_cast<int>(how)));
            if (!cut) {
                ASSERT_GT(k, 30u);  // the work is that long, so the cuts were real
                break;
            }
            after(system);
            if (::testing::Test::HasFailure()) return;
        }
    }
}

}  // namespace dupengine::profiles
