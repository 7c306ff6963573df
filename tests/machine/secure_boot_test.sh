#!/bin/bash
# Secure Boot is on and dupengine.efi has a key: what is signed starts; of what is not signed, or was changed after, nothing
# does, and the console says what is wrong. DUPENGINE: the command; DUPENGINE_EFI: the application.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/firmware.sh
source "$here/firmware.sh"

# FILE [SED]: the file is the profile of this machine; SED changes it after it was signed.
set_profile() {
    sed -e "${2-}" "$1" >given.toml
    "$DUPENGINE" profile set --store partition:disk.img given.toml >/dev/null
}

# A PATTERN of the reason; the machine must have started nothing.
refuses() {
    start_firmware disk.img
    await_text "$1"
    await_text '^Which\?'
    ! has_said 'Starts the kernel' || firmware_fail "it started the kernel all the same"
    stop_firmware
}

firmware_secure=yes
firmware_begin secure-boot
make_disk disk.img 128M
"$DUPENGINE" profile init --store partition:disk.img >/dev/null

say "an application that nobody signed: firmware does not start it"
put_on_esp disk.img "$DUPENGINE_EFI" /EFI/BOOT/BOOTX64.EFI
start_firmware disk.img
await_text 'failed to load .*Access Denied'
! has_said 'before the operating system' || firmware_fail "it was started all the same"
stop_firmware

say "application, kernel, initrd and profile signed: the kernel runs, with the command line of the profile"
"$DUPENGINE" image keygen owner.key >/dev/null
"$DUPENGINE" boot keys --trust owner.key.pub "$DUPENGINE_EFI" with-keys.efi >/dev/null
sign_program with-keys.efi signed.efi
put_on_esp disk.img signed.efi /EFI/BOOT/BOOTX64.EFI
! "$DUPENGINE" boot keys --trust owner.key.pub signed.efi again.efi 2>/dev/null || die "it changed a signed application"
make_small_system
sign_program "$("$here/lab_kernel.sh" | tail -n 1)/vmlinuz" linux
"$DUPENGINE" boot sign --sign-key owner.key linux initrd >/dev/null
for file in linux linux.sig initrd initrd.sig; do put_on_esp disk.img "$file" "/EFI/dupengine/$file"; done
cat >node.toml <<'TOML'
schema = 1
kind = "node"
node = "web-1"
[boot]
choice = "kernel"
timeout = 0
kernel = "/EFI/dupengine/linux"
initrd = "/EFI/dupengine/initrd"
command_line = "console=ttyS0 quiet panic=-1"
TOML
cp node.toml unsigned.toml
"$DUPENGINE" profile sign --sign-key owner.key node.toml >/dev/null
set_profile node.toml
start_firmware disk.img
await_text '^Secure Boot is on\. 1 key is here: profile, kernel and initrd have to be signed\.$'
await_text '^Starts the kernel /EFI/dupengine/linux of disk 1\.$'
await_text '^small system: .*console=ttyS0 quiet panic=-1$'
await_power_off

say "another initrd"
(cat initrd && echo) >changed
put_on_esp disk.img changed /EFI/dupengine/initrd
refuses 'cannot: its initrd is not as it was signed\.$'
put_on_esp disk.img initrd /EFI/dupengine/initrd

say "another kernel, although firmware would start it"
sign_program "$("$here/lab_kernel.sh" | tail -n 1)/vmlinuz" changed
put_on_esp disk.img changed /EFI/dupengine/linux
put_on_esp disk.img initrd.sig /EFI/dupengine/linux.sig
refuses 'cannot: its kernel is not as it was signed\.$'

say "a kernel that only we signed: firmware does not start it"
cp "$("$here/lab_kernel.sh" | tail -n 1)/vmlinuz" changed
"$DUPENGINE" boot sign --sign-key owner.key changed >/dev/null
put_on_esp disk.img changed /EFI/dupengine/linux
put_on_esp disk.img changed.sig /EFI/dupengine/linux.sig
start_firmware disk.img
await_text '^Back in dupengine: Secure Boot does not allow it\.$'
! has_said '^small system' || firmware_fail "it ran all the same"
stop_firmware

say "another command line"
set_profile node.toml 's/quiet/single/'
refuses 'profile cannot be used: its profile is not as it was signed$'

say "a profile that nobody signed"
set_profile unsigned.toml
refuses 'profile cannot be used: its profile is not signed$'

say "without a key in the application, Secure Boot starts no kernel with an initrd and a command line of anybody's"
sign_program "$DUPENGINE_EFI" signed.efi
put_on_esp disk.img signed.efi /EFI/BOOT/BOOTX64.EFI
refuses 'cannot: Secure Boot is on, and no key is here to check the initrd and the command line with\.$'
