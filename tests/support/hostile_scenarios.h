#pragma once
// What a hostile peer can make of the messages of a copy: a table with a name for each.

#include <functional>
#include <string>
#include <vector>

#include "wire/message.h"

namespace dupengine::test {

enum class Liar { kSource, kTarget };

struct Scenario {
    std::string name;
    Liar liar = Liar::kSource;
    std::size_t number = 0;  ///< of the message, in its direction
    std::function<Bytes(const wire::Message&)> change;
    /// It lies about its own disk (what of it is zero, what is in it), or to nobody but itself.
    bool may_be_believed = false;
};

/// Of the first and the last message of each type that either end said in a copy: every other message in its
/// place or beside it, every field wrong. The disk has a partition at 320 KiB, of 64 KiB or more.
std::vector<Scenario> hostile_scenarios(const std::vector<wire::Message>& from_source,
                                        const std::vector<wire::Message>& from_target);

}  // namespace dupengine::test
