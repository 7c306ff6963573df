#!/bin/bash
# dupengine.efi gets kernel and initrd from a web server, believes only what is signed, waits for a server that stops half-way
# and says so where no network answers. It puts a disk image from there onto a disk, whose profile stays. The network is inside QEMU. DUPENGINE: the command; DUPENGINE_EFI: the application.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/firmware.sh
source "$here/firmware.sh"
firmware_deadline=${DUPENGINE_FIRMWARE_SECONDS:-240}

firmware_begin efi-web
make_disk disk.img 64M
"$DUPENGINE" image keygen owner.key >/dev/null
"$DUPENGINE" boot keys --trust owner.key.pub "$DUPENGINE_EFI" with-keys.efi >/dev/null
put_on_esp disk.img with-keys.efi /EFI/BOOT/BOOTX64.EFI
make_small_system
mkdir web
cp "$("$here/lab_kernel.sh" | tail -n 1)/vmlinuz" web/linux
mv initrd web/
"$DUPENGINE" boot sign --sign-key owner.key web/linux web/initrd >/dev/null
cat >node.toml <<'TOML'
schema = 1
kind = "node"
node = "web-1"
[boot]
choice = "kernel"
timeout = 0
kernel = "http://10.0.2.100/linux"
initrd = "http://10.0.2.100/initrd"
command_line = "console=ttyS0 quiet panic=-1"
TOML
"$DUPENGINE" profile sign --sign-key owner.key node.toml >/dev/null
"$DUPENGINE" profile init --store partition:disk.img --from node.toml >/dev/null

# A server of which the first answer with a kernel ends in the middle.
cat >server <<SERVER
#!/bin/bash
if [[ ! -e $PWD/stopped ]] && IFS= read -r line && [[ \$line == 'GET /linux '* ]]; then
    : >$PWD/stopped
    printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n' "\$(stat --format=%s $PWD/web/linux)"
    head -c 3000000 $PWD/web/linux
    exit
fi
exec $PWD/serve_rest "\${line-}"
SERVER
# The first line of a request was read already.
cat >serve_rest <<SERVER
#!/bin/bash
{ [[ -z \$1 ]] || printf '%s\n' "\$1"; exec cat; } | exec /bin/busybox httpd -i -h $PWD/web
SERVER
chmod +x server serve_rest
card=(-device 'virtio-net-pci,netdev=net,romfile=')

say "the server stops half-way, and the kernel comes all the same"
with_server=(-netdev "user,id=net,restrict=on,ipv6=off,guestfwd=tcp:10.0.2.100:80-cmd:$PWD/server" "${card[@]}")
firmware_network=("${with_server[@]}")
start_firmware disk.img
await_text '^Asks for an address \(DHCP\)\.$'
await_text '^Fetches http://10\.0\.2\.100/linux\.$'
await_text '^Not fetched: the web server stopped half-way\.$'
await_text '^Starts the kernel http://10\.0\.2\.100/linux\.$'
await_text '^small system: .*console=ttyS0 quiet panic=-1$'
await_power_off

say "another initrd than was signed"
echo >>web/initrd
start_firmware disk.img
await_text '^Back in dupengine: its initrd is not as it was signed\.$'
stop_firmware

say "nobody answers: it says so, and leaves it when a key is pressed"
firmware_network=(-netdev 'hubport,id=net,hubid=0' "${card[@]}")
start_firmware disk.img
await_text '^Not fetched: no DHCP server gives this machine an address\.$'
await_text 'Again in [0-9]+ s; any key stops that\.'
press q
await_text '^Back in dupengine: its initrd cannot be read\.$'
stop_firmware

say "a disk image goes onto a disk, and another one than was signed does not"
truncate -s 24M web/web.img
sgdisk --new=1:1M:+8M --new=2:10M:+9M web/web.img >/dev/null
dd if=/dev/urandom of=web/web.img bs=1M seek=1 count=8 conv=notrunc status=none
dd if=/dev/urandom of=web/web.img bs=1M seek=10 count=9 conv=notrunc status=none
"$DUPENGINE" boot digests web/web.img >/dev/null
"$DUPENGINE" boot sign --sign-key owner.key web/web.img.digests >/dev/null
sed '/^choice/d; s/^timeout.*/choice = "menu"\nduplicate_from = "http:\/\/10.0.2.100\/web.img"/' node.toml >menu.toml
"$DUPENGINE" profile sign --sign-key owner.key menu.toml >/dev/null
"$DUPENGINE" profile set --store partition:disk.img menu.toml >/dev/null
truncate -s 48M target.img
"$DUPENGINE" profile init --store partition:target.img --from menu.toml >/dev/null
read -r kept_begin kept_sectors < <(partx --raw --noheadings --output START,SECTORS --nr 128 target.img)
kept() { dd if=target.img bs=512 skip="$kept_begin" count="$kept_sectors" status=none | sha256sum; }
before=$(kept)
firmware_network=("${with_server[@]}")
start_firmware disk.img target.img
await_text '^Which\?'
press d && await_text '^w is http://10\.0\.2\.100/web\.img\.$'
press w && await_text '^Onto which disk\?'
press 2 && await_text '^http://10\.0\.2\.100/web\.img goes onto disk 2: 2 partitions, 17 MiB\. .*, but its profile stays\.$'
press y && await_text '^Disk 2 is complete and verified\.'
press x
await_power_off
cmp --ignore-initial=$((1 << 20)) --bytes=$((8 << 20)) web/web.img target.img || firmware_fail "the target is no copy"
cmp --ignore-initial=$((10 << 20)) --bytes=$((9 << 20)) web/web.img target.img || firmware_fail "the target is no copy"
[[ $(kept) == "$before" ]] || firmware_fail "the target's profile was changed"
[[ $(sgdisk --verify target.img) == *'No problems found'* ]] || firmware_fail "the target's table is not sound"
printf x | dd of=web/web.img bs=1 seek=$((15 << 20)) conv=notrunc status=none
start_firmware disk.img target.img
await_text '^Which\?'
press d && await_text '^Copy which disk\?'
press w && await_text '^Onto which disk\?'
press 2 && await_text '^Press y to do that\.'
press y && await_text '^Back in dupengine: the image on the server is not what its digests say\.$'
stop_firmware
[[ $(kept) == "$before" ]] || firmware_fail "the target's profile was changed"
