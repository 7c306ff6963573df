// frames FILE.pcap [PORT]: who sent what is in a capture of QEMU's filter-dump: a line "MAC frames=N first=S
// last=S" for each Ethernet source address, in seconds of the machine's clock. With PORT, also
// "longest_gap=S" between two frames of TCP over IPv4 to or from that port: a pause as it is seen from
// outside. A capture whose last frame is cut is one of a machine that was killed.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::uint32_t kMagic = 0xa1b2c3d4, kEthernet = 1, kLargest = 1u << 18;

struct FileHeader {
    std::uint32_t magic;
    std::uint16_t major, minor;
    std::int32_t zone;
    std::uint32_t figures, snap_length, link_type;
};

struct FrameHeader {
    std::uint32_t seconds, microseconds, captured, length;
};

struct Sender {
    std::uint64_t frames = 0;
    double first = 0, last = 0;
};

struct Seen {
    std::map<std::string, Sender> senders;
    double last_of_port = -1, longest_gap = 0;
};

std::string mac_of(const std::uint8_t* bytes) {
    char text[18];
    std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                  bytes[4], bytes[5]);
    return text;
}

unsigned big_endian(const std::uint8_t* bytes) {
    return static_cast<unsigned>(bytes[0]) << 8 | bytes[1];
}

bool is_of_port(const std::vector<std::uint8_t>& frame, unsigned port) {
    constexpr std::size_t kIp = 14;
    if (frame.size() < kIp + 20 || big_endian(&frame[12]) != 0x0800 || frame[kIp] >> 4 != 4 ||
        frame[kIp + 9] != 6)
        return false;
    const std::size_t tcp = kIp + (frame[kIp] & 15u) * 4u;
    if (frame.size() < tcp + 4) return false;
    return big_endian(&frame[tcp]) == port || big_endian(&frame[tcp + 2]) == port;
}

void add(Seen& seen, const FrameHeader& header, const std::vector<std::uint8_t>& frame, unsigned port) {
    if (frame.size() < 14) throw std::runtime_error("a frame without an Ethernet header");
    const double now = header.seconds + header.microseconds / 1e6;
    Sender& sender = seen.senders[mac_of(&frame[6])];
    if (sender.frames++ == 0) sender.first = now;
    sender.last = now;
    if (port == 0 || !is_of_port(frame, port)) return;
    if (seen.last_of_port >= 0 && now - seen.last_of_port > seen.longest_gap)
        seen.longest_gap = now - seen.last_of_port;
    seen.last_of_port = now;
}

Seen read_capture(const std::string& path, unsigned port) {
    std::ifstream file(path, std::ios::binary);
    FileHeader header{};
    if (!file.read(reinterpret_cast<char*>(&header), sizeof header) || header.magic != kMagic ||
        header.link_type != kEthernet)
        throw std::runtime_error(path + " is no capture of Ethernet");
    Seen seen;
    for (FrameHeader head{}; file.read(reinterpret_cast<char*>(&head), sizeof head);) {
        if (head.captured > kLargest) throw std::runtime_error(path + " is damaged");
        std::vector<std::uint8_t> frame(head.captured);
        if (!file.read(reinterpret_cast<char*>(frame.data()), static_cast<std::streamsize>(frame.size())))
            break;
        add(seen, head, frame, port);
    }
    return seen;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2 && argc != 3) {
        std::fprintf(stderr, "usage: frames FILE.pcap [PORT]\n");
        return 2;
    }
    try {
        const unsigned port = argc == 3 ? static_cast<unsigned>(std::stoul(argv[2])) : 0;
        const Seen seen = read_capture(argv[1], port);
        for (const auto& [mac, sender] : seen.senders)
            std::printf("%s frames=%llu first=%.3f last=%.3f\n", mac.c_str(),
                        static_cast<unsigned long long>(sender.frames), sender.first, sender.last);
        if (port != 0) std::printf("longest_gap=%.3f\n", seen.longest_gap);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "frames: %s\n", error.what());
        return 1;
    }
    return 0;
}
