#!/bin/bash
# A machine is switched on, and firmware (OVMF) starts dupengine.efi over the network; the profile on its disk says that it is
# to become whoever sends to it, so that starts the small system, which waits. A Debian that firmware started from its own
# disk is duplicated onto it with its memory, while it runs. The same processes go on in both, under two names.
# DUPENGINE, WORKLOAD, FRAMES: the programs; DUPENGINE_EFI: the application.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/pair.sh
source "$here/pair.sh"
: "${DUPENGINE_EFI:?is not set}"
pair_begin pxe-live

on() { machine_do "$1" "$2" 60 | tr -d '\r'; }
# What the source's own loader tells its kernel, and more.
change_loader_entry() {
    mcopy -n -s -i source.img@@1M ::/loader/entries .
    sed -i "s/^options.*/& loglevel=7 no_timer_check pair.shell systemd.mask=dupengine-demo-report.service/" entries/*
    mcopy -o -s -i source.img@@1M entries ::/loader
}
make_disks() {
    truncate -s 4G source.img
    sgdisk -e source.img >/dev/null
    read -r profile_begin profile_sectors < <(make_target)
    cat >>profile.toml <<PROFILE
[boot]
choice = "receive"
timeout = 0
kernel = "http://10.77.0.200/linux"
initrd = "http://10.77.0.200/initramfs"
command_line = "console=ttyS0 loglevel=7 no_timer_check dupengine.live dupengine.peer=source"
receive_disk = "/dev/vda"
[[link]]
name = "enp0s3"
mac = "${pair_macs[target]}"
addresses = ["10.77.0.2/24"]
PROFILE
    "$DUPENGINE" profile set --store partition:target.img profile.toml >/dev/null
}
# Beside the two machines, 10.77.0.200: DHCP and TFTP for firmware, HTTP for dupengine.efi. No other process sees it.
start_network_with_servers() {
    local place
    unshare --net sleep infinity &
    place=$!
    pair_processes=("$place")
    until [[ $(readlink "/proc/$place/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.1; done
    pair_network_in=(nsenter "--net=/proc/$place/ns/net")
    "${pair_network_in[@]}" ip tuntap add dev servers mode tap
    "${pair_network_in[@]}" ip address add 10.77.0.200/24 dev servers
    # QEMU 7.2 dies of a frame for a machine that is not there yet: so it says nothing by itself.
    "${pair_network_in[@]}" ip link set servers addrgenmode none multicast off up
    "$DUPENGINE" media pxe --efi "$DUPENGINE_EFI" --linux kernel --initramfs initrd.target --interface servers \
        --dhcp-range 10.77.0.100,10.77.0.110 tftp >media.log
    "${pair_network_in[@]}" dnsmasq --no-daemon --conf-file=tftp/dnsmasq.conf --dhcp-leasefile="$PWD/leases" >dnsmasq.log 2>&1 &
    pair_processes+=("$!")
    "${pair_network_in[@]}" busybox httpd -f -p 10.77.0.200:80 -h tftp &
    pair_processes+=("$!")
    pair_network_options=(-netdev "tap,id=servers,ifname=servers,script=no,downscript=no"
        -netdev "hubport,id=servers-port,hubid=1,netdev=servers")
    start_network
}

say "a source that firmware starts from its disk, a target that it starts over the network"
pair_prepare
make_disks
change_loader_entry
before=$(profile_digest "$profile_begin" "$profile_sectors")
start_network_with_servers
await network 'third: ready'
pair_firmware=([source]=disk [target]=network)
begin=$SECONDS
start_machine source
start_machine target
await target 'waiting on .* for a source for /dev/vda'
check grep -aq 'Start PXE over IPv4' target.console.out
check grep -aq 'enp0s3, a link of the profile, has 10\.77\.0\.2/24' target.console.out
check grep -aq 'Fetches http://10\.77\.0\.200/linux\.' target.console.out
say "the target waits, $((SECONDS - begin)) s after it was switched on"
await source 'pair: ready' shell
check on source 'test -d /sys/firmware/efi'
check [ "$(firmware_map source)" = "$(firmware_map target)" ]
start_workload

say "the source is duplicated while it runs"
machine_do source 'dupengine clone --progress none --max-pause 60 dup://10.77.0.2' 900 >clone.log || { cat clone.log && pair_fail "it was not duplicated"; }
tr -d '\r' <clone.log | grep -E '^(round|pass|image|pause|the target)' | cut -c 1-160
check grep -q 'the target lives: it is web-1 ' clone.log
at_wake=$(on target 'tail -n 1 /root/load/counter.steps')
check [ "$(on target hostname)" = web-1 ]
check [ "$(on source hostname)" = golden ]
check [ "$(on source 'cat /etc/machine-id')" != "$(on target 'cat /etc/machine-id')" ]
until [ "$(on target 'tail -n 1 /root/load/counter.steps')" != "$at_wake" ]; do sleep 1; done
for machine in source target; do
    on "$machine" 'pkill -STOP live_workload; sync' >/dev/null
    for name in counter records; do judge "$machine" /root/load "$name"; done
done
judge source /run/load client
check [ "$(profile_digest "$profile_begin" "$profile_sectors")" = "$before" ]
check [ "$("$FRAMES" target.sent.pcap | cut -d ' ' -f 1)" = "${pair_macs[target]}" ]
say "the source is at step $(steps source.counter), the target at $(steps target.counter)"
