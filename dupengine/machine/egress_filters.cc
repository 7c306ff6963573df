#include "machine/egress_filters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "machine/bpf_complaints.h"
#include "machine/netlink.h"

namespace dupengine::machine {
namespace {

constexpr std::uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr std::uint32_t kEgress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
// enum bpf_attach_type of kernels from 6.6 on: programs that are asked before all of tc's filters.
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);

bpf_tc_hook hook_of(unsigned index, bpf_tc_attach_point point) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = static_cast<int>(index);
    hook.attach_point = point;
    return hook;
}

bpf_tc_opts gate_options() {
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.handle = kGateHandle;
    options.priority = kGatePriority;
    return options;
}

tcmsg tc_header(unsigned index, std::uint32_t parent) {
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = static_cast<int>(index);
    header.tcm_parent = parent;
    return header;
}

// A qdisc of the kind "ingress" has the same place, takes our filter without a word, and asks it on what
// comes in.
bool has_clsact(unsigned index) {
    Netlink netlink(NETLINK_ROUTE);
    std::vector<NetlinkAnswer> answers;
    if (netlink.try_ask({RTM_GETQDISC, NLM_F_DUMP, tc_header(index, 0)}, &answers) != 0) return false;
    return std::any_of(answers.begin(), answers.end(), [index](const NetlinkAnswer& answer) {
        const auto header = answer.header<tcmsg>();
        return header.tcm_ifindex == static_cast<int>(index) && header.tcm_parent == TC_H_CLSACT &&
               as_name(answer.attribute<tcmsg>(TCA_KIND)) == "clsact";
    });
}

// In the order in which they are asked. What has no handle is a list of filters, not one of them.
std::vector<NetlinkAnswer> filters_of(unsigned index, std::uint32_t parent) {
    Netlink netlink(NETLINK_ROUTE);
    std::vector<NetlinkAnswer> answers;
    // No clsact, no filters: the kernel calls that an error or an empty list.
    if (netlink.try_ask({RTM_GETTFILTER, NLM_F_DUMP, tc_header(index, parent)}, &answers) != 0) return {};
    std::erase_if(answers, [](const NetlinkAnswer& answer) {
        return answer.type != RTM_NEWTFILTER || answer.header<tcmsg>().tcm_handle == 0;
    });
    return answers;
}

bool is_program_of_gate(std::uint32_t id) {
    const Fd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    unsigned size = sizeof info;
    return program.valid() && bpf_obj_get_info_by_fd(program.get(), &info, &size) == 0 &&
           std::string(info.name) == kGateName;
}

bool has_gate(const bpf_tc_hook& hook) {
    bpf_tc_opts found = gate_options();
    return bpf_tc_query(&hook, &found) == 0 && is_program_of_gate(found.prog_id);
}

void remove_qdisc(unsigned index) {
    if (!filters_of(index, kIngress).empty() || !filters_of(index, kEgress).empty()) return;
    auto hook = hook_of(index, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    bpf_tc_hook_destroy(&hook);
}

}  // namespace

bool attach_gate(const OutsideDevice& device, int program) {
    keep_bpf_complaints();
    bpf_tc_hook hook = hook_of(device.index, BPF_TC_EGRESS);
    const int made = bpf_tc_hook_create(&hook);
    if (made != 0 && made != -EEXIST)
        throw_errno(Code::kUnsupported, -made, "{}: takes no filter for what leaves it (clsact)",
                    device.name);
    if (!has_clsact(device.index))
        throw_error(Code::kUnsupported,
                    "{}: has an ingress qdisc, beside which nothing can be asked about what leaves; replace "
                    "it by clsact, which "
                    "takes the same filters (tc qdisc show dev {})",
                    device.name, device.name);
    keep_bpf_complaints();  // that there is a qdisc is none
    bpf_tc_opts options = gate_options();
    options.prog_fd = program;
    if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
        if (made == 0) remove_qdisc(device.index);
        throw_errno(
            Code::kUnsupported, -error,
            "{}: no filter of ours can stand first on what leaves it (see `tc filter show dev {} egress` and "
            "`tc qdisc show dev {}`)",
            device.name, device.name, device.name);
    }
    return made == 0;
}

bool detach_gate(const OutsideDevice& device, bool with_qdisc) {
    keep_bpf_complaints();
    const bpf_tc_hook hook = hook_of(device.index, BPF_TC_EGRESS);
    const bool was_there = has_gate(hook);
    if (was_there) {
        const bpf_tc_opts options = gate_options();
        if (const int error = bpf_tc_detach(&hook, &options); error != 0 && error != -ENOENT)
            throw_errno(Code::kUnsupported, -error, "{}: the gate on what leaves it cannot be taken away",
                        device.name);
    }
    if (with_qdisc) remove_qdisc(device.index);
    return was_there;
}

std::string stands_before_gate(const OutsideDevice& device) {
    const auto filters =
        has_clsact(device.index) ? filters_of(device.index, kEgress) : std::vector<NetlinkAnswer>();
    if (filters.empty()) return fmt::format("{}: the gate on what leaves it is gone", device.name);
    const auto first = filters.front().header<tcmsg>();
    if (first.tcm_handle != kGateHandle || first.tcm_info >> 16 != kGatePriority)
        return fmt::format("{}: another filter stands before the gate on what leaves it", device.name);
    unsigned programs = 0;
    if (bpf_prog_query(static_cast<int>(device.index), kTcxEgress, 0, nullptr, nullptr, &programs) == 0 &&
        programs > 0)
        return fmt::format("{}: {} tcx programs of others are asked before any gate on what leaves it",
                           device.name, programs);
    return {};
}

bool has_waiting_frames(Netlink& netlink, unsigned index) {
    std::vector<NetlinkAnswer> answers;
    // The kernel tells of one device or of all of them, as it likes.
    if (netlink.try_ask({RTM_GETQDISC, NLM_F_DUMP, tc_header(index, 0)}, &answers) != 0) return true;
    for (const NetlinkAnswer& answer : answers) {
        if (answer.type != RTM_NEWQDISC || answer.header<tcmsg>().tcm_ifindex != static_cast<int>(index))
            continue;
        const auto queue =
            as_value<gnet_stats_queue>(find_attribute(answer.attribute<tcmsg>(TCA_STATS2), TCA_STATS_QUEUE));
        if (queue.qlen != 0 || queue.backlog != 0) return true;
    }
    return false;
}

}  // namespace dupengine::machine
