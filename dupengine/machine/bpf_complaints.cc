#include "machine/bpf_complaints.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace dupengine::machine {
namespace {

thread_local std::string last_complaint;

int keep(enum libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN) return 0;
    char line[512];
    std::vsnprintf(line, sizeof line, format, arguments);
    last_complaint = line;
    while (!last_complaint.empty() && last_complaint.back() == '\n')
        last_complaint.pop_back();
    return 0;
}

}  // namespace

void keep_bpf_complaints() {
    last_complaint.clear();
    libbpf_set_print(keep);
}

std::string last_bpf_complaint() {
    return last_complaint.empty() ? "it did not say why" : last_complaint;
}

}  // namespace dupengine::machine
