#!/bin/bash
# lab.sh [--disk FILE]... PROGRAM [ARG...]: runs PROGRAM as root on a machine of its own, with Debian's kernel and every
# module of it (device-mapper, md, F2FS, vfat, ...): QEMU, the files of this machine as its root, with a layer over them
# that takes all writes and is thrown away. The disks, image files, are /dev/vda, /dev/vdb, ... and keep what is written.
# Variables DUPENGINE... go with it. The console goes to stdout; the exit status is that of PROGRAM.
# DUPENGINE_LAB_SECONDS: the deadline (600).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"

disks=()
while [[ ${1-} == --disk ]]; do
    disks+=(-drive "if=virtio,format=raw,cache=unsafe,discard=unmap,file=$2")
    shift 2
done
(($# >= 1)) || die "usage: lab.sh [--disk FILE]... PROGRAM [ARG...]"
kernel=$("$here/lab_kernel.sh" | tail -n 1)

# Not in /tmp: that is another one over there.
work=$(mktemp -d "$root/build/lab/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
{
    export -p | grep '^declare -x DUPENGINE' || true
    echo 'modprobe loop'
    printf 'cd %q\n' "$PWD"
    printf '%q ' exec "$@"
} >"$work/script"

timeout --kill-after=10 "${DUPENGINE_LAB_SECONDS:-600}" qemu-system-x86_64 -name lab -machine q35 \
    -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -display none -monitor none -nic none -no-reboot -serial stdio \
    -device virtio-rng-pci -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
    "${disks[@]}" -kernel "$kernel/vmlinuz" -initrd "$kernel/initrd" \
    -append "console=ttyS0 quiet panic=-1 no_timer_check lab.script=$work/script lab.kernel=$kernel" </dev/null |
    tr -d '\r' | tee "$work/console"
status=$(awk '/^lab: exit [0-9]+$/ { status = $3 } END { print status }' "$work/console")
[[ $status ]] || die "the machine stopped before the program ended"
exit "$status"
