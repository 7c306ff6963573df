#!/bin/bash
# A bare machine with a profile is switched on, and nobody touches it: firmware (OVMF) starts over the network, the small
# system of bootloader_hooks/initramfs-tools copies the signed image from a web server, waits while that is away, takes up
# the role, and the machine starts from its own disk as the node that its profile names. Switched on once more it starts
# by itself, and over the network it finds nothing to copy. A machine with a BIOS starts the same small system. What the
# network gives is made by `dupengine media`, and so is a stick that starts both kinds. DHCP and TFTP are QEMU's own, for
# the BIOS dnsmasq's; the web server is on loopback.
# DUPENGINE: the command.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/nodes.sh
source "$here/nodes.sh"
: "${DUPENGINE:?is not set}"
deadline=${DUPENGINE_PAIR_SECONDS:-240}
work=$(mktemp -d "$root/build/lab/netboot.XXXXXX")
server='' machine=''
end() {
    [[ ! $machine ]] || kill -KILL "$machine" 2>/dev/null || true
    [[ ! $server ]] || kill "$server" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap end EXIT
cd "$work"

check() { "$@" || fail "not so: $*"; }
fail() {
    echo "the last lines of the console:" >&2
    tail -n 40 console | tr -cd '\n\t -~' | sed 's/^/    /' >&2
    die "$1"
}
await() {
    local end=$((SECONDS + deadline))
    until grep -aqE -- "$1" console; do
        kill -0 "$machine" 2>/dev/null || grep -aqE -- "$1" console || fail "the machine stopped before it said \"$1\""
        ((SECONDS < end)) || fail "the machine did not say \"$1\" in time"
        sleep 0.2
    done
}

# The image in a store, a web server with a certificate of its own authority, and what firmware starts.
make_store() {
    "$DUPENGINE" image keygen image.key >/dev/null
    "$DUPENGINE" copy --sign-key image.key --progress none "$golden" image:store#web >/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout web.key -out web.pem \
        -subj /CN=server -addext subjectAltName=IP:10.0.2.2 2>/dev/null
    port=$(free_port)
    cat >nginx.conf <<CONF
daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events {}
http {
    access_log off; client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
    server { listen 127.0.0.1:$port ssl; ssl_certificate $work/web.pem; ssl_certificate_key $work/web.key; root $work; }
}
CONF
    # Its workers are another user's.
    chmod 755 . && chmod -R a+rX store
}

start_server() {
    nginx -e "$work/nginx.log" -c "$work/nginx.conf" &
    server=$!
}

stop_server() {
    kill "$server"
    wait "$server" || true
    server=''
}

# The small system is made where its kernel is; what the network gives to firmware is made here.
make_small_system() {
    cp --sparse=always "$golden" small.disk
    mkdir keys
    cp image.key.pub web.pem keys/
    "$here/netboot/install" small.disk --trust image.key.pub --ca-file web.pem
    rm small.disk
    # What no role depends on: root= of the disk is not known to the server.
    "$DUPENGINE" media pxe --linux kernel --initramfs small.img --copy "https://10.0.2.2:$port/store#web" \
        --target /dev/vda --append console=ttyS0 --append loglevel=4 --append no_timer_check --append ip=dhcp \
        tftp >media.log
}

# FIRST SECOND: the places of disk and network in the order in which firmware tries.
switch_on() {
    local firmware=/usr/share/OVMF
    [[ -e vars.fd ]] || cp "$firmware/OVMF_VARS_4M.fd" vars.fd
    : >console
    begin=$SECONDS
    qemu-system-x86_64 -name netboot -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -display none \
        -monitor none -serial file:console -device virtio-rng-pci \
        -drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/OVMF_CODE_4M.fd" \
        -drive "if=pflash,format=raw,unit=1,file=vars.fd" \
        -netdev user,id=net,ipv6=off,tftp=tftp,bootfile=grub/efi64.efi \
        -device "virtio-net-pci,netdev=net,romfile=,bootindex=$2" \
        -drive if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=target.img \
        -device "virtio-blk-pci,drive=disk,bootindex=$1" </dev/null &
    machine=$!
}
# A machine without UEFI and without a disk, which is to offer a shell, at a network as dnsmasq.conf has it.
switch_on_bios() {
    "$DUPENGINE" media pxe --linux kernel --initramfs small.img --append console=ttyS0 --append no_timer_check \
        --interface firmware --dhcp-range 10.77.1.10,10.77.1.20 tftp >media.log
    : >console
    begin=$SECONDS
    "$here/netboot/served" -name netboot -machine pc -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -display none \
        -monitor none -serial file:console -device virtio-net-pci,netdev=net,bootindex=0 </dev/null &
    machine=$!
}
# A stick, put by `dupengine copy` onto a larger one.
make_stick() {
    "$DUPENGINE" media esp --linux kernel --initramfs small.img --append console=ttyS0 --append no_timer_check \
        stick.img >media.log
    truncate -s 256M stick.disk
    "$DUPENGINE" copy --yes --progress none stick.img stick.disk >copy.log
}
# A machine with that and no disk: KIND [OPTION...].
switch_on_with_stick() {
    : >console
    begin=$SECONDS
    qemu-system-x86_64 -name netboot -machine "$1" -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -display none \
        -monitor none -serial file:console -nic none -device qemu-xhci "${@:2}" \
        -drive if=none,id=stick,format=raw,file=stick.disk -device usb-storage,drive=stick,bootindex=0 </dev/null &
    machine=$!
}
offers_a_shell() {
    await 'dupengine.shell asks for it'
    await 'to try again: *exit'
    say "the small system offers a shell, $((SECONDS - begin)) s after it was switched on"
    switch_off
}
switch_off() {
    kill -KILL "$machine"
    wait "$machine" 2>/dev/null || true
    machine=''
}
is_web_1() {
    await 'dupengine-demo end=yes'
    check grep -aq 'dupengine-demo node_name=web-1' console
    check grep -aq 'dupengine-demo system_state=running' console
    wait "$machine" || fail "QEMU failed"
    machine=''
    say "web-1 runs, $((SECONDS - begin)) s after it was switched on"
}

golden=$("$here/golden.sh" | tail -n 1)
say "a signed image on a web server, and a small system for the network"
make_store
make_small_system
read -r profile_begin profile_sectors < <(make_target)
"$DUPENGINE" profile show --store partition:target.img --json >before

say "a bare machine is switched on, and the server is away"
switch_on 0 1
await 'again in 10 seconds'
say "the server is there: the machine copies, takes up its role, and starts from its own disk"
start_server
await 'copy .* [1-9][0-9] %'
stop_server
say "... it goes away in the middle, and comes back"
sleep 3
start_server
await 'complete and has its role'
is_web_1
"$DUPENGINE" profile show --store partition:target.img --json >after
check cmp before after
check [ "$profile_begin $profile_sectors" = "$(partx --raw --noheadings --output START,SECTORS --nr 128 target.img)" ]

say "switched on once more"
switch_on 0 1
is_web_1
check [ "$(grep -ac 'dupengine: ' console)" = 0 ]

say "over the network once more: nothing to copy"
switch_on 1 0
await 'nothing to copy: /dev/vda has web@1'
await 'nothing to change'
await 'starting anew'
switch_off

say "a machine with a BIOS is started over the network, and nothing is said of what it is to do"
switch_on_bios
offers_a_shell

say "a stick starts a machine with a BIOS, and one with UEFI, without any network"
make_stick
switch_on_with_stick pc
offers_a_shell
switch_on_with_stick q35 -drive "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd" \
    -drive if=pflash,format=raw,unit=1,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd
offers_a_shell
say "netboot: all well"
