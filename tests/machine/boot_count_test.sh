#!/bin/bash
# A system that is new on its machine is tried as often as its profile says: one that does not come up is followed by what
# was there before, and one that comes up well says so and is tried no more. With the variables of real firmware.
# DUPENGINE: the command; DUPENGINE_EFI: the application; OTHER_LOADER: what was there before.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/firmware.sh
source "$here/firmware.sh"
: "${OTHER_LOADER:?is not set}"

# What the kernel command line says, it does: "new" takes up a role, "dies" does not come up, "well" confirms.
make_system() {
    make_system_tree "$kernel" efivarfs
    mkdir -p tree/new/etc
    cp store tree/store
    echo golden >tree/new/etc/hostname
    cat >tree/init <<'INIT'
#!/bin/busybox sh
# shellcheck shell=dash
. /start_system
hostname web-1
# As in any initramfs, nothing is mounted there: it does that by itself.
case $(cat /proc/cmdline) in
    *new) dupengine assume --yes --root /new --store file:/store ;;
    *) mount -t efivarfs efivarfs /sys/firmware/efi/efivars ;;
esac
dupengine boot status
case $(cat /proc/cmdline) in
    *well) dupengine boot confirm && dupengine boot once menu ;;
esac
poweroff -f
INIT
    chmod 755 tree/init
    pack_tree initrd
}

# WORD: how the system behaves at the next start.
behave() {
    sed "s/@/$1/" node.toml >next.toml
    "$DUPENGINE" profile set --store partition:disk.img next.toml >/dev/null
}

firmware_begin boot-count
kernel=$("$here/lab_kernel.sh" | tail -n 1)
make_disk disk.img 128M 100
"$DUPENGINE" profile init --store partition:disk.img >/dev/null
cat >node.toml <<'TOML'
schema = 1
kind = "node"
node = "web-1"
[boot]
choice = "kernel"
timeout = 0
kernel = "/EFI/dupengine/linux"
initrd = "/EFI/dupengine/initrd"
command_line = "console=ttyS0 quiet panic=-1 PATH=/bin @"
fallback = "disk"
tries = 2
TOML
"$DUPENGINE" profile init --store file:store --from node.toml >/dev/null
make_system
put_on_esp disk.img "$DUPENGINE_EFI" /EFI/BOOT/BOOTX64.EFI
put_on_esp disk.img "$OTHER_LOADER" /EFI/debian/grubx64.efi
put_on_esp disk.img "$kernel/vmlinuz" /EFI/dupengine/linux
put_on_esp disk.img initrd /EFI/dupengine/initrd

say "a role is taken up before the system starts: its tries are set"
behave new
start_firmware disk.img
await_text '^note: dupengine\.efi tries this system 2 times'
await_text '^started by dupengine\.efi [0-9.]+$'
await_text '^tries that are left: 2; not confirmed$'
await_power_off
! has_said 'after this start' || firmware_fail "a start was counted that nobody asked to count"

say "it does not come up, twice"
behave dies
for left in 1 0; do
    start_firmware disk.img
    await_text "^Tries that are left after this start: $left\\.\$"
    await_text "^tries that are left: $left; not confirmed\$"
    await_power_off
done

say "what was there before starts instead, and asks for the menu"
start_firmware disk.img
await_text '^All tries to start are used up \(DupengineTries\)\.$'
await_text '^the other loader runs$'
stop_firmware

say "corrected, started by a person: it confirms, and asks for the menu"
behave well
start_firmware disk.img
await_text '^Which\?'
press k
await_text '^web-1 came up well, with 0 tries left: starts are not counted any more$'
await_text '^the next start does, once: menu$'
await_power_off

say "from then on it starts by itself"
start_firmware disk.img
await_text '^For this start, DupengineOnce says: menu\.$'
await_text '^Which\?'
stop_firmware
start_firmware disk.img
await_text '^starts are not counted$'
await_power_off
! has_said 'after this start' || firmware_fail "starts are counted still"
