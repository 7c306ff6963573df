#include "efi/firmware/console.h"

namespace dupengine::efi {

Console::~Console() {
    if (timer_ != nullptr) system_.boot->close_event(timer_);
}

void Console::print(TextView text) {
    std::array<char16_t, 128> line{};
    std::size_t size = 0;
    const auto show = [&] {
        line[size] = 0;
        system_.output->output(system_.output, line.data());
        size = 0;
    };
    for (char c : text) {
        if (size + 3 > line.size()) show();
        if (c == '\n') line[size++] = u'\r';
        const bool shown = c == '\n' || c == '\r' || (c >= ' ' && c <= '~');
        line[size++] = shown ? static_cast<char16_t>(c) : u'?';
    }
    show();
}

bool Console::read_key(char& key) {
    InputKey pressed{};
    if (system_.input->read_key(system_.input, &pressed) != kSuccess) return false;
    const char16_t c = pressed.character;
    key = c > u' ' && c <= u'~' ? static_cast<char>(c) : '?';
    if (key >= 'A' && key <= 'Z') key = static_cast<char>(key - 'A' + 'a');
    return true;
}

char Console::wait_key(std::uint32_t milliseconds) {
    constexpr std::uint32_t kForever = 0xffffffff;
    BootServices& boot = *system_.boot;
    char key = 0;
    if (timer_ == nullptr && boot.create_event(kTimerEvent, 0, nullptr, nullptr, &timer_) != kSuccess)
        timer_ = nullptr;
    const bool timed = milliseconds != kForever;
    // Without a timer nobody could be waited for: then nobody is there.
    if (timed && timer_ == nullptr) return 0;
    if (timed) boot.set_timer(timer_, TimerDelay::kRelative, std::uint64_t{milliseconds} * 10000);
    for (;;) {
        if (read_key(key)) break;
        std::array<Event, 2> events = {system_.input->wait_for_key, timer_};
        std::uint64_t index = 0;
        if (boot.wait_for_event(timed ? 2 : 1, events.data(), &index) != kSuccess) boot.stall(10000);
        if (timed && index == 1) break;
    }
    if (timed) boot.set_timer(timer_, TimerDelay::kCancel, 0);
    return key;
}

}  // namespace dupengine::efi
