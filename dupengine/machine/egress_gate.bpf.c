// SPDX-License-Identifier: MIT OR GPL-2.0-only
// Runs in the kernel on each frame that is about to leave the machine: lets it pass, or drops and counts it.
// See egress_gate.h.

// clang-format off: the types have to come first
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
// clang-format on

// In memory that the process shares.
volatile unsigned int is_closed = 0;
volatile unsigned int sealed_by = 0;  // a process; looked at by the processes alone
unsigned long long dropped_frames = 0;

// Dropped, not swallowed: TCP then knows that nothing was sent, and asks again every half a second instead of
// waiting twice as long each time.
SEC("tc")
int dupengine_gate(struct __sk_buff* frame) {
    (void)frame;
    if (!is_closed) return TC_ACT_UNSPEC;
    __sync_fetch_and_add(&dropped_frames, 1);
    return TC_ACT_SHOT;
}

char program_license[] SEC("license") = "Dual MIT/GPL";
