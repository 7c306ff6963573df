#!/bin/bash
# Loaders of others, with real firmware: systemd-boot and GRUB get entries for the small system, start it once when they are
# asked to, go back to the system by themselves, and take the small system for one that does not come up.
# DUPENGINE: the command.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/firmware.sh
source "$here/firmware.sh"
firmware_deadline=${DUPENGINE_FIRMWARE_SECONDS:-240}

# The machine's own system: does what the file "step" on the EFI system partition says, and switches itself off.
make_own_system() {
    make_system_tree "$kernel" efivarfs virtio_pci virtio_blk vfat nls_cp437 nls_ascii
    mkdir -p tree/boot/efi
    cat >tree/init <<'INIT'
#!/bin/busybox sh
# shellcheck shell=dash
. /start_system
echo "the machine's own system: $(cat /proc/cmdline)"
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
while [ ! -b /dev/vda1 ]; do sleep 1; done
mount -t vfat /dev/vda1 /boot/efi
sh /boot/efi/step
umount /boot/efi
poweroff -f
INIT
    chmod 755 tree/init
    pack_tree system
    rm -rf tree
}

# STEP: what the system does when it is started next.
do_next() {
    printf '%s\n' "$1" >step
    put_on_esp disk.img step /step
}

own_system_starts() {
    start_firmware disk.img
    await_text "^the machine's own system:"
    await_power_off
}

small_system_starts() {
    start_firmware disk.img
    await_text '^small system: .*console=ttyS0 quiet panic=-1 dupengine\.shell$'
    await_power_off
    ! has_said "own system" || firmware_fail "the system was started all the same"
}

systemd_boot=/usr/lib/systemd/boot/efi/systemd-bootx64.efi
command_line='console=ttyS0 quiet panic=-1'
firmware_begin loaders
kernel=$("$here/lab_kernel.sh" | tail -n 1)
make_own_system
make_small_system

say "systemd-boot: its system makes the entries, and asks for one start of the small system"
make_disk disk.img 160M 140
cat >system.conf <<CONF
title the machine's own system
linux /linux
initrd /system
options $command_line
CONF
echo 'timeout 0' >loader.conf
put_on_esp disk.img "$systemd_boot" /EFI/BOOT/BOOTX64.EFI
put_on_esp disk.img "$systemd_boot" /EFI/systemd/systemd-bootx64.efi
put_on_esp disk.img loader.conf /loader/loader.conf
put_on_esp disk.img system.conf /loader/entries/system.conf
put_on_esp disk.img "$kernel/vmlinuz" /linux
for file in system initrd; do put_on_esp disk.img "$file" "/$file"; done
do_next "dupengine boot install --kernel /boot/efi/linux --initrd /boot/efi/initrd --command-line '$command_line' &&
    dupengine boot once recovery && dupengine boot status"
own_system_starts
has_said '^systemd-boot has entries for the small system: recovery$' || firmware_fail "it has no entries"
has_said '^started by systemd-boot 25[0-9]' || firmware_fail "it does not know what started it"
has_said '^the next start does, once: recovery$' || firmware_fail "it was not asked to"
small_system_starts

say "once: then the system again, which counts, confirms, and counts once more"
do_next 'dupengine boot tries 3 && dupengine boot confirm && dupengine boot tries 1 && dupengine boot status'
own_system_starts
has_said 'came up well, with 3 tries left' || firmware_fail "it does not confirm"
has_said '^tries that are left: 1; not confirmed$' || firmware_fail "it does not count"

say "it does not come up, and the small system starts"
do_next 'dupengine boot status'
own_system_starts
has_said '^tries that are left: 0; not confirmed$' || firmware_fail "systemd-boot did not count"
small_system_starts

say "GRUB: once, one try of the system, which does not come up, and the small system"
rm disk.img
make_disk disk.img 160M 140
mkdir -p root/boot/grub root/etc/grub.d
grub-editenv root/boot/grub/grubenv create
# Debian's own beginning, up to where it looks for fonts and screens.
header=$(GRUB_DEFAULT=0 pkgdatadir=/usr/share/grub /etc/grub.d/00_header 2>/dev/null || true)
[[ $header == *next_entry*'function savedefault'* ]] || die "GRUB's 00_header is not as it was known"
cat >root/boot/grub/grub.cfg <<CONF
${header%%function savedefault*}
set timeout=0
menuentry 'own' { linux /linux $command_line; initrd /system }
CONF
echo 'configfile (hd0,gpt1)/boot/grub/grub.cfg' >early.cfg
grub-mkimage --format=x86_64-efi --prefix='(hd0,gpt1)/boot/grub' --config=early.cfg --output=grub.efi \
    part_gpt fat configfile normal linux boot test loadenv echo true
"$DUPENGINE" boot install --loader grub --root root --kernel "$kernel/vmlinuz" --initrd initrd \
    --command-line "$command_line" >/dev/null
"$DUPENGINE" boot once --loader grub --root root recovery >/dev/null
"$DUPENGINE" boot tries --loader grub --root root 1 >/dev/null
put_on_esp disk.img grub.efi /EFI/BOOT/BOOTX64.EFI
put_on_esp disk.img "$kernel/vmlinuz" /linux
put_on_esp disk.img system /system
mcopy -s -D o -i disk.img@@1M root/boot ::/
do_next 'echo does not come up'
forget_variables
small_system_starts
own_system_starts
small_system_starts
