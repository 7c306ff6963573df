// live_workload: programs that check themselves while the machine that they run on is duplicated, and a judge
// of what they left behind. Each ends only when it is killed.
//
//     live_workload counter FOLDER                a step each 50 ms, in memory and, durable, in a file
//     live_workload records FOLDER                a database: a log first, then the record, each with fsync;
//     reads others live_workload client FOLDER ADDRESS PORT    says its step to an echo server each 100 ms
//     over one TCP connection;
//                                                 ends at the first error. FOLDER in a tmpfs: then it waits
//                                                 for no disk
//     live_workload pages FOLDER                  rewrites words in 1,000 of 16,384 random pages a second
//     live_workload naive ADDRESS PORT            the pause of a duplication as one would write it first
//     live_workload check FOLDER NAME             judges NAME.steps and NAME.errors: prints what it was, or
//     complaints
//                                                 (status 1). With NAME records, the database, too.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "parts.h"

namespace live = dupengine::live;

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (words.size() == 2 && words[0] == "counter") live::run_counter(words[1]);
        if (words.size() == 2 && words[0] == "records") live::run_records(words[1]);
        if (words.size() == 2 && words[0] == "pages") live::run_pages(words[1]);
        if (words.size() == 4 && words[0] == "client")
            return live::run_client(words[1], words[2], std::stoi(words[3]));
        if (words.size() == 3 && words[0] == "naive") return live::run_naive(words[1], std::stoi(words[2]));
        if (words.size() == 3 && words[0] == "check") return live::check(words[1], words[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "live_workload: %s\n", error.what());
        return 1;
    }
    std::fprintf(stderr,
                 "usage: live_workload counter|records|pages FOLDER\n"
                 "       live_workload client FOLDER ADDRESS PORT\n"
                 "       live_workload naive ADDRESS PORT\n"
                 "       live_workload check FOLDER NAME\n");
    return 2;
}
