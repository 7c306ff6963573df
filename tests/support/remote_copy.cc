#include "tests/support/remote_copy.h"

#include "layout/incomplete_mark.h"
#include "wire/remote_reader.h"

namespace dupengine::test {

engine::CopyReport copy_over(wire::Link& link, const std::shared_ptr<DiskBytes>& to,
                             const RemoteCopyOptions& options) {
    try {
        const wire::RemoteReader source(link);
        engine::CopyOptions copy = options.copy;
        const wire::Token& state = link.opened().state;
        copy.source_state = state == wire::Token{} ? "" : to_hex(state);
        const engine::CopyPlan plan = engine::make_plan(source, MemoryDevice(to, 512, "target"), copy);
        block::Target target(std::make_unique<MemoryDevice>(to, 512, "target"), plan.protected_regions());
        Progress progress;
        engine::ApplyContext context{progress, {}, 1, {}};
        context.source_change = [&] { return source.change(); };
        context.journal_pace = options.journal_pace;
        const engine::CopyReport report = engine::apply_plan(plan, source, target, context);
        link.finish({"target",
                     true,
                     report.bytes_used,
                     report.bytes_read,
                     report.bytes_equal,
                     report.bytes_written,
                     report.bytes_verified,
                     {}});
        return report;
    } catch (const Error& e) {
        link.abort({e.code(), e.what()});
        throw;
    }
}

bool is_old_or_marked(const std::shared_ptr<DiskBytes>& now, const Bytes& before) {
    return now->content == before || layout::find_mark(MemoryDevice(now)).has_value();
}

Bytes part_of(const Bytes& disk, block::Extent extent) {
    return {disk.begin() + static_cast<std::ptrdiff_t>(extent.begin),
            disk.begin() + static_cast<std::ptrdiff_t>(extent.end)};
}

}  // namespace dupengine::test
