#pragma once
// Keeps the frames of this machine inside it, so that a duplicate is heard by nobody before it is somebody
// else. A BPF program stands first on the egress of every device that leads outside (network_devices.h); one
// word in memory tells it whether to drop. The word and the programs are in the memory that is duplicated:
// closed at the source, the gate is closed in the duplicate until that opens it.
//
//     machine        what sends        its queue (qdisc)        driver
//     TCP, ARP, ND, bridges, VLANs, VPNs, virtual machines -> [gate] -> queue -> driver -> wire
//
// What is in the queue has passed the gate, and would be sent by the duplicate as soon as its driver is
// awake: so drain() after close(), before the memory is taken. Frames in a driver's own hands (rings, queues
// of Wi-Fi) are its to drop when the kernel puts it to sleep for the image.
//
// What passes by the gate, because the kernel does not ask its filters: AF_PACKET sockets with qdisc bypass,
// AF_XDP and DPDK (processes, which are frozen meanwhile); XDP programs that send back or redirect, and
// netconsole (ways_around() names those two); what hardware sends by itself: management frames of Wi-Fi,
// LLDP, RDMA, forwarding in a switch chip, a device that was given to a virtual machine.
//
// Who may do what. One gate a machine: it is held by a lock, which lasts as long as the process that made it
// or one that was forked from it lives. They share the words in memory. Only the process that made it takes
// it down in its destructor; another one, which goes on alone as the duplicate, calls remove(). If all of
// them die, the programs stay as they are, also closed: the next gate or remove_leftovers() takes them away.
//
// A parent that finds its child dead cannot know whether it is the source, where the gate has to open, or the
// duplicate, where it must not. So the child calls seal() directly before the memory is taken: until it opens
// the gate itself, nobody else can, and the parent's destructor leaves it. At the source the child opens it
// as soon as it knows that it is there; in the image it is sealed for ever. One thread at a time in each
// process.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "machine/network_devices.h"

namespace dupengine::machine {

class EgressGate {
  public:
    static constexpr const char* kLock = "/run/dupengine-gate.lock";

    /// Stands on these devices, open. Throws kRefused if another gate is in use; kUnsupported if it cannot
    /// stand first on one of them, and why; then it stands on none.
    explicit EgressGate(std::vector<OutsideDevice> devices = find_outside_devices());
    ~EgressGate();
    EgressGate(const EgressGate&) = delete;
    EgressGate& operator=(const EgressGate&) = delete;

    /// One store to memory each; they allocate nothing and cannot fail.
    void close();
    /// Only this process can open it from here on, or take it down.
    void seal();
    /// It is not sealed any more. False, with nothing done, if another process sealed it.
    bool open();
    /// Those that were dropped so far.
    std::uint64_t closed_frames() const;

    /// After close(): waits until what had passed before has left the queues, too. False if some is still
    /// there after that time; then the duplicate would send it.
    bool drain(std::chrono::milliseconds patience);

    /// That it is still the first on all devices that lead outside now: to be asked shortly before it has to
    /// hold. Throws kRefused naming the device that came, or the filter that was put before it. A device that
    /// is gone is no reason.
    void check(const std::vector<OutsideDevice>& devices = find_outside_devices()) const;
    /// What of this machine can pass by it, each a line.
    std::vector<std::string> ways_around() const;

    /// Takes it down, in whichever process, and leaves filters of others as they are. It is no gate any more.
    /// Throws kRefused if another process sealed it.
    void remove();

    /// Stands on this device of the first network namespace no more; on the others it stays as it is. Throws
    /// as remove(). Of a device on which it does not stand: nothing.
    void leave(const std::string& device);

    /// Takes down what dead processes left; the number of devices that had something. Nothing if a gate is in
    /// use.
    static std::size_t remove_leftovers();
    /// Whether this kernel could have a gate: empty, or why not. Tried in a network namespace that nobody
    /// uses.
    static std::string obstacle();

  private:
    struct Program;
    struct Place {
        OutsideDevice device;
        bool made_qdisc = false;
    };
    EgressGate(std::vector<OutsideDevice> devices, Fd lock);
    void stand_on(const OutsideDevice& device);
    bool is_sealed_by_another() const;
    void refuse_if_sealed() const;

    Fd lock_;
    int owner_;
    std::unique_ptr<Program> program_;
    std::vector<Place> places_;
};

}  // namespace dupengine::machine
