#!/bin/bash
# The Debian package has what is installed, asks for what it needs, and when it is removed the loader is as it was: in a folder
# that dpkg takes for the root of a system. BUILD: where CMake built.
set -euo pipefail
: "${BUILD:?is not set}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
check() { "$@" || { echo "not so: $*" >&2 && exit 1; }; }

cpack --config "$BUILD/CPackConfig.cmake" -B made >cpack.log 2>&1 || { cat cpack.log >&2 && exit 1; }
package=$(echo made/dupengine_*.deb)
dpkg-deb --contents "$package" >contents
for file in usr/sbin/dupengine usr/lib/dupengine/dupengine.efi usr/share/man/man8/dupengine.8 \
    usr/lib/systemd/system-generators/dupengine-generator etc/kernel/postinst.d/zz-dupengine \
    usr/share/initramfs-tools/hooks/dupengine usr/lib/dracut/modules.d/90dupengine/module-setup.sh; do
    check grep -q " \./$file$" contents
done
check [ "$(grep -c ' \./usr/local/.' contents)" = 0 ]
depends=$(dpkg-deb --field "$package" Depends)
for one in libblkid1 libarchive13 e2fsprogs mtools; do check grep -q "\b$one\b" <<<"$depends"; done

# A machine with GRUB.
mkdir -p root/boot/grub root/etc/grub.d root/var/lib/dpkg/{info,updates,triggers}
touch root/var/lib/dpkg/{status,available}
printf 'set timeout=5\nmenuentry own { linux /vmlinuz }\n' >root/boot/grub/grub.cfg
cp /bin/true linux
cp /bin/true initrd
tree() { (cd root && find boot etc/grub.d -type f -exec sha256sum {} + | sort -k 2); }
tree >before
run_dpkg() { dpkg "--root=$PWD/root" --force-script-chrootless --force-depends --no-triggers "$@" >dpkg.log 2>&1 || { cat dpkg.log >&2 && exit 1; }; }
run_dpkg --install "$package"
root/usr/sbin/dupengine boot install --loader grub --root "$PWD/root" --kernel linux --initrd initrd >/dev/null
check [ "$(tree | cmp -s - before && echo same)" != same ]
run_dpkg --remove dupengine
tree >after
check diff before after
check [ ! -e root/usr/sbin/dupengine ]
# Its settings stay until it is purged, and do nothing without it.
mkdir -p root/etc/default
touch root/etc/default/dupengine-boot
DUPENGINE_BOOT_SETTINGS=root/etc/default/dupengine-boot PATH=/usr/bin:/bin root/etc/kernel/postinst.d/zz-dupengine 6.1.0 >hook.log 2>&1
check [ ! -s hook.log ]
run_dpkg --purge dupengine
check [ ! -e root/etc/kernel/postinst.d/zz-dupengine ]
