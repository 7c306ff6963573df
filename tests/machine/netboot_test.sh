#!/bin/bash
# A bare machine with a profile is switched on, and nobody touches it: firmware (OVMF) starts dupengine.efi over the network,
# that starts the small system of bootloader_hooks/initramfs-tools, as the profile says, because the disk has no system; the
# small system copies the signed image from a web server, waits while that is away, takes up the role, and the machine starts
# from its own disk as the node that its profile names, and tells that it came up well (dupengine-generator). Switched on once more, the network
# still first, it starts that at once. Told to restore itself, it gets a new version that does not come up, and goes back to
# the one that did; the server hears of all that. By GRUB over the network it finds nothing to copy. A machine with a BIOS starts the
# same small system, and so do machines that come with iPXE, one with a BIOS and one with UEFI; there iPXE starts dupengine.efi, too.
# What the network gives is made by `dupengine media`, and so is a stick that starts both kinds. All
# servers (dnsmasq, nginx, httpd) are in a network of the test's own.
# DUPENGINE: the command; DUPENGINE_EFI: the application.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/nodes.sh
source "$here/nodes.sh"
: "${DUPENGINE:?is not set}" "${DUPENGINE_EFI:?is not set}"
deadline=${DUPENGINE_PAIR_SECONDS:-240}
work=$(mktemp -d "$root/build/lab/netboot.XXXXXX")
server='' machine='' dhcp='' files='' network=''
end() {
    local process
    [[ ! $machine ]] || kill -KILL "$machine" 2>/dev/null || true
    for process in $server $dhcp $files $network; do kill "$process" 2>/dev/null || true; done
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

# No other process sees it. The machines are behind "firmware", and their servers are 10.77.1.1.
start_network() {
    unshare --net sleep infinity &
    network=$!
    until [[ $(readlink "/proc/$network/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.1; done
    in_network=(nsenter "--net=/proc/$network/ns/net")
    "${in_network[@]}" ip tuntap add dev firmware mode tap
    "${in_network[@]}" ip address add 10.77.1.1/24 dev firmware
    "${in_network[@]}" ip link set firmware up
    "${in_network[@]}" busybox httpd -f -p 10.77.1.1:80 -h web &
    files=$!
}

# With what dupengine media pxe made.
start_dhcp() {
    if [[ $dhcp ]]; then
        kill "$dhcp"
        wait "$dhcp" || true
    fi
    "${in_network[@]}" dnsmasq --no-daemon --conf-file=tftp/dnsmasq.conf --dhcp-leasefile="$work/leases" >dnsmasq.log 2>&1 &
    dhcp=$!
}

# The web server, with a certificate of its own authority, and who signs.
make_server() {
    "$DUPENGINE" image keygen image.key >/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout web.key -out web.pem \
        -subj /CN=server -addext subjectAltName=IP:10.77.1.1,DNS:images.lan 2>/dev/null
    cat >nginx.conf <<CONF
daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events {}
http {
    access_log off; client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
    server {
        listen 10.77.1.1:443 ssl; ssl_certificate $work/web.pem; ssl_certificate_key $work/web.key; root $work;
        location /reports/ { dav_methods PUT; }
    }
}
CONF
    mkdir --mode 777 reports
}

# Of firmware that has started nothing before.
uefi=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
    -drive "if=pflash,format=raw,unit=1,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd")

# Of the golden system with dupengine installed, which starts by dupengine.efi and tells that it came up well.
make_store() {
    mcopy -D o -i small.disk@@1M "$DUPENGINE_EFI" ::/EFI/BOOT/BOOTX64.EFI
    mcopy -n -s -i small.disk@@1M ::/loader/entries .
    sed -i 's/panic=10/panic=1/' entries/*
    mcopy -o -s -i small.disk@@1M entries ::/loader
    publish
    chmod 755 .
}
# The next version of the image.
publish() {
    "$DUPENGINE" copy --sign-key image.key --progress none small.disk image:store#web >/dev/null
    # The workers of the server are another user's.
    chmod -R a+rX store
}
# Nothing starts without its C library, so the kernel ends when it starts the system.
publish_one_that_does_not_come_up() {
    debugfs -w -R 'rm /usr/lib/x86_64-linux-gnu/libc.so.6' "small.disk?offset=$((513 << 20))" 2>/dev/null
    publish
}

start_server() {
    "${in_network[@]}" nginx -e "$work/nginx.log" -c "$work/nginx.conf" &
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
    mkdir keys web
    cp image.key.pub web.pem keys/
    "$here/netboot/install" small.disk --trust image.key.pub --ca-file web.pem
    ln kernel web/linux
    ln small.img web/initrd
    chmod -R a+rX web
}
# OPTION...
make_folder() {
    "$DUPENGINE" media pxe --linux kernel --initramfs small.img --append console=ttyS0 --append loglevel=4 \
        --append no_timer_check --append ip=dhcp --interface firmware --dhcp-range 10.77.1.10,10.77.1.20 "$@" tftp >media.log
    start_dhcp
}

make_profile() {
    cat >>profile.toml <<'PROFILE'
[services]
enable = ["dupengine-boot-report.service", "restore-next.service",
    "systemd-networkd.service", "systemd-networkd-wait-online.service"]
[[link]]
name = "enp0s3"
dhcp = true
# As somebody does it from afar.
[[file]]
path = "/etc/systemd/system/restore-next.service"
content = """
[Service]
Type=oneshot
ExecCondition=grep -q restore-next /sys/class/dmi/id/product_sku
ExecStart=dupengine boot once restore
[Install]
WantedBy=multi-user.target
"""
[boot]
timeout = 0
fallback = "restore"
tries = 2
kernel = "http://10.77.1.1/linux"
initrd = "http://10.77.1.1/initrd"
command_line = "console=ttyS0 loglevel=4 no_timer_check"
restore_from = "https://10.77.1.1/store#web"
receive_disk = "/dev/vda"
report_to = "https://10.77.1.1/reports"
[[file]]
path = "/etc/dupengine/ca.pem"
content = """
PROFILE
    { cat web.pem && echo '"""'; } >>profile.toml
    "$DUPENGINE" profile set --store partition:target.img profile.toml >/dev/null
}

# OPTION...: a machine at the network.
start_machine() {
    : >console
    begin=$SECONDS
    "${in_network[@]}" qemu-system-x86_64 -name netboot -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -display none -monitor none \
        -serial file:console -netdev tap,id=net,ifname=firmware,script=no,downscript=no "$@" </dev/null &
    machine=$!
}
# FIRST SECOND [OPTION...]: the places of disk and network in the order in which firmware tries.
switch_on() {
    local firmware=/usr/share/OVMF
    [[ -e vars.fd ]] || cp "$firmware/OVMF_VARS_4M.fd" vars.fd
    start_machine -machine q35 -device virtio-rng-pci \
        -drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/OVMF_CODE_4M.fd" \
        -drive "if=pflash,format=raw,unit=1,file=vars.fd" \
        -device "virtio-net-pci,netdev=net,romfile=,bootindex=$2" \
        -drive if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=target.img \
        -device "virtio-blk-pci,drive=disk,bootindex=$1" "${@:3}"
}
# A stick, put by `dupengine copy` onto a larger one.
make_stick() {
    "$DUPENGINE" media esp --linux kernel --initramfs small.img --append console=ttyS0 --append no_timer_check \
        stick.img >media.log
    truncate -s 256M stick.disk
    "$DUPENGINE" copy --yes --progress none stick.img stick.disk >copy.log
}
# The same at once, on a device; what was on it is gone.
make_stick_directly() {
    local device
    truncate -s 0 stick.disk
    truncate -s 200M stick.disk
    device=$(losetup --find --show stick.disk)
    "$DUPENGINE" media esp --linux kernel --initramfs small.img --append console=ttyS0 --append no_timer_check \
        --yes --progress none "$device" >media.log || { losetup --detach "$device" && false; }
    losetup --detach "$device"
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
# The same with a CD.
switch_on_with_cd() {
    : >console
    begin=$SECONDS
    qemu-system-x86_64 -name netboot -machine "$1" -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -display none \
        -monitor none -serial file:console -nic none "${@:2}" -cdrom small.iso -boot d </dev/null &
    machine=$!
}
offers_a_shell() {
    await 'dupengine.shell asks for it'
    await 'to try again: *exit'
    say "the small system offers a shell, $((SECONDS - begin)) s after it was switched on"
    switch_off
}
# With UEFI and the disk bare.img: [CARD], what else its network card is.
start_with_bare_disk() {
    start_machine -machine q35 "${uefi[@]}" -device "virtio-net-pci,netdev=net,mac=52:54:00:77:00:07,${1-}bootindex=0" \
        -drive if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=bare.img -device virtio-blk-pci,drive=disk
}
make_disk_with_kernel_elsewhere() {
    rm bare.img
    truncate -s 1G bare.img
    sgdisk --new=1:1M:+64M bare.img >/dev/null
    cat >>web-7.toml <<'BOOT'
[boot]
choice = "kernel"
timeout = 0
kernel = "http://10.77.1.1/linux"
initrd = "http://10.77.1.1/initrd"
command_line = "console=ttyS0"
BOOT
    "$DUPENGINE" profile init --store partition:bare.img --from web-7.toml >/dev/null
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

has_reported() { check grep -q "$1" reports/web-1.json; }

golden=$("$here/golden.sh" | tail -n 1)
say "a signed image on a web server, and a small system for the network"
make_server
make_small_system
make_store
start_network
make_folder --efi "$DUPENGINE_EFI" --http http://10.77.1.1/pxe
ln -s ../tftp web/pxe
read -r profile_begin profile_sectors < <(make_target)
make_profile
"$DUPENGINE" profile show --store partition:target.img --json >before

say "a bare machine is switched on, and the server of the image is away"
switch_on 0 1
await 'Fetches http://10\.77\.1\.1/linux\.'
await 'again in 10 seconds'
say "the server is there: the machine copies, takes up its role, and starts from its own disk"
start_server
await 'copy .* [1-9][0-9] %'
stop_server
say "... it goes away in the middle, and comes back"
sleep 3
start_server
await 'dupengine\.efi tries this system 2 times'
await 'told https://10\.77\.1\.1/reports: web-1 has web@1, new'
await 'complete and has its role'
await 'Tries that are left after this start: 1\.'
is_web_1
check grep -aq 'Start PXE over IPv4' console
has_reported '"version":1,"state":"healthy",.*"failed":null'
"$DUPENGINE" profile show --store partition:target.img --json >after
check cmp before after
check [ "$profile_begin $profile_sectors" = "$(partx --raw --noheadings --output START,SECTORS --nr 128 target.img)" ]

say "switched on once more, the network first (HTTP Boot): its own system starts, which was confirmed"
switch_on 1 0 -smbios type=1,sku=restore-next \
    -fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n
is_web_1
check grep -aq 'URI: http://10\.77\.1\.1/pxe/dupengine\.efi' console
check [ "$(grep -ac 'dupengine: \|Tries that are left' console)" = 0 ]

say "it is told to restore itself, and the new version does not come up"
publish_one_that_does_not_come_up
switch_on 0 1
await 'told https://10\.77\.1\.1/reports: web-1 has web@2, new'
await 'Tries that are left after this start: 0\.'
await 'All tries to start are used up'
await 'web@2 did not come up, and has no tries left: noted'
await 'told https://10\.77\.1\.1/reports: web-1 has web@2, failed'
say "... $((SECONDS - begin)) s: the server knows, and the machine goes back"
await 'web@2 did not come up on /dev/vda: back to version 1'
is_web_1
has_reported '"version":1,"state":"healthy",.*"failed":2'
"$DUPENGINE" profile show --store partition:target.img --json >after
check cmp before after

say "over the network by GRUB: nothing to copy"
make_folder --copy "https://10.77.1.1/store#web" --target /dev/vda
rm vars.fd # which remembers HTTP Boot
switch_on 1 0
await 'nothing to copy: /dev/vda has web@1'
await 'nothing to change'
await 'starting anew'
switch_off

say "a machine with a BIOS is started over the network, and nothing is said of what it is to do"
make_folder
# Its firmware is iPXE, and is to be taken for another one.
sed -i 's/,tag:!ipxe//; /ipxe/d' tftp/dnsmasq.conf
start_dhcp
start_machine -machine pc -device virtio-net-pci,netdev=net,bootindex=0
offers_a_shell

say "one that starts by iPXE, with a bare disk, gets the profile for its network card, and becomes that node; its server has a name"
printf 'schema = 1\nkind = "node"\nnode = "web-7"\nroles = ["base", "web"]\n' >web-7.toml
make_folder --copy "https://images.lan/store#web@1" --target /dev/vda --then poweroff --node 52-54-00-77-00-07=web-7.toml
sed -i 's/^port=0/address=\/images.lan\/10.77.1.1/' tftp/dnsmasq.conf
start_dhcp
truncate -s 4G bare.img
start_machine -machine pc -device virtio-net-pci,netdev=net,mac=52:54:00:77:00:07,bootindex=0 \
    -drive if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=bare.img -device virtio-blk-pci,drive=disk
await '/dev/vda has no profile, and gets that of the small system'
await 'complete and has its role'
wait "$machine" || fail "QEMU failed"
machine=''
"$DUPENGINE" profile show --store partition:bare.img --json >after
check grep -q '"node": "web-7"' after
say "it is web-7, $((SECONDS - begin)) s after it was switched on"

say "one with UEFI whose network card has iPXE gets that profile"
rm bare.img
truncate -s 4G bare.img
start_with_bare_disk
await '/dev/vda has no profile, and gets that of the small system'
say "... $((SECONDS - begin)) s after it was switched on"
switch_off

say "one whose firmware fetches iPXE: that starts dupengine.efi, for which it fetches the kernel"
make_folder --efi "$DUPENGINE_EFI"
cp /usr/lib/ipxe/snponly.efi tftp/
sed -i 's/tag:efi,tag:!ipxe,.*/tag:efi,tag:!ipxe,snponly.efi/' tftp/dnsmasq.conf
start_dhcp
make_disk_with_kernel_elsewhere
start_with_bare_disk romfile=,
await 'Fetches http://10\.77\.1\.1/initrd\.'
await 'Linux version'
check grep -aq 'Start PXE over IPv4' console
check grep -aq 'dupengine\.efi\.\.\. ok' console
say "... $((SECONDS - begin)) s after it was switched on"
switch_off
rm bare.img

say "a stick starts a machine with a BIOS, and one with UEFI, without any network"
make_stick
switch_on_with_stick pc
offers_a_shell
make_stick_directly
switch_on_with_stick q35 "${uefi[@]}"
offers_a_shell

say "so does a CD, with the drivers of one machine only"
check [ "$(stat -c %s this.img)" -lt "$(stat -c %s small.img)" ]
"$DUPENGINE" media iso --linux kernel --initramfs this.img --append console=ttyS0 --append no_timer_check small.iso \
    >media.log
switch_on_with_cd pc
offers_a_shell
switch_on_with_cd q35 "${uefi[@]}"
offers_a_shell
say "netboot: all well"
