#pragma once
// The lines that tell a person what uses a disk and which command ends it. Names from other programs are
// written as one word of a shell, without anything a terminal would obey. Private to layout/.

#include <string>

#include "layout/block_graph.h"
#include "layout/mounts.h"

namespace dupengine::layout {

/// "mounted on /home: umount /home"; for a mount that only another process sees, the command to reach it
/// there.
std::string advice_for_mount(const Mount& mount, const std::string& proc);
std::string advice_for_swap(const SwapArea& area);
std::string advice_for_loop(const std::string& loop_node);
std::string advice_for_loop_inside(const std::string& loop_node, const std::string& backing_name);
std::string advice_for_hidden_btrfs(const std::string& uuid);
std::string advice_for_holder(const BlockGraph& graph, DeviceNumber holder);
/// Names a process that has the device open, if one can be seen.
std::string advice_for_exclusive(DeviceNumber device, const std::string& proc);

/// `text` as a shell takes it as one word.
std::string shell_word(const std::string& text);

}  // namespace dupengine::layout
