#!/bin/bash
# golden.sh: makes build/lab/golden.img, a bootable Debian 12 disk, unless the one that is there was made by this very
# recipe. Prints its path last. Nothing is mounted: the root is filled by mke2fs -d, the EFI system partition by mtools.
#
#   GPT  1  EFI system   256 MiB  FAT32: systemd-boot, kernel, initramfs
#        2  swap         256 MiB
#        3  Linux root   the rest  ext4
#
# It is the golden disk that somebody forgot to clean: machine-id, SSH host keys and random seeds are in it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"

lab=$root/build/lab
image=$lab/golden.img
packages=systemd-sysv,udev,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,logsave,systemd-boot,openssh-server

recipe_digest() { cat "$here/golden.sh" "$here"/golden/* | sha256sum | cut -d ' ' -f 1; }

new_uuid() { cat /proc/sys/kernel/random/uuid; }

# The machine's own package sources, as far as they are Debian's. apt knows which those are once it has seen their
# Release files.
debian_sources() {
    # shellcheck disable=SC2016 # apt's words, not the shell's
    apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
        awk -F '|' '$1 == "Debian" && $2 ~ /^bookworm/ {
            print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $3, $4, $5 }' | sort -u
}

make_tree() {
    local sources
    sources=$(debian_sources)
    if [[ ! $sources ]]; then
        apt-get -qq update
        sources=$(debian_sources)
    fi
    [[ $sources ]] || die "apt has no source of Debian 12 (bookworm): put one into /etc/apt/sources.list"
    mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --essential-hook="'$here/golden/before-packages' \"\$1\" $root_uuid $swap_uuid $esp_id" \
        bookworm "$tree" - <<<"$sources"
    "$here/golden/after-packages" "$tree" "$command_line"
}

make_table() {
    rm -f "$disk"
    truncate -s 3G "$disk"
    sgdisk --new=1:1M:+256M --typecode=1:ef00 --change-name=1:'EFI system' \
        --new=2:0:+256M --typecode=2:8200 --change-name=2:swap \
        --new=3:0:0 --typecode=3:8304 --change-name=3:'Debian root' "$disk" >/dev/null
}

# Puts a file with a filesystem of 256 MiB into the disk.
put_into_disk() { dd if="$1" of="$disk" bs=1M seek="$2" conv=notrunc,sparse status=none; }

# A boot loader entry as kernel-install makes it, on an EFI system partition as bootctl install makes it.
make_esp() {
    local machine_id version esp=$parts/esp
    machine_id=$(<"$tree/etc/machine-id")
    version=$(basename "$tree"/boot/vmlinuz-* | cut -d - -f 2-)
    truncate -s 256M "$esp"
    mkfs.fat -F 32 -s 4 -n ESP -i "${esp_id/-/}" "$esp" >/dev/null
    mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/systemd ::/EFI/Linux ::/loader ::/loader/entries \
        "::/$machine_id" "::/$machine_id/$version"
    mcopy -i "$esp" "$tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::/EFI/systemd/systemd-bootx64.efi
    mcopy -i "$esp" "$tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
    mcopy -i "$esp" "$tree/boot/vmlinuz-$version" "::/$machine_id/$version/linux"
    mcopy -i "$esp" "$tree/boot/initrd.img-$version" "::/$machine_id/$version/initrd.img-$version"
    printf 'timeout 0\ndefault %s-*\n' "$machine_id" | mcopy -i "$esp" - ::/loader/loader.conf
    echo type1 | mcopy -i "$esp" - ::/loader/entries.srel
    head -c 32 /dev/urandom | mcopy -i "$esp" - ::/loader/random-seed
    mcopy -i "$esp" - "::/loader/entries/$machine_id-$version.conf" <<ENTRY
title      Debian GNU/Linux 12 (bookworm)
version    $version
machine-id $machine_id
options    $command_line
linux      /$machine_id/$version/linux
initrd     /$machine_id/$version/initrd.img-$version
ENTRY
    put_into_disk "$esp" 1
}

make_swap() {
    (umask 077 && fallocate -l 256M "$parts/swap")
    mkswap --uuid "$swap_uuid" "$parts/swap" >/dev/null
    put_into_disk "$parts/swap" 257
}

make_root() {
    local sectors
    sectors=$(partx --noheadings --raw --output SECTORS --nr 3 "$disk")
    mke2fs -q -t ext4 -U "$root_uuid" -L golden -d "$tree" -E offset=$((513 << 20)) "$disk" "$((sectors / 2))k"
}

[[ -e $image && -e $image.recipe && $(<"$image.recipe") == "$(recipe_digest)" ]] && {
    say "golden disk: there already"
    echo "$image"
    exit 0
}
install_missing demo
need_root "the tree of the golden disk has files of many owners"
mkdir -p "$lab"
rm -rf "$lab/parts"
parts=$lab/parts tree=$lab/parts/tree disk=$lab/parts/golden.img
mkdir -p "$parts"
trap 'rm -rf --one-file-system "$parts"' EXIT

root_uuid=$(new_uuid) swap_uuid=$(new_uuid)
command_line="root=UUID=$root_uuid resume=UUID=$swap_uuid ro console=ttyS0 loglevel=5 panic=10"
esp_id=$(new_uuid | cut -c 1-8 | tr a-f A-F | sed 's/..../&-/')
say "golden disk: installing Debian 12 into a folder (about a minute)"
make_tree
say "golden disk: partitions, boot loader, filesystems"
make_table
make_esp
make_swap
make_root
mv "$disk" "$image"
recipe_digest >"$image.recipe"
say "golden disk: made, $(du -h "$image" | cut -f 1) of 3 GiB in use"
echo "$image"
