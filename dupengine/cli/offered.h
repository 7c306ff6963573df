#pragma once
// A source of this machine as it is offered to others: looked at as before any copy, and held. Prints
// nothing.

#include <string>
#include <vector>

#include "cli/copy_arguments.h"
#include "wire/offer.h"

namespace dupengine::cli {

class OfferedSource {
  public:
    /// Throws what a copy would be refused with.
    OfferedSource(std::string name, const std::string& endpoint, const CopyArguments& arguments);
    /// For an offer; this outlives it.
    wire::OfferedDisk disk() const;
    const std::vector<std::string>& notes() const { return notes_; }
    /// As CopySource's.
    void set_stop(const std::stop_token& stop) const { source_.set_stop(stop); }

  private:
    std::string name_;
    CopySource source_;
    std::vector<std::string> notes_;
    const bool is_busy_;
};

}  // namespace dupengine::cli
