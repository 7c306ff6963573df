#!/bin/bash
# A system that is new on its machine is tried as often as its profile says: one that does not come up is followed by what
# was there before, and one that comes up well says so and is tried no more. With the variables of real firmware.
# Then with its profile there: full firmware, a disk without one, a TPM that is asked what it was told, a changed variable.
# DUPENGINE: the command; DUPENGINE_EFI: the application; OTHER_LOADER: what was there before.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/firmware.sh
source "$here/firmware.sh"
: "${OTHER_LOADER:?is not set}"

# What the kernel command line says, it does: "new" takes up a role, "dies" does not come up, "well" confirms and puts the
# profile into the firmware, "full" does that again where there is no room, "role" takes up its role.
make_system() {
    make_system_tree "$kernel" efivarfs virtio_pci virtio_blk loop ext4 tpm_tis
    mkdir -p tree/new/etc
    cp store variable.toml large.toml tree/
    echo golden >tree/new/etc/hostname
    cat >tree/init <<'INIT'
#!/bin/busybox sh
# shellcheck shell=dash
. /start_system
hostname web-1
# As in any initramfs, nothing is mounted there: it does that by itself.
case $(cat /proc/cmdline) in
    *new) dupengine assume --yes --root /new --store file:/store ;;
    *role)
        dupengine assume --yes --disk /dev/vda
        mount -t securityfs securityfs /sys/kernel/security
        busybox strings /sys/kernel/security/tpm0/binary_bios_measurements | busybox grep dupengine
        echo "register 15: $(cat /sys/class/tpm/tpm0/pcr-sha256/15)"
        ;;
    *) mount -t efivarfs efivarfs /sys/firmware/efi/efivars ;;
esac
dupengine boot status
case $(cat /proc/cmdline) in
    *well)
        dupengine boot confirm && dupengine boot once menu
        if dupengine profile init --store efivar: --from /large.toml; then
            dupengine profile set --store efivar: /variable.toml
        else
            dupengine boot once --forget
        fi
        busybox ls -l /sys/firmware/efi/efivars | busybox grep DupengineProfile
        ;;
    *full)
        { printf '\007\0\0\0' && busybox head -c 30000 /dev/zero; } >large
        { printf '\007\0\0\0' && busybox head -c 3000 /dev/zero; } >small
        for size in large small; do
            number=0
            while cat $size >/sys/firmware/efi/efivars/$size$number-87463cd7-2602-467b-beac-b3b17a82e3d0; do
                number=$((number + 1))
            done
        done 2>/full.log
        dupengine profile set --store efivar: /large.toml || echo "status $?"
        dupengine profile show --store efivar:
        ;;
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

# A TPM that is emulated, and variables that are full, take their time.
firmware_deadline=${DUPENGINE_FIRMWARE_SECONDS:-300}
firmware_begin boot-count
kernel=$("$here/lab_kernel.sh" | tail -n 1)
make_disk disk.img 192M 100
mkdir -p root/etc
echo golden >root/etc/hostname
touch root/etc/{os-release,fstab}
sgdisk --new=2:0:+32M disk.img >/dev/null
mkfs.ext4 -q -d root -E offset=$((101 * 1024 * 1024)) disk.img 32M
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
sed 's/@/role/' node.toml >variable.toml
{ cat variable.toml && head -c 12000 /dev/zero | tr '\0' '#'; } >large.toml
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
for letter in A B; do
    has_said "^-rw------- .* DupengineProfile$letter-" || firmware_fail "everybody may read the node's secret"
done

say "from then on it starts by itself"
start_firmware disk.img
await_text '^For this start, DupengineOnce says: menu\.$'
await_text '^Which\?'
stop_firmware
start_firmware disk.img
await_text '^starts are not counted$'
await_power_off
! has_said 'after this start' || firmware_fail "starts are counted still"

say "its profile is in the firmware, too, and stays whole where that has no room left"
behave full
cp vars.fd roomy.fd
start_firmware disk.img
await_text '^  firmware: profile of web-1, generation 2$'
await_text '^dupengine: efivar:: DupengineProfileA: the firmware has no room left for variables'
await_text '^status 9$'
await_text '^# efivar:, generation 2, slot 1$'
await_power_off

# LINE...: what the register holds when these lines were measured, one after another, into zeros.
replay() {
    head -c 32 /dev/zero >register
    local line
    for line; do
        { cat register && printf '%s' "$line" | openssl dgst -sha256 -binary; } | openssl dgst -sha256 -binary >next
        mv next register
    done
    od -An -v -tx1 register | tr -d ' \n' | tr '[:lower:]' '[:upper:]'
}

say "the disk has none any more: it starts by that of the firmware, and takes up its role; the TPM knows"
firmware_tpm=yes
sgdisk --delete=128 disk.img >/dev/null
# Firmware that is full takes long for everything.
mv roomy.fd vars.fd
start_firmware disk.img
await_text '^This machine is web-1\.$'
await_text '^/dev/vda: role taken up \('
await_text '^register 15: '
await_power_off
measured=("dupengine profile web-1 2 $(sha256sum <variable.toml | cut -d ' ' -f 1)" "dupengine choice kernel")
for line in "${measured[@]}"; do has_said "^$line\$" || firmware_fail "the event log does not have \"$line\""; done
has_said "^register 15: $(replay "${measured[@]}")\$" || firmware_fail "the TPM measured something else"
firmware_tpm=''
[[ $(debugfs -R 'cat /etc/hostname' "disk.img?offset=$((101 * 1024 * 1024))" 2>/dev/null) == web-1 ]] || die "the disk is golden still"

say "that of the firmware was changed: it is nobody"
LC_ALL=C sed -i 's/node = "web-1"/node = "web-2"/g' vars.fd
start_firmware disk.img
await_text '^  firmware: profile cannot be used: the checksum of its content is wrong$'
await_text '^Which\?'
! has_said 'Starts the kernel' || firmware_fail "it started all the same"
