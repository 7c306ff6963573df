#!/bin/bash
# lab_kernel.sh: makes build/lab/kernel from Debian's own kernel package, which is unpacked and not installed, unless it
# is there: vmlinuz, lib/modules and an initrd that takes the files of this machine for its own (lab.sh). Prints the
# folder last.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"

kernel=$root/build/lab/kernel
recipe=$(cat "$here/lab_kernel.sh" "$here/lab/init" | sha256sum)
if [[ -e $kernel/recipe && $(<"$kernel/recipe") == "$recipe" ]]; then
    echo "$kernel"
    exit
fi

# The package of the list names no version; it depends on the one that does.
download_package() {
    local name=$1 versioned
    versioned=$(apt-cache depends --important "$name" | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [[ $versioned ]] || {
        apt-get -qq update
        versioned=$(apt-cache depends --important "$name" | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    }
    [[ $versioned ]] || die "apt knows no kernel package for $name"
    # As root and into a folder of root's: apt would go on without its sandbox and say so.
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$versioned" && dpkg-deb -x ./*.deb kernel)
}

# The modules that bring the root filesystem, each behind those it needs.
modules_for_root() {
    local module
    for module in virtio_pci virtio_blk virtio_rng 9pnet_virtio 9p overlay; do
        modprobe --dirname "$work/kernel" --set-version "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

make_initrd() {
    local tree=$work/initrd module
    mkdir -p "$tree"/{bin,dev,proc,sys,host,mnt}
    cp /bin/busybox "$tree/bin/"
    cp "$here/lab/init" "$tree/init"
    for module in $(modules_for_root); do
        cp "$module" "$tree/"
        echo "/$(basename "$module")" >>"$tree/modules"
    done
    (cd "$tree" && find . | cpio --quiet --create --format=newc | gzip -1) >"$work/kernel/initrd"
}

work=$(mktemp -d "$root/build/lab-kernel.XXXXXX")
trap 'rm -rf "$work"' EXIT
say "unpacking a kernel for the machine tests"
download_package "$(packages_of kernel)"
version=$(basename "$work"/kernel/lib/modules/*)
depmod --basedir "$work/kernel" "$version"
make_initrd
mv "$work/kernel/boot/vmlinuz-$version" "$work/kernel/vmlinuz"
rm -rf "$work/kernel/usr" "$work/kernel/boot"
echo "$recipe" >"$work/kernel/recipe"
mkdir -p "$root/build/lab"
rm -rf "$kernel"
mv "$work/kernel" "$kernel"
echo "$kernel"
