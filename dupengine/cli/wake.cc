#include "cli/wake.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "block/in_place.h"
#include "cli/going_out.h"
#include "cli/text.h"
#include "cli/wake_letter.h"
#include "engine/held_boot.h"
#include "machine/inherited_connections.h"
#include "machine/leases.h"
#include "machine/links.h"
#include "machine/packet_processes.h"
#include "machine/reseed.h"
#include "profiles/wake.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr auto kLifeSignTime = 60s;

// Nobody is there but who stands before the machine.
void say(const std::string& line) noexcept {
    const int console = ::open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (console < 0) return;
    const std::string text = "\r\ndupengine: " + printable(line, Charset::kUtf8) + "\r\n";
    [[maybe_unused]] const ssize_t written = ::write(console, text.data(), text.size());
    ::close(console);
}

machine::LinkSettings settings_of(const profiles::WantedLink& link) {
    return {link.name, link.mac, link.addresses, link.gateways, link.mtu, link.up};
}

class Wake final : public WakeSteps {
  public:
    Wake(const WakeOptions& options, const machine::Awake& awake, machine::EgressGate& gate)
        : awake_(awake),
          gate_(gate),
          request_{options.disks, options.store, {}, {}},
          samples_(options.samples) {}

    void silence_links() override { silenced_ = machine::silence_links(); }

    void find_role() override {
        see_disks_as_they_will_be();
        check_disk_samples(request_.disks, samples_, request_.media);
        role_ = profiles::read_wake_role(request_);
    }

    void forget_the_source() override {
        machine::reseed_kernel(as_bytes(role_.stored.profile.secret.bytes));
        kept_addresses_ = machine::replace_addresses(silenced_, random_);
    }

    void take_up_role() override {
        report_ = profiles::take_up_role(request_, role_, random_);
        report_.notes.insert(report_.notes.end(), kept_addresses_.begin(), kept_addresses_.end());
    }

    // The first one last, as in any set.
    void complete_disk() override {
        for (std::size_t i = disks_.size(); i-- > 0;) {
            const engine::HeldBoot held = engine::with_changes(disks_[i].held, *disks_[i].bytes);
            const auto target = block::open_disk_in_place(
                request_.disks[i],
                block::ProtectedRegions::all_except(engine::places_of(held), held.size_bytes,
                                                    "all but the boot structures"));
            engine::write_boot_stages(held.boot, engine::Verify::kAll, *target);
        }
    }

    void end_what_speaks() override {
        drop_leases();
        links_ = configured(role_.links);
        connections_ = machine::destroy_inherited_connections();
        machine::forget_ipsec(report_.notes);
        for (const std::string& failed : connections_.failed)
            report_.notes.push_back("a connection of the source lives on: " + failed);
        end_talkers();
        role_ = {};  // with the node's secret
    }

    // Where all run again: it is somebody, and what goes wrong from here on is told and stops nothing.
    void go_on(Participants& participants) {
        noting([&] { leave_gate(); });
        noting([&] { tell_others(participants); });
    }

    Json report() const {
        Json changes = Json::array();
        for (const profiles::Change& change : report_.changes)
            changes.push_back({{"item", change.item},
                               {"where", printable(change.where, Charset::kUtf8)},
                               {"before", printable(change.before, Charset::kUtf8)},
                               {"after", printable(change.after, Charset::kUtf8)}});
        return {{"node", report_.node},
                {"roles", report_.roles},
                {"generation", report_.generation},
                {"seconds", std::chrono::duration<double>(Clock::now() - begin_).count()},
                {"connections_destroyed", connections_.destroyed},
                {"datagram_sockets_destroyed", connections_.datagram},
                {"leases_dropped", leases_},
                {"changes", changes},
                {"notes", report_.notes}};
    }
    /// For this machine's own use: the source knows what it told.
    Json kept_report() const {
        Json json = report();
        json["source"] = Json::parse(source_report_, nullptr, false);
        if (json["source"].is_discarded()) json["source"] = nullptr;
        return json;
    }
    const std::string& node() const { return report_.node; }

  private:
    template <typename Step>
    void noting(Step step) {
        try {
            step();
        } catch (const std::exception& e) {
            report_.notes.emplace_back(e.what());
        }
    }

    void leave_gate() {
        for (const Call& call : report_.calls)
            run_call(call, report_.notes);
        if (go_out(links_, report_.network_calls, no_talkers_, gate_, report_.notes))
            for (const Call& call : report_.calls_when_up)
                run_call(call, report_.notes);
    }

    void tell_others(Participants& participants) {
        participants.resume_as(report_.node);
        for (std::string& note : participants.take_notes())
            report_.notes.push_back(std::move(note));
    }

    // Their tables are not on the medium yet: who became this machine had them in memory.
    void see_disks_as_they_will_be() {
        WakeLetter letter = decode_letter(awake_.letter());
        source_report_ = std::move(letter.source_report);
        std::vector<engine::HeldBoot> held = engine::decode_held_boot(letter.held_boot);
        if (held.size() != request_.disks.size())
            throw_error(Code::kRefused, "{}: is not the disk that was received", request_.disks.front());
        std::map<std::string, std::shared_ptr<block::HeldBytes>> as_held;
        for (std::size_t i = 0; i < held.size(); ++i) {
            const std::string& disk = request_.disks[i];
            if (held[i].size_bytes != block::open_medium(disk)->geometry().size_bytes)
                throw_error(Code::kRefused, "{}: is not the disk that was received", disk);
            auto bytes = engine::held_bytes(held[i]);
            as_held[disk] = bytes;
            disks_.push_back({std::move(held[i]), std::move(bytes)});
        }
        request_.media = block::media_with(as_held);
    }

    // A client that finds one asks for the source's address again. That is no reason to be nobody.
    void drop_leases() {
        noting([this] { leases_ = machine::drop_leases("/"); });
    }

    // Last of all while they are frozen: until here none of them could be started.
    void end_talkers() {
        const machine::EndedProcesses talkers = machine::kill_packet_processes();
        for (const std::string& who : talkers.ended)
            report_.notes.push_back(who + ": ended, because it would have spoken as the source");
        for (const std::string& who : talkers.left)
            report_.notes.push_back("could speak as the source: " + who);
        no_talkers_ = talkers.left.empty();
    }

    std::vector<machine::LinkSettings> configured(const std::vector<profiles::WantedLink>& wanted) {
        std::vector<machine::LinkSettings> links;
        for (const profiles::WantedLink& link : wanted)
            if (const auto settings = settings_of(link);
                try_link(settings, report_.notes, machine::configure_link))
                links.push_back(settings);
        return links;
    }

    const machine::Awake& awake_;
    machine::EgressGate& gate_;
    profiles::WakeRequest request_;
    struct HeldDisk {
        engine::HeldBoot held;
        std::shared_ptr<block::HeldBytes> bytes;
    };
    std::vector<HeldDisk> disks_;  // in the order of request_.disks
    std::string source_report_;
    std::vector<DiskSample> samples_;
    Clock::time_point begin_ = Clock::now();
    SystemRandom random_;
    std::vector<machine::SilencedLink> silenced_;
    profiles::WakeRole role_;
    std::vector<std::string> kept_addresses_;
    profiles::WakeReport report_;
    std::vector<std::string> leases_;
    std::vector<machine::LinkSettings> links_;
    machine::DestroyedConnections connections_;
    bool no_talkers_ = false;
};

void keep_report(const std::string& text) noexcept {
    try {
        std::filesystem::create_directories("/run/dupengine");
        write_file_atomic("/run/dupengine/woken.json", as_bytes(text + "\n"), 0644, Code::kInternal);
    } catch (const std::exception&) {
        // It is told to the source, too.
    }
}

}  // namespace

void check_disk_samples(const std::vector<std::string>& disks, const std::vector<DiskSample>& samples,
                        const block::Media& media) {
    for (const DiskSample& sample : samples) {
        const std::string& disk = disks.at(sample.disk);
        const auto medium = media.open(disk);
        const std::uint64_t size = medium->geometry().size_bytes;
        const bool is_within = sample.offset <= size && sample.size <= size - sample.offset;
        if (!is_within ||
            codec::sha256_of(*medium, {sample.offset, sample.offset + sample.size}) != sample.sha256)
            throw_error(Code::kRefused,
                        "{}: is not the disk that was received: {} bytes at {} are not what the source had "
                        "there; the kernel finds another disk in its place",
                        disk, sample.size, sample.offset);
    }
}

void become(machine::Awake& awake, WakeSteps& steps) {
    steps.silence_links();
    steps.find_role();
    steps.forget_the_source();
    awake.thaw_kernel();
    awake.thaw_filesystems();
    steps.take_up_role();
    steps.complete_disk();
    steps.end_what_speaks();
    awake.thaw_processes();
}

void wake_up(machine::Awake& awake, const WakeOptions& options, machine::EgressGate& gate,
             Participants& participants) {
    Wake wake(options, awake, gate);
    try {
        become(awake, wake);
    } catch (const std::exception& e) {
        say(fmt::format("this duplicate has become nobody, and stays at rest with its links down: {}",
                        e.what()));
        throw;
    }
    say("this machine is " + wake.node() + " now");
    wake.go_on(participants);
    keep_report(wake.kept_report().dump(-1, ' ', false, Json::error_handler_t::replace));
    send_life_sign(options.source, life_sign_text(wake.report()), kLifeSignTime);
}

}  // namespace dupengine::cli
