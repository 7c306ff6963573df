// dupengine enrol: invite, join, list, revoke. See dupengine-enrol(8).

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/peers_option.h"
#include "cli/qr_code.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "wire/certificates.h"
#include "wire/enrolment.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;

// Everything that the sub-verbs may be given.
struct Options {
    std::string peers = wire::kPeersFolder;
    std::string name;
    std::string own_name;
    std::string listen;
    unsigned minutes = 10;
    std::string host, token;
    bool replace = false;
    std::string revoked;  // a name or a serial number
};

void print_json(const ordered_json& json) {
    fmt::print("{}\n", json.dump(2, ' ', false, ordered_json::error_handler_t::replace));
}

std::string host_name() {
    char name[256] = "";
    if (::gethostname(name, sizeof name - 1) != 0) throw_errno(Code::kInternal, errno, "gethostname");
    return name;
}

// -- invite
// ---------------------------------------------------------------------------------------------------------

void ensure_authority(const Options& options, RandomSource& random) {
    if (wire::Authority::is_in(options.peers)) {
        if (!options.own_name.empty())
            throw_error(Code::kUsage, "--own-name is for the first invitation: this machine has its name");
        return;
    }
    const std::string own = options.own_name.empty() ? host_name() : options.own_name;
    wire::Authority::make(options.peers, own, random);
    fmt::print(stderr, "dupengine: {}: made an authority; this machine is {}\n", options.peers, own);
}

// Where the one who joins finds us, as far as we know.
std::string place_to_join(const wire::Address& listen) {
    const bool is_any = listen.host == "::" || listen.host == "0.0.0.0";
    const std::string host = is_any ? host_name() : listen.host;
    if (listen.port != wire::kEnrolPort) return wire::Address{host, listen.port}.text();
    return host;
}

void show_invitation(const Globals& globals, const Options& options, const wire::Address& listen,
                     const std::string& token) {
    if (globals.json) {
        print_json({{"result", "waiting"},
                    {"listen", listen.text()},
                    {"name", options.name.empty() ? ordered_json() : ordered_json(options.name)},
                    {"minutes", options.minutes},
                    {"token", token}});
    } else {
        const Terminal terminal = look_at_terminal(STDOUT_FILENO);
        if (terminal.is_terminal) fmt::print("{}\n", draw_qr_code(token, terminal.style));
        fmt::print("{}\n\nIt works once, within {} minutes. On {}:\n\n    dupengine enrol join {}\n\n", token,
                   options.minutes, options.name.empty() ? "the machine that joins" : options.name,
                   place_to_join(listen));
    }
    if (std::fflush(stdout) != 0) throw_errno(Code::kInternal, errno, "standard output cannot be written");
}

int run_invite(const Globals& globals, const Options& options) {
    if (!options.name.empty()) wire::check_peer_name(options.name);
    const InterruptWatch interrupt;
    SystemRandom random;
    wire::Listener listener(wire::parse_listening_address(options.listen, wire::kEnrolPort));
    ensure_authority(options, random);
    wire::Authority authority(options.peers, random);
    wire::InviteOptions invite;
    invite.name = options.name;
    invite.lifetime = std::chrono::minutes(options.minutes);
    std::optional<Secret> token(wire::draw_token(random));
    wire::Invitation invitation(authority, *token, invite, [](const std::string& line) {
        fmt::print(stderr, "dupengine: {}\n", printable(line, Charset::kUtf8));
    });
    show_invitation(globals, options, listener.address(), wire::token_text(*token));
    token.reset();
    const wire::Joined joined = invitation.wait(listener, interrupt.token());
    ordered_json json = {
        {"result", "ok"}, {"name", joined.name}, {"serial", joined.serial}, {"from", joined.from}};
    if (!joined.not_revoked.empty()) json["not_revoked"] = joined.not_revoked;  // said to the person already
    if (globals.json)
        print_json(json);
    else
        fmt::print("{} is enrolled, from {} (serial number {})\n", joined.name, joined.from, joined.serial);
    return joined.not_revoked.empty() ? 0 : static_cast<int>(Code::kTargetIo);
}

// -- join
// -----------------------------------------------------------------------------------------------------------

// From standard input, it is neither in a history nor in a list of processes.
Secret read_token(const Options& options) {
    if (!options.token.empty() && options.token != "-") return wire::parse_token(options.token);
    if (::isatty(STDIN_FILENO) == 1) fmt::print(stderr, "token: ");
    constexpr std::size_t kLongest = 1000;
    std::string line;
    for (char c = 0; line.size() < kLongest && std::cin.get(c) && c != '\n';)
        line += c;
    if (line.empty()) throw_error(Code::kUsage, "no token was given, as argument or on standard input");
    Secret token = wire::parse_token(line);
    ::explicit_bzero(line.data(), line.size());
    return token;
}

int run_join(const Globals& globals, const Options& options) {
    const InterruptWatch interrupt;
    wire::JoinOptions join;
    join.folder = options.peers;
    join.name = options.name;
    join.host = host_name();
    join.replace = options.replace;
    const wire::Address address = wire::parse_address(options.host, wire::kEnrolPort);
    wire::check_can_join(join);
    const Secret token = read_token(options);
    auto connection = wire::connect_tcp(address, wire::after(std::chrono::seconds(20)), interrupt.token());
    const wire::PeerIdentity own = wire::join(std::move(connection), token, join);
    if (globals.json)
        print_json({{"result", "ok"},
                    {"name", own.name},
                    {"serial", own.serial},
                    {"key_sha256", to_hex(own.key_sha256)}});
    else
        fmt::print("this machine is enrolled as {} (serial number {})\n", own.name, own.serial);
    return 0;
}

// -- list
// -----------------------------------------------------------------------------------------------------------

const char* state_of(const wire::Issued& one) {
    if (one.revoked) return "revoked";
    if (one.end < wire::Authority::system_time()) return "expired";
    return one.is_pending ? "pending" : "valid";
}

ordered_json issued_json(const wire::Issued& one) {
    ordered_json json = {
        {"name", one.name}, {"serial", one.serial},      {"state", state_of(one)},      {"begin", one.begin},
        {"end", one.end},   {"revoked", ordered_json()}, {"key_sha256", one.key_sha256}};
    if (one.revoked) json["revoked"] = *one.revoked;
    return json;
}

std::string issued_table(const std::vector<wire::Issued>& all) {
    std::vector<Row> rows;
    for (const wire::Issued& one : all)
        rows.push_back(
            {{one.name, state_of(one), wire::time_text(one.revoked ? *one.revoked : one.end), one.serial},
             {}});
    return draw_table({{"name"}, {"state"}, {"until"}, {"serial number"}}, rows,
                      look_at_terminal(STDOUT_FILENO).style);
}

int run_list(const Globals& globals, const Options& options) {
    const wire::Credentials own(options.peers);
    std::vector<wire::Issued> issued;
    const bool is_authority = wire::Authority::is_in(options.peers);
    SystemRandom random;
    if (is_authority) issued = wire::Authority(options.peers, random).issued();
    if (globals.json) {
        ordered_json json = {{"name", own.identity().name},
                             {"serial", own.identity().serial},
                             {"key_sha256", to_hex(own.identity().key_sha256)},
                             {"authority", is_authority},
                             {"issued", ordered_json::array()}};
        for (const wire::Issued& one : issued)
            json["issued"].push_back(issued_json(one));
        print_json(json);
        return 0;
    }
    fmt::print("this machine is {}{}\nkey {}\n", own.identity().name,
               is_authority ? ", which enrols others" : "", to_hex(own.identity().key_sha256));
    if (is_authority) fmt::print("\n{}", issued_table(issued));
    return 0;
}

// -- revoke
// ---------------------------------------------------------------------------------------------------------

int run_revoke(const Globals& globals, const Options& options) {
    SystemRandom random;
    const auto revoked = wire::Authority(options.peers, random).revoke(options.revoked);
    ordered_json json = ordered_json::array();
    for (const wire::Issued& one : revoked) {
        json.push_back(issued_json(one));
        if (!globals.json) fmt::print("revoked {} (serial number {})\n", one.name, one.serial);
    }
    if (globals.json) print_json({{"result", "ok"}, {"revoked", json}});
    return 0;
}

// -- options
// --------------------------------------------------------------------------------------------------------

using Run = int (*)(const Globals&, const Options&);

CLI::App& add_sub_verb(CLI::App& enrol, const char* name, const char* description, Globals& globals,
                       Action& action, const std::shared_ptr<Options>& options, Run run) {
    CLI::App& verb = *enrol.add_subcommand(name, description);
    add_json_option(verb, globals);
    add_peers_option(verb, options->peers);
    verb.callback([&globals, &action, options, run] {
        action = [&globals, options, run] { return run(globals, *options); };
    });
    return verb;
}

void add_invite(CLI::App& verb, Options& options) {
    verb.add_option("--name", options.name, "What the machine will be called, instead of what it asks for")
        ->option_text("NAME");
    verb.add_option("--minutes", options.minutes, "How long the token works (10)")
        ->check(CLI::Range(1u, 24 * 60u))
        ->option_text("M");
    verb.add_option("--listen", options.listen, "Where to wait (all addresses, port 7434)")
        ->option_text("ADDR:PORT");
    verb.add_option("--own-name", options.own_name,
                    "At the first invitation: what this machine is called (its host name)")
        ->option_text("NAME");
}

void add_join(CLI::App& verb, Options& options) {
    verb.add_option("HOST", options.host, "The machine that invites, with :PORT if it is not 7434")
        ->required()
        ->option_text("HOST[:PORT]");
    verb.add_option("TOKEN", options.token, "The token; asked for if it is not given")->option_text("TOKEN");
    verb.add_option("--name", options.name, "What this machine wants to be called (its host name)")
        ->option_text("NAME");
    verb.add_flag("--replace", options.replace, "Join again, or another authority: the old enrolment goes");
}

}  // namespace

void add_peers_option(CLI::App& verb, std::string& folder) {
    verb.add_option("--peers", folder, "The folder of this machine's enrolment (/etc/dupengine/peers)")
        ->option_text("DIR");
}

void add_peer_options(CLI::App& verb, PeerOptions& peers) {
    add_peers_option(verb, peers.folder);
    verb.add_option("--peer", peers.names,
                    "Only the enrolled machine of this name is at the other end; may be repeated")
        ->option_text("NAME")
        ->allow_extra_args(false);
}

void add_enrol(CLI::App& app, Globals& globals, Action& action) {
    CLI::App& enrol = *app.add_subcommand("enrol", "Say which machines may duplicate over the network");
    enrol.require_subcommand(1);
    const auto options = std::make_shared<Options>();
    add_invite(add_sub_verb(enrol, "invite", "Print a one-time token and wait for a machine to join", globals,
                            action, options, run_invite),
               *options);
    add_join(add_sub_verb(enrol, "join", "Enrol this machine with one that invites", globals, action, options,
                          run_join),
             *options);
    add_sub_verb(enrol, "list", "Show who this machine is, and whom it has enrolled", globals, action,
                 options, run_list);
    CLI::App& revoke = add_sub_verb(enrol, "revoke", "Take back what a machine was given", globals, action,
                                    options, run_revoke);
    revoke.add_option("NAME", options->revoked, "Its name, or the serial number of one certificate")
        ->required()
        ->option_text("NAME|SERIAL");
}

}  // namespace dupengine::cli
