#!/bin/bash
# reference.sh IMAGE: makes the disk that the benchmark copies: 4 GiB, GPT, an EFI system partition, an ext4 with about
# 1.4 GiB of this machine's own files and as much deleted data as a system in use has, and swap. Needs root (it mounts).
set -euo pipefail

image=$1
mount_point=$(mktemp -d)
loop=
clean_up() {
    ! mountpoint --quiet "$mount_point" || umount "$mount_point"
    [[ ! $loop ]] || losetup --detach "$loop"
    rmdir "$mount_point"
}
trap clean_up EXIT

rm -f "$image"
truncate -s 4G "$image"
sgdisk --new=1:1M:+256M --typecode=1:ef00 --new=2:0:+3328M --new=3:0:0 --typecode=3:8200 "$image" >/dev/null
truncate -s 256M "$image.esp"
mkfs.fat -F 32 -s 4 "$image.esp" >/dev/null
head -c 26M /dev/urandom | mcopy -i "$image.esp" - ::/firmware.bin
dd if="$image.esp" of="$image" bs=1M seek=1 conv=notrunc,sparse status=none
rm "$image.esp"
mke2fs -q -t ext4 -E offset=$((257 << 20)) "$image" 3328M

loop=$(losetup --find --show --offset $((257 << 20)) --sizelimit $((3328 << 20)) "$image")
mount "$loop" "$mount_point"
# Real files, small and large, until there is 1280 MiB of them.
find /usr/bin /usr/lib /usr/share -xdev -type f -size -64M -printf '%s %p\0' | sort --zero-terminated --key=2 |
    awk -v RS='\0' -v ORS='\0' -v limit=$((1280 << 20)) \
        '{ sum += $1; if (sum <= limit) { sub(/^[0-9]+ /, ""); print } }' |
    tar --create --null --files-from=- --file=- --absolute-names |
    tar --extract --file=- --directory="$mount_point" --no-same-owner --transform='s,^/,,'
head -c 100M /dev/urandom >"$mount_point/random"
head -c 480M /dev/urandom >"$mount_point/deleted"
sync --file-system "$mount_point"
rm "$mount_point/deleted"
