#!/bin/bash
# A machine without a system starts the initramfs of bootloader_hooks/initramfs-tools and receives a Debian that runs, over
# a network between the two; what does not work ends in the rescue shell with the reason, and no byte is written. That
# such a copy boots as the node that its profile says is shown by clone_test.sh.
# DUPENGINE, WORKLOAD, FRAMES: the programs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/pair.sh
source "$here/pair.sh"
pair_begin pair

say "a source, a target, and a network between them"
pair_prepare
read -r profile_begin profile_sectors < <(make_target)
before=$(profile_digest "$profile_begin" "$profile_sectors")
start_network
start_source systemd.mask=dupengine-demo-report.service

say "a disk that is not there: the rescue shell says so, and exit tries again"
start_target dupengine.receive=/dev/vdx
await target 'no other machine was received: there is no disk /dev/vdx'
await target '\(initramfs\)'
echo 'cat /run/net-*.conf; ls /etc/dupengine; echo "end=yes"' >target.console.in
await target '^end=yes'
check grep -aq "IPV4ADDR='10.77.0.2'" target.console.out
check grep -aqE '^drwx------ .* peers' target.console.out
check [ "$(profile_digest "$profile_begin" "$profile_sectors")" = "$before" ]
stop_machine target

say "the source writes, and is received"
start_target dupengine.receive=/dev/vda dupengine.peer=source
await target 'waiting on .* for a source for /dev/vda'
await network 'third: ready'
await source 'pair: ready' shell
check [ "$(firmware_map source)" = "$(firmware_map target)" ]
start_workload
check machine_do source 'dupengine clone --disks-only --max-pause 20 /dev/vda dup://10.77.0.2' 600 >clone.log
grep -E '^(round|pause)' clone.log
await target '/dev/vda is complete and verified'
await_end target 60

say "on the source all went on"
check machine_do source 'pkill -STOP live_workload || killall -STOP live_workload'
judge source /root/load counter
judge source /root/load records
judge source /run/load client
stop_machine source
stop_machine network

say "the target is whole, and kept its profile"
check [ "$(profile_digest "$profile_begin" "$profile_sectors")" = "$before" ]
check sgdisk --verify target.img >/dev/null
dd if=target.img of=root.img bs=1M skip=513 conv=sparse status=none
debugfs -R "rdump /root/load ." root.img 2>/dev/null
for name in counter records; do
    check "$WORKLOAD" check load "$name" >"target.$name"
    check [ "$(steps "target.$name")" -gt 0 ]
    check [ "$(steps "target.$name")" -lt "$(steps "source.$name")" ]
done

say "nobody spoke in another one's name"
for name in source target; do
    check "$FRAMES" "$name.sent.pcap" >frames
    check [ "$(cut -d ' ' -f 1 frames)" = "${pair_macs[$name]}" ]
done
say "received"
