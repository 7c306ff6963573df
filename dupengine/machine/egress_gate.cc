#include "machine/egress_gate.h"

#include <bpf/libbpf.h>
#include <egress_gate.skel.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/membarrier.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "machine/bpf_complaints.h"
#include "machine/egress_filters.h"
#include "machine/netlink.h"

namespace dupengine::machine {
namespace {

using namespace std::chrono_literals;

// Not valid if somebody else has it. Forked processes hold it, too, as long as they live.
Fd take_lock() {
    Fd lock = open_path(EgressGate::kLock, O_RDWR | O_CREAT | O_NOFOLLOW, Code::kUnsupported, 0600);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno != EWOULDBLOCK)
        throw_errno(Code::kUnsupported, errno, "{}: cannot be locked", EgressGate::kLock);
    return {};
}

// A virtual device can have one, too: it may have been put there by a program that named it.
std::size_t remove_from_all() {
    std::size_t count = 0;
    for (const NamespacePointer& where : find_network_namespaces()) {
        const InsideNamespace inside(*where);
        for (const NetworkDevice& device : list_network_devices())
            count += detach_gate({where, device.index, device.name}, false) ? 1 : 0;
    }
    return count;
}

Fd take_lock_and_clean() {
    Fd lock = take_lock();
    if (!lock.valid())
        throw_error(Code::kRefused,
                    "{}: another dupengine keeps the frames of this machine back, or a process that it left",
                    EgressGate::kLock);
    remove_from_all();
    return lock;
}

// Returns when no processor runs a filter any more that had begun before.
void wait_for_filters() {
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return;
    std::this_thread::sleep_for(20ms);  // no such call here; a filter takes less than a millisecond
}

// Shared with the kernel and with forked processes.
std::atomic_ref<unsigned> word(volatile unsigned& shared) {
    return std::atomic_ref(const_cast<unsigned&>(shared));
}

bool has_netconsole() {
    std::error_code none;
    const std::filesystem::path targets = "/sys/kernel/config/netconsole";
    return std::filesystem::exists("/sys/module/netconsole/initstate", none) ||
           std::filesystem::directory_iterator(targets, none) != std::filesystem::directory_iterator();
}

bool has_kernel_argument(const std::string& name) {
    std::ifstream file("/proc/cmdline");
    for (std::string word; file >> word;)
        if (word.starts_with(name + "=")) return true;
    return false;
}

}  // namespace

struct EgressGate::Program {
    egress_gate_program* skeleton = nullptr;
    Program() {
        keep_bpf_complaints();
        skeleton = egress_gate_program__open();
        const int error = skeleton == nullptr ? errno : -egress_gate_program__load(skeleton);
        if (error == 0) return;
        egress_gate_program__destroy(skeleton);
        throw_errno(Code::kUnsupported, error,
                    "this kernel takes no BPF program that could keep frames back ({})",
                    last_bpf_complaint());
    }
    ~Program() { egress_gate_program__destroy(skeleton); }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    int fd() const { return bpf_program__fd(skeleton->progs.dupengine_gate); }
};

EgressGate::EgressGate(std::vector<OutsideDevice> devices)
    : EgressGate(std::move(devices), take_lock_and_clean()) {}

EgressGate::EgressGate(std::vector<OutsideDevice> devices, Fd lock)
    : lock_(std::move(lock)), owner_(::getpid()), program_(std::make_unique<Program>()) {
    try {
        for (const OutsideDevice& device : devices)
            stand_on(device);
    } catch (...) {
        remove();
        throw;
    }
}

void EgressGate::stand_on(const OutsideDevice& device) {
    const InsideNamespace inside(*device.where);
    places_.push_back({device, attach_gate(device, program_->fd())});
    if (const std::string reason = stands_before_gate(device); !reason.empty())
        throw_error(Code::kUnsupported, "{}", reason);
}

EgressGate::~EgressGate() {
    if (::getpid() != owner_ || is_sealed_by_another()) return;
    try {
        remove();
    } catch (const Error&) {  // remove_leftovers() finds it
        open();
    }
}

bool EgressGate::is_sealed_by_another() const {
    const unsigned sealer = word(program_->skeleton->bss->sealed_by).load();
    return sealer != 0 && sealer != static_cast<unsigned>(::getpid());
}

void EgressGate::close() {
    word(program_->skeleton->bss->is_closed).store(1);
}

void EgressGate::seal() {
    word(program_->skeleton->bss->sealed_by).store(static_cast<unsigned>(::getpid()));
}

bool EgressGate::open() {
    if (is_sealed_by_another()) return false;
    word(program_->skeleton->bss->sealed_by).store(0);
    word(program_->skeleton->bss->is_closed).store(0);
    return true;
}

std::uint64_t EgressGate::closed_frames() const {
    return std::atomic_ref(program_->skeleton->bss->dropped_frames).load();
}

bool EgressGate::drain(std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    wait_for_filters();
    for (const Place& place : places_) {
        const InsideNamespace inside(*place.device.where);
        Netlink netlink(NETLINK_ROUTE);
        while (has_waiting_frames(netlink, place.device.index)) {
            if (std::chrono::steady_clock::now() >= deadline) return false;
            std::this_thread::sleep_for(1ms);
        }
    }
    return true;
}

void EgressGate::check(const std::vector<OutsideDevice>& devices) const {
    for (const OutsideDevice& device : devices) {
        const bool has_gate = std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
            return place.device.index == device.index && place.device.where->number == device.where->number;
        });
        if (!has_gate)
            throw_error(Code::kRefused, "{}: came after the gate was put up; start anew", device.name);
        const InsideNamespace inside(*device.where);
        if (const std::string reason = stands_before_gate(device); !reason.empty())
            throw_error(Code::kRefused, "{}", reason);
    }
}

std::vector<std::string> EgressGate::ways_around() const {
    std::vector<std::string> ways;
    for (const Place& place : places_) {
        const InsideNamespace inside(*place.device.where);
        unsigned program = 0;
        if (bpf_xdp_query_id(static_cast<int>(place.device.index), 0, &program) == 0 && program != 0)
            ways.push_back(
                fmt::format("{}: an XDP program can send frames from there by itself", place.device.name));
    }
    if (has_netconsole() || has_kernel_argument("netconsole"))
        ways.emplace_back("netconsole sends what the kernel has to say past all filters");
    return ways;
}

void EgressGate::refuse_if_sealed() const {
    if (is_sealed_by_another())
        throw_error(Code::kRefused,
                    "the gate for frames was sealed by another process, which may have been duplicated");
}

void EgressGate::leave(const std::string& device) {
    refuse_if_sealed();
    std::erase_if(places_, [&](const Place& place) {
        if (place.device.name != device || !place.device.where->name.empty()) return false;
        const InsideNamespace inside(*place.device.where);
        detach_gate(place.device, place.made_qdisc);
        return true;
    });
}

void EgressGate::remove() {
    refuse_if_sealed();
    // The last to stand is the first to go; what cannot go is tried again by the next call.
    for (; !places_.empty(); places_.pop_back()) {
        const Place& place = places_.back();
        const InsideNamespace inside(*place.device.where);
        detach_gate(place.device, place.made_qdisc);
    }
}

std::size_t EgressGate::remove_leftovers() {
    const Fd lock = take_lock();
    return lock.valid() ? remove_from_all() : 0;
}

// The namespace is the thread's own, and goes with it.
std::string EgressGate::obstacle() {
    std::string reason;
    std::thread([&reason] {
        try {
            if (::unshare(CLONE_NEWNET) != 0)
                throw_errno(Code::kUnsupported, errno, "no network namespace can be made to try the gate in");
            const NetworkNamespace here{"", 0,
                                        open_path("/proc/thread-self/ns/net", O_RDONLY, Code::kUnsupported)};
            const Program program;
            constexpr unsigned kLoopback = 1;
            attach_gate({nullptr, kLoopback, "a device"}, program.fd());
        } catch (const Error& e) {
            reason = e.what();
        }
    }).join();
    return reason;
}

}  // namespace dupengine::machine
