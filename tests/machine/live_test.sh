#!/bin/bash
# A Debian that runs from two disks is duplicated with its memory onto a machine that has nothing but an initramfs: the same
# processes go on in both from the same step, under two names. The duplicate, running, is made the duplicate once more. Then
# a machine without a profile gets the same, and becomes nobody; and one that is not alike ends it before anything is paused.
# DUPENGINE, WORKLOAD, FRAMES: the programs. DUPENGINE_SHOW=yes: ends when both are shown side by side; idle: duplicates a
# machine on which nothing of ours runs, and ends with its report.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/pair.sh
source "$here/pair.sh"
pair_begin live

# Of a duplication under emulation; the machine may have other work.
clone="dupengine clone --progress none --max-pause ${DUPENGINE_MAX_PAUSE:-60}"
# Memory that no kernel uses and no duplication replaces: a store for a profile (dupengine-profile(8)).
# shellcheck disable=SC2016 # the kernel's word, not the shell's
reserved='memmap=2M$0x18000000'
store=memory:0x18000000
initramfs='waiting on .* for a source for /dev/vda, /dev/vdb'

on() { machine_do "$1" "$2" 60 | tr -d '\r'; }

# The same disks on both sides, and room behind the source's system: there the target has its profile.
make_disks() {
    truncate -s 256M source.srv.img target.srv.img
    sgdisk --new=1:1M:+200M source.srv.img >/dev/null
    mkfs.ext4 -q -E offset=1048576 source.srv.img 200M
    truncate -s 4G source.img
    sgdisk -e source.img >/dev/null
    read -r profile_begin profile_sectors < <(make_target)
    cat >>profile.toml <<PROFILE
[[link]]
name = "enp0s3"
mac = "${pair_macs[target]}"
addresses = ["10.77.0.2/24"]
PROFILE
    # Its own keys, which the source's disk does not have.
    local name
    for name in enrolment.pem revoked.pem; do
        printf '[[file]]\npath = "/etc/dupengine/peers/%s"\nmode = "0600"\ncontent = """\n%s\n"""\n' \
            "$name" "$(cat "target/$name")"
    done >>profile.toml
    "$DUPENGINE" profile set --store partition:target.img profile.toml >/dev/null
}

# Stops the programs of a machine and judges what they have written to its disk.
stop_and_judge() {
    local name
    on "$1" 'pkill -STOP live_workload; sync' >/dev/null
    for name in counter records; do judge "$1" /root/load "$name"; done
    judge "$1" /srv/load records
}

# FILE: the seconds that everything waited.
pause_of() { sed -n 's/^pause *\([0-9.]*\) s: processes.*/\1/p' "$1" | grep .; }

# What both say at the same moment: their names, and the last steps of the same process.
side_by_side() {
    local machine
    for machine in source target; do
        { echo "== $machine"; on "$machine" 'hostname; cat /etc/machine-id; cat /sys/class/net/enp0s3/address; tail -n 5 /root/load/counter.steps'; } |
            sed '/^$/d' >"$machine.shown"
    done
    pr --merge --omit-header --width 110 source.shown target.shown
}

# A line for each thing that two machines must not have alike. (The ext4 of the golden disk has its checksums made with
# its UUID, which therefore stays until the system is off.)
identity() {
    on "$1" 'hostname; cat /etc/machine-id; cut -c 1-100 /etc/ssh/ssh_host_ed25519_key.pub; md5sum </etc/fstab; head -c 16 /dev/urandom | od -An -tx1; cat /sys/class/net/enp0s3/address' | sed '/^$/d'
}

say "a source, a target that is like it, and a network between them"
pair_prepare
make_disks
before=$(profile_digest "$profile_begin" "$profile_sectors")
start_network
start_source systemd.mask=dupengine-demo-report.service "$reserved"
start_target dupengine.receive=/dev/vda dupengine.receive=/dev/vdb dupengine.live dupengine.peer=source "$reserved"
await network 'third: ready'
await source 'pair: ready' shell
await target "$initramfs"
check machine_do source 'mount /dev/vdb1 /srv && mkdir /srv/load'
if [[ ${DUPENGINE_SHOW-} == idle ]]; then
    sleep 30 # what its start left to do
    check machine_do source "$clone dup://10.77.0.2" 900 | tr -d '\r'
    exit
fi
start_workload
check machine_do source 'live_workload records /srv/load 2>/dev/console & sleep 1'
check [ "$(firmware_map source)" = "$(firmware_map target)" ]

say "the source is duplicated while it runs"
check machine_do source "$clone dup://10.77.0.2" 900 >clone.log
tr -d '\r' <clone.log | grep -E '^(round|pass|image|pause|the target)' | cut -c 1-160
check grep -q 'the target lives: it is web-1 ' clone.log
check grep -qE '^  hostname .*golden -> web-1' clone.log

say "both go on from the same step, and are two"
at_wake=$(on target 'tail -n 1 /root/load/counter.steps')
for machine in source target; do identity "$machine" >"$machine.identity"; done
paste source.identity target.identity | awk -F '\t' '$1 == $2 { print "alike: " $1; bad = 1 } END { exit bad }' ||
    pair_fail "something of the source is left"
check [ "$(head -n 1 target.identity)" = web-1 ]
check [ "$(tail -n 1 target.identity)" = "${pair_macs[target]}" ]
check on target 'grep -c "\"source\":{\"rounds\":.*\"pauses\":\[{" /run/dupengine/woken.json' >/dev/null
on target 'grep -o "\"passes\":.*" /run/dupengine/woken.json' | cut -c 1-900
until [ "$(on target 'tail -n 1 /root/load/counter.steps')" != "$at_wake" ]; do sleep 1; done
side_by_side
[[ ${DUPENGINE_SHOW-} != yes ]] || exit 0
check grep -q role-web.service <(on target 'systemctl list-units --no-legend role-web.service')
for machine in source target; do stop_and_judge "$machine"; done
judge source /run/load client
grep -E '^(stalls|longest_stall)' source.client
say "the source is at step $(steps source.counter), the target at $(steps target.counter)"

say "the duplicate, which runs, is duplicated onto once more; who it is then stands in its memory"
check machine_do target 'dupengine profile show --store partition:/dev/vda | sed s/web-1/web-2/ >/run/web-2.toml'
check machine_do target "dupengine profile init --store $store --from /run/web-2.toml"
check machine_do target "dupengine receive --live --yes --restart --initramfs /boot/dupengine.img --append 'no_timer_check $reserved' --peer source /dev/vda /dev/vdb 2>/dev/console &" >restart.log
await_times target "$initramfs" 2
check machine_do source 'pkill -CONT live_workload'
check machine_do source 'live_workload pages /root/load 2>/dev/console & sleep 1'
check machine_do source "$clone --store $store /dev/vda /dev/vdb dup://10.77.0.2" 900 >again.log
tr -d '\r' <again.log | grep -E '^(round|pass|image|pause|the target)' | cut -c 1-160
check grep -q 'the target lives: it is web-2 ' again.log
identity target >target.again
check [ "$(head -n 1 target.again)" = web-2 ]
for line in 2 3; do check [ "$(sed -n ${line}p target.identity)" != "$(sed -n ${line}p target.again)" ]; done
check on target "dupengine profile show --store $store" >/dev/null
for machine in source target; do
    stop_and_judge "$machine"
    judge "$machine" /root/load pages
done
say "the source is at step $(steps source.counter), the target at $(steps target.counter)"
check [ "$(profile_digest "$profile_begin" "$profile_sectors")" = "$before" ]
check [ "$("$FRAMES" target.sent.pcap | cut -d ' ' -f 1)" = "${pair_macs[target]}" ]
stop_machine target
say "the pause, beside that of sending all of the memory while everything waits"
# Twice, and the shorter one counts.
for _ in 1 2; do check machine_do source 'live_workload naive 10.77.0.3 9' 300; done >naive.log
naive=$(sed -n 's/^naive pause=\([0-9.]*\) .*/\1/p' naive.log | sort -n | head -n 1)
check [ "$naive" ]
for log in clone.log again.log; do
    pause=$(pause_of "$log")
    say "$log: $pause s, $(awk "BEGIN { printf \"%.2f\", $pause / $naive }") of $naive s"
done
dd if=target.img of=root.img bs=1M skip=513 conv=sparse status=none
status=0
e2fsck -fp root.img >fsck 2>&1 || status=$?
[ "$status" -le 1 ] || cat fsck >&2
check [ "$status" -le 1 ]
dd if=target.srv.img of=root.img bs=1M skip=1 count=200 conv=sparse status=none
e2fsck -fp root.img >fsck 2>&1 || status=$?
check [ "$status" -le 1 ]
rm root.img

say "a machine without a profile becomes nobody"
check machine_do source 'pkill -CONT live_workload'
sgdisk --delete=128 target.img >/dev/null
start_target dupengine.receive=/dev/vda dupengine.receive=/dev/vdb dupengine.live dupengine.peer=source "$reserved"
await target "$initramfs"
machine_do source "$clone dup://10.77.0.2 & sleep 1" >/dev/null
await target 'this duplicate has become nobody' console 600
sleep 5
check [ "$("$FRAMES" target.sent.pcap | cut -d ' ' -f 1)" = "${pair_macs[target]}" ]
# Nor does it start as its source when it is switched off now.
check grep -aq DUPENGINE-UNDONE <(dd if=target.img bs=512 skip=1 count=1 status=none)
check cmp <(dd if=target.img bs=512 count=1 status=none) <(head -c 512 /dev/zero)
check grep -qx golden <(on source hostname)
check machine_do source 'pkill -INT dupengine; while pgrep -x dupengine; do sleep 0.5; done'
stop_machine target

say "another size of memory is refused before anything is paused"
start_machine target -m 768 -kernel kernel -initrd initrd.target -append \
    "console=ttyS0 loglevel=7 no_timer_check ip=10.77.0.2:::255.255.255.0::: dupengine.receive=/dev/vda dupengine.receive=/dev/vdb dupengine.live dupengine.peer=source"
await target "$initramfs"
status=0
machine_do source "$clone dup://10.77.0.2" 300 >refused || status=$?
check [ "$status" = 9 ]
check grep -q 'cannot become this machine' refused
stop_machine target

say "the source went on all the time"
stop_and_judge source
stop_machine source
say "duplicated"
