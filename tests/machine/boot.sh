#!/bin/bash
# boot.sh [--snapshot] DISK VARS LOG: boots DISK under QEMU and OVMF, without a network, with the firmware variables in
# the file VARS (made from the empty ones unless there) and the console in LOG. Returns 0 when the machine has switched
# itself off; else tells why and shows the last lines of the console. --snapshot: what the machine writes is thrown away.
# DUPENGINE_BOOT_SECONDS: the deadline (600).
set -euo pipefail

snapshot=off
if [[ ${1-} == --snapshot ]]; then
    snapshot=on
    shift
fi
(($# == 3)) || {
    echo "usage: boot.sh [--snapshot] DISK VARS LOG" >&2
    exit 2
}
disk=$1 vars=$2 log=$3
deadline=${DUPENGINE_BOOT_SECONDS:-600}
firmware=/usr/share/OVMF

fail() {
    echo "boot.sh: $disk: $1; the last lines of the console ($log):" >&2
    tail -n 25 "$log" | tr -cd '\n\t -~' | sed 's/^/    /' >&2
    exit 1
}

[[ -e $vars ]] || cp "$firmware/OVMF_VARS_4M.fd" "$vars"
: >"$log"
qemu-system-x86_64 -name "$(basename "$disk")" -machine q35 -accel tcg,thread=multi -cpu max -smp 1 -m 1024 \
    -display none -monitor none -serial "file:$log" -nic none -no-reboot -device virtio-rng-pci \
    -drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/OVMF_CODE_4M.fd" \
    -drive "if=pflash,format=raw,unit=1,file=$vars" \
    -drive "if=none,id=disk,format=raw,cache=unsafe,snapshot=$snapshot,file=$disk" \
    -device virtio-blk-pci,drive=disk,serial=disk,bootindex=0 &
machine=$!
trap 'kill -KILL $machine 2>/dev/null || true' EXIT

stuck='Kernel panic|emergency mode|Give root password|Shell>|BdsDxe: No bootable option'
while kill -0 "$machine" 2>/dev/null; do
    ((SECONDS < deadline)) || fail "did not switch itself off within $deadline seconds"
    ! grep -aqE "$stuck" "$log" || fail "does not come up"
    sleep 0.5
done
wait "$machine" || fail "QEMU failed"
grep -aq 'reboot: Power down' "$log" || fail "stopped without switching itself off"
