#!/bin/bash
# dupengine.efi on machines of its own: it knows which machine it runs on, starts that machine's loader or kernel by itself,
# comes back with the reason, follows a choice for one start, and takes keys.
# DUPENGINE: the command; DUPENGINE_EFI: the application; OTHER_LOADER: one that gives up.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/firmware.sh
source "$here/firmware.sh"
: "${OTHER_LOADER:?is not set}"

# DISK TEXT: the disk's profile is that of web-1, with TEXT behind it.
make_profile() {
    printf 'schema = 1\nkind = "node"\nnode = "web-1"\nroles = ["base", "web"]\n%s\n' "$2" >profile.toml
    "$DUPENGINE" profile init --store "partition:$1" --from profile.toml >/dev/null
}

firmware_begin efi
make_disk disk.img 64M
put_on_esp disk.img "$DUPENGINE_EFI" /EFI/BOOT/BOOTX64.EFI

say "a disk without a profile: it is nobody and waits"
start_firmware disk.img
await_text '^dupengine [0-9.]+, before the operating system$'
await_text '^This machine is nobody yet: no disk has a profile\.$'
await_text 'boot from the disk: not here, .* no loader but dupengine\.efi itself$'
await_text '^Which\?'
press x
await_power_off

say "with a profile: says who it is, and starts the loader that stands beside it"
make_profile disk.img $'[boot]\ntimeout = 1'
put_on_esp disk.img "$OTHER_LOADER" /EFI/debian/grubx64.efi
start_firmware disk.img
await_text '^This machine is web-1, roles base, web\.$'
await_text '^Starts /EFI/debian/grubx64\.efi of disk 1\.$'
await_text '^the other loader runs$'
await_text '^Back in dupengine: it gave up\.$'
stop_firmware

say "the loader asked for the menu at the next start, and only there"
start_firmware disk.img
await_text '^For this start, DupengineOnce says: menu\.$'
await_text '^Which\?'
press x
await_power_off

say "disk to disk, with the profile of another machine on the target: it becomes the source, keeps its profile, starts nothing"
truncate -s 96M target.img
sgdisk --new=1:1M:+8M target.img >/dev/null
printf 'schema = 1\nkind = "node"\nnode = "storage-1"\ngeneration = 9\n' >other.toml
"$DUPENGINE" profile init --store partition:target.img --from other.toml >/dev/null
target_profile() { dd if=target.img bs=1M skip=91 count=4 status=none | sha256sum; }
kept=$(target_profile)
cp target.img cut.img
start_firmware disk.img target.img
await_text 'disk 2: 96 MiB, 2 partitions, profile of storage-1, generation 9$'
await_text '^This machine is web-1, roles base, web\.$'
await_text '^Tries that are left after this start: 0\.$'
await_text '^Back in dupengine: it gave up\.$'
! has_said DupengineOnce || firmware_fail "the choice for one start was followed twice"
press d && await_text '^Copy which disk\?'
press 1 && await_text '^Onto which disk\?'
press 2 && await_text '^Disk 1 goes onto disk 2: 1 partition, 33 MiB\. .*, but its profile stays\.$'
press y
await_text '33 of 33 MiB, compares'
await_text '^Disk 2 is complete and verified\.'
await_text 'boot from the disk: not here, a disk was written; restart the machine first$'
press x
await_power_off
cmp --ignore-initial=1048576 --bytes=34603008 disk.img target.img || firmware_fail "the target is no copy"
[[ $(target_profile) == "$kept" ]] || firmware_fail "the target's profile was changed"
[[ $(sgdisk --verify target.img) == *'No problems found'* ]] || firmware_fail "the target's table is not sound"
[[ $("$DUPENGINE" profile show --store partition:target.img) == *storage-1* ]] || firmware_fail "the target forgot who it is"

say "a copy that was cut: the disk still knows who it is, and is completed by the command"
mv cut.img target.img
firmware_slow[target.img]=,throttling.bps-write=4194304
start_firmware disk.img target.img
await_text '^Which\?'
press d && await_text '^Copy which disk\?'
press 1 && await_text '^Onto which disk\?'
press 2 && await_text '^Press y to do that\.'
press y && await_text 'MiB, copies'
stop_firmware
start_firmware disk.img target.img
await_text 'disk 2: 96 MiB, a copy onto it was cut: unfinished, profile of storage-1, generation 9$'
await_text '^All tries to start are used up \(DupengineTries\)\.$'
await_text '^Which\?'
stop_firmware
"$DUPENGINE" copy --yes disk.img target.img >/dev/null 2>&1 || firmware_fail "the command does not complete the copy"
cmp --ignore-initial=1048576 --bytes=34603008 disk.img target.img || firmware_fail "the completed target is no copy"
[[ $(target_profile) == "$kept" ]] || firmware_fail "the target's profile was changed"

say "a loader of another architecture; what it falls back to: a kernel and its initrd, with the command line of the profile"
make_small_system
make_disk kernel.img 128M
put_on_esp kernel.img "$DUPENGINE_EFI" /EFI/BOOT/BOOTX64.EFI
put_on_esp kernel.img "$("$here/lab_kernel.sh" | tail -n 1)/vmlinuz" /EFI/dupengine/linux
put_on_esp kernel.img initrd /EFI/dupengine/initrd
# What the program is for is said by two bytes behind "PE": here 64-bit ARM.
LC_ALL=C sed 's/PE\x00\x00\x64\x86/PE\x00\x00\x64\xaa/' "$OTHER_LOADER" >other.efi
! cmp --quiet "$OTHER_LOADER" other.efi || die "the loader is of this architecture still"
put_on_esp kernel.img other.efi /EFI/other.efi
make_profile kernel.img '[boot]
loader = "/EFI/other.efi"
fallback = "kernel"
timeout = 0
kernel = "/EFI/dupengine/linux"
initrd = "/EFI/dupengine/initrd"
command_line = "console=ttyS0 quiet panic=-1 word=\"two words\""'
forget_variables
start_firmware kernel.img
await_text '^Starts /EFI/other\.efi of disk 1\.$'
await_text '^Back in dupengine: it is no program that this firmware can run\.$'
await_text '^Starts the kernel /EFI/dupengine/linux of disk 1\.$'
await_text '^small system: .*console=ttyS0 quiet panic=-1 word="two words"$'
await_power_off

say "an EFI system partition that is damaged: it says so, and takes that of no other disk"
make_disk stick.img 64M
put_on_esp stick.img "$DUPENGINE_EFI" /EFI/BOOT/BOOTX64.EFI
put_on_esp stick.img "$OTHER_LOADER" /EFI/debian/grubx64.efi
make_disk damaged.img 96M
put_on_esp damaged.img "$OTHER_LOADER" /EFI/debian/grubx64.efi
make_profile damaged.img '[boot]
timeout = 0'
dd if=/dev/urandom of=damaged.img bs=1M seek=1 count=33 conv=notrunc status=none
forget_variables
start_firmware stick.img damaged.img
await_text '^This machine is web-1'
await_text '^It should boot from the disk, and cannot: its partition has no file system that firmware can read\.$'
await_text '^Which\?'
stop_firmware

say "beside its disk one that was copied from it, with the same GUIDs and the same profile: its own is started"
make_disk own.img 96M
put_on_esp own.img "$DUPENGINE_EFI" /EFI/BOOT/BOOTX64.EFI
put_on_esp own.img "$OTHER_LOADER" /EFI/debian/grubx64.efi
make_profile own.img '[boot]
timeout = 0'
cp --sparse=always own.img twin.img
put_on_esp twin.img profile.toml /EFI/debian/grubx64.efi
for disks in 'own.img twin.img' 'twin.img own.img'; do
    read -r first second <<<"$disks"
    forget_variables # the other loader leaves a choice there
    start_firmware "$first" "$second"
    await_text '^This machine is web-1'
    if [[ $first == own.img ]]; then reason='it gave up'; else reason='it is no program that this firmware can run'; fi
    await_text "^Back in dupengine: $reason\.$"
    stop_firmware
done
