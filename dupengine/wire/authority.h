#pragma once
// The authority of a site: the machine that enrols others holds its secret key, the list of certificates it
// has given out, and the list of those it has revoked. A folder inside that of the machine's own enrolment
// (dupengine-formats(5)). Each change is one file that is replaced whole; processes take turns.
//
// Certificates are valid for a year: long enough for machines that are duplicated now and then and have no
// process that could renew them, short enough that one that was forgotten ends by itself. What has to end
// earlier is revoked, and every channel passes the newest list on. The authority itself is valid for 20
// years.
//
// Threads: one at a time.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "wire/credentials.h"

namespace dupengine::wire {

/// A certificate that was given out.
struct Issued {
    std::string name;
    std::string serial;      ///< hexadecimal digits
    std::string key_sha256;  ///< hexadecimal digits
    std::int64_t begin = 0, end = 0;
    std::optional<std::int64_t> revoked;
    bool is_pending = false;  ///< the machine has not said yet that it has it
};

/// What a machine gets when it is enrolled, all as PEM.
struct Welcome {
    std::string certificate, authority, revoked;
};

enum class NameInUse {
    kRefuse,
    kAllow  ///< it is of the same machine, which gets another certificate
};

class Authority {
  public:
    /// Seconds since 1970; passed in, so that a test can age certificates.
    using Clock = std::function<std::int64_t()>;
    static std::int64_t system_time();

    /// Makes an authority in `folder`, and enrols this machine with it as `own_name`. Throws kRefused if the
    /// machine is enrolled already, kUsage for a bad name, kTargetIo.
    static void make(const std::string& folder, const std::string& own_name, RandomSource& random,
                     const Clock& clock = system_time);
    static bool is_in(const std::string& folder);

    /// Throws kRefused if there is none in `folder`, and as Credentials.
    Authority(const std::string& folder, RandomSource& random, Clock clock = system_time);
    ~Authority();
    Authority(const Authority&) = delete;
    Authority& operator=(const Authority&) = delete;

    /// A certificate for the key in `request`, a PKCS #10 in PEM; in the list, as pending, before it is
    /// returned. Throws kUsage for a bad name, kPeer for a bad request, kRefused if the name is in use.
    Welcome issue(const std::string& name, const std::string& request, NameInUse in_use);
    /// The machine has it: no longer pending. Throws kTargetIo.
    void confirm(const std::string& serial);
    /// Revokes what has been pending for longer than that: nobody waits any more for the machine to say that
    /// it has it. Returns those. Throws kTargetIo.
    std::vector<Issued> revoke_abandoned(std::int64_t seconds);
    /// Everything that was given out, oldest first.
    std::vector<Issued> issued() const;
    /// Revokes all that are valid under a name, or the one with a serial number. Returns those. Throws
    /// kRefused if there is none, or if it is this machine itself.
    std::vector<Issued> revoke(const std::string& name_or_serial);
    /// Revokes all that are valid under a name but one, if there are any.
    void revoke_others(const std::string& name, const std::string& kept_serial);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dupengine::wire
