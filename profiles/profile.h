#pragma once
// A profile as a value: what one machine is. It comes from TOML (schema.h), of a node and of the roles it
// names, merged into one. Value types only; nothing here reads or writes. dupengine-profile(5) documents
// every key.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dupengine::profiles {

/// How a personality item gets its value on the target.
enum class Mode {
    kIgnore,      ///< left as the source has it (the default where the profile does not mention the item)
    kSet,         ///< the value given in the profile
    kDerive,      ///< HMAC-SHA-256 of the node's secret and the item's name: the same after every duplication
    kRegenerate,  ///< fresh at each duplication
    kRemove       ///< taken away, so that the system makes its own at the first start
};

struct Item {
    Mode mode = Mode::kIgnore;
    std::string value;  ///< kSet only
    bool operator==(const Item&) const = default;
};

struct SshHostKeys {
    Mode mode = Mode::kIgnore;                     ///< kDerive, kRegenerate, kRemove, kIgnore
    std::vector<std::string> types = {"ed25519"};  ///< "ed25519", "ecdsa", "rsa" (rsa cannot be derived)
    bool operator==(const SshHostKeys&) const = default;
};

struct Services {
    std::vector<std::string> enable, disable,
        mask;  ///< unit names; ".service" is implied where there is no suffix
    bool operator==(const Services&) const = default;
};

struct User {
    std::string name;
    std::vector<std::string> ssh_authorized_keys;  ///< whole lines; they replace the user's keys
    bool operator==(const User&) const = default;
};

struct File {
    std::string
        path;  ///< absolute, inside the target's root; no "..", no symlink is followed out of the root
    std::string content;
    unsigned mode = 0644;
    bool operator==(const File&) const = default;
};

struct Host {
    std::string address;  ///< IPv4 or IPv6
    std::vector<std::string> names;
    bool operator==(const Host&) const = default;
};

/// A network interface, and what it is on this node.
struct Link {
    std::string name;  ///< as the system calls it: "ens3"
    Item mac;          ///< kSet: "52:54:00:12:34:56"; kDerive: locally administered; kIgnore
    bool dhcp = false;
    std::vector<std::string> addresses;  ///< "10.0.0.5/24", "2001:db8::5/64"; none with dhcp
    std::vector<std::string> gateways;   ///< at most one of each family
    std::vector<std::string> dns;
    std::optional<unsigned> mtu;
    bool up = true;
    bool operator==(const Link&) const = default;
};

/// The same with its MAC address known; empty: none is asked for.
struct WantedLink {
    std::string name, mac;
    bool dhcp = false;
    std::vector<std::string> addresses, gateways, dns;
    std::optional<unsigned> mtu;
    bool up = true;
    bool operator==(const WantedLink&) const = default;
};

/// How a node starts, as dupengine.efi does it. Empty: not given.
struct Boot {
    std::string choice;  ///< "disk" (if not given), "kernel", "receive", "restore", "menu"
    std::optional<unsigned> timeout_seconds;
    std::string partition;               ///< GUID of the one that has the files
    std::string loader, kernel, initrd;  ///< "/EFI/debian/grubx64.efi"
    std::string command_line;            ///< of the kernel
    std::string receive_disk;            ///< as the kernel calls it
    std::string restore_from;            ///< an image or an offer, as `dupengine copy` names it
    std::string fallback;                ///< a choice for when the first one fails; "menu" if not given
    std::string duplicate_from;          ///< a disk image on a web server, for firmware alone
    std::string report_to;               ///< a web server that is told what became of this node's images
    std::optional<unsigned> tries;       ///< how often a system that has just become this node is tried
    bool operator==(const Boot&) const = default;
};

enum class Kind { kNode, kRole };

struct Profile {
    unsigned schema = 1;
    Kind kind = Kind::kNode;
    std::uint64_t generation = 0;    ///< grows with every change of a node's profile
    std::string node;                ///< node: the machine's name; also the default of `hostname`
    std::string role;                ///< role: its name
    std::vector<std::string> roles;  ///< node: merged left to right, the node's own file last
    std::string description;

    // [identity]
    Item hostname;
    Item machine_id;  ///< kSet: 32 hexadecimal digits
    SshHostKeys ssh_host_keys;
    Item random_seed;  ///< kRegenerate, kRemove, kIgnore
    Item enrolment;    ///< kRemove, kIgnore

    // [storage]: identifiers; every reference to them is rewritten with them
    Item disk_guid;  ///< GPT disk GUID (MBR: disk signature)
    Item part_guid;  ///< unique partition GUIDs, except protected ones
    Item fs_uuid;    ///< UUIDs of ext2/3/4 and FAT volume ids
    Item swap_uuid;

    Services services;        // [services]
    Boot boot;                // [boot]; node
    std::vector<Host> hosts;  // [[host]]: further lines of /etc/hosts
    std::vector<User> users;  // [[user]]
    std::vector<File> files;  // [[file]]
    std::vector<Link> links;  // [[link]]

    bool operator==(const Profile&) const = default;
};

/// The 32 random bytes that kDerive starts from. They live in the store beside the profile's text and are
/// never printed.
struct NodeSecret {
    std::string bytes;  ///< 32 bytes
};

}  // namespace dupengine::profiles
