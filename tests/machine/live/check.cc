// The judge: prints one line KEY=VALUE a thing that a test may want to hold against the other machine.

#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "parts.h"
#include "steps.h"

namespace dupengine::live {
namespace {

// What nobody would call a step that took its time.
constexpr std::uint64_t kStallMs = 500;

struct Past {
    std::uint64_t steps = 0, sum = kFirstSum, last_ms = 0;
    std::uint64_t stalls = 0, longest_ms = 0, longest_at = 0;
    std::vector<std::pair<std::string, std::uint64_t>> nodes;  // with their first step
};

void add(Past& past, const std::string& line) {
    std::istringstream words(line);
    std::uint64_t step = 0, ms = 0, sum = 0;
    std::string node, more;
    if (!(words >> step >> node >> ms >> sum) || words >> more)
        throw std::runtime_error("no step: '" + line + "'");
    if (step != past.steps + 1)
        throw std::runtime_error("step " + std::to_string(past.steps + 1) + " is missing");
    if (sum != next_sum(past.sum, step))
        throw std::runtime_error("the sum of step " + std::to_string(step) + " is wrong");
    const std::uint64_t gap = past.steps == 0 || ms < past.last_ms ? 0 : ms - past.last_ms;
    past.steps = step;
    past.sum = sum;
    past.last_ms = ms;
    if (gap > kStallMs) ++past.stalls;
    if (gap > past.longest_ms) {
        past.longest_ms = gap;
        past.longest_at = step;
    }
    if (past.nodes.empty() || past.nodes.back().first != node) past.nodes.emplace_back(node, step);
}

Past read_steps(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + " cannot be read");
    Past past;
    for (std::string line; std::getline(file, line);) {
        if (file.eof()) throw std::runtime_error("the last step is cut");
        add(past, line);
    }
    if (past.steps == 0) throw std::runtime_error("there was no step");
    return past;
}

void print(const Past& past) {
    std::printf("steps=%llu\nsum=%llu\n", static_cast<unsigned long long>(past.steps),
                static_cast<unsigned long long>(past.sum));
    for (const auto& [node, step] : past.nodes)
        std::printf("node=%s since=%llu\n", node.c_str(), static_cast<unsigned long long>(step));
    std::printf("stalls=%llu\nlongest_stall_ms=%llu at=%llu\n", static_cast<unsigned long long>(past.stalls),
                static_cast<unsigned long long>(past.longest_ms),
                static_cast<unsigned long long>(past.longest_at));
}

}  // namespace

int check(const std::string& folder, const std::string& name) {
    const std::string path = folder + "/" + name;
    std::string complaint;
    try {
        print(read_steps(path + ".steps"));
        if (name == "records") complaint = complaint_of_records(folder);
    } catch (const std::runtime_error& error) {
        complaint = error.what();
    }
    std::ifstream errors(path + ".errors");
    for (std::string line; std::getline(errors, line);)
        complaint += (complaint.empty() ? "" : "; ") + line;
    if (complaint.empty()) return 0;
    std::fprintf(stderr, "live_workload: %s: %s\n", path.c_str(), complaint.c_str());
    return 1;
}

}  // namespace dupengine::live
