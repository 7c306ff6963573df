#include "parts.h"
#include "steps.h"

namespace dupengine::live {

void run_counter(const std::string& folder) {
    Steps steps(folder, "counter", Steps::Keep::kDurable);
    for (std::uint64_t next = milliseconds();; next = milliseconds() + 50) {
        sleep_until(next);
        steps.step();
    }
}

}  // namespace dupengine::live
