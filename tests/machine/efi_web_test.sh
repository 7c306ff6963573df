#!/bin/bash
# dupengine.efi gets kernel and initrd from a web server, believes only what is signed, waits for a server that stops half-way
# and says so where no network answers. The network is inside QEMU. DUPENGINE: the command; DUPENGINE_EFI: the application.
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
firmware_network=(-netdev "user,id=net,restrict=on,ipv6=off,guestfwd=tcp:10.0.2.100:80-cmd:$PWD/server" "${card[@]}")
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
