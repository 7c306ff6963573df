#!/bin/bash
# A copied Debian starts with an initramfs that dracut made, with systemd in it: before its root is mounted it takes up the
# role of its disk's profile, and starts anew; then it has its role, and goes on into its own system under its own name. Where
# it is told to copy, its network is what the profile says.
# DUPENGINE: the command.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
: "${DUPENGINE:?is not set}"
deadline=${DUPENGINE_PAIR_SECONDS:-240}
# 10.0.2.100 is a web server with nothing on it, started for each question.
network='user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:busybox httpd -i -h web'
work=$(mktemp -d "$root/build/lab/dracut.XXXXXX")
machine=''
end() {
    stop
    rm -rf "$work"
}
trap end EXIT
cd "$work"
mkdir web

fail() {
    echo "the last lines of the console:" >&2
    tail -n 40 console | tr -cd '\n\t -~' | sed 's/^/    /' >&2
    die "$1"
}
is_running() { [[ $machine ]] && kill -0 "$machine" 2>/dev/null; }
stop() {
    ! is_running || kill -KILL "$machine"
    [[ ! $machine ]] || wait "$machine" 2>/dev/null || true
    machine=''
}
has_said() { grep -aqE -- "$1" console; }
await() {
    local end=$((SECONDS + deadline))
    until has_said "$1"; do
        is_running || has_said "$1" || fail "the machine stopped before it said \"$1\""
        ((SECONDS < end)) || fail "the machine did not say \"$1\" in time"
        sleep 0.2
    done
}
# Ends when the machine starts anew.
switch_on() {
    : >console
    qemu-system-x86_64 -name dracut -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -display none -monitor none \
        -serial file:console -no-reboot -device virtio-rng-pci -netdev "$network" -device virtio-net-pci,netdev=net,addr=3 \
        -drive if=none,id=disk,format=raw,cache=unsafe,file=disk.img -device virtio-blk-pci,drive=disk \
        -kernel kernel -initrd initrd -append "console=ttyS0 no_timer_check root=/dev/vda3 $*" </dev/null &
    machine=$!
}

golden=$("$here/golden.sh" | tail -n 1)
cp --sparse=always "$golden" made.img
"$here/dracut/install" made.img
rm made.img
cp --sparse=always "$golden" disk.img
truncate -s 4G disk.img
sgdisk -e disk.img >/dev/null
printf 'schema = 1\nkind = "node"\nnode = "web-1"\nroles = ["base", "web"]\n' >profile.toml
"$DUPENGINE" profile init --store partition:disk.img --from profile.toml >/dev/null

say "the role is taken up before the root is mounted"
words='systemd.mask=dupengine-demo-report.service dupengine.assume dupengine.target=/dev/vda'
switch_on "$words"
await 'dupengine: /dev/vda is complete and has its role'
await 'dupengine: starting anew'
wait "$machine" || true
! has_said 'golden login' || fail "the source's system was started"

say "the system starts as the node of its profile"
switch_on "$words"
await 'dupengine: /dev/vda has its role, and starts'
await 'web-1 login:'
stop

say "a mistake ends in a shell that says what to type"
switch_on "$words dupengine.nonsense"
await 'nothing is known of dupengine.nonsense'
await 'by hand: +dupengine copy SOURCE DISK'
stop
# [[link]] as text: what the machine says of the link, and that it reaches its server.
copies_over() {
    { cat profile.toml && printf '[[link]]\nname = "enp0s3"\n%s\n' "$1"; } >with_link.toml
    "$DUPENGINE" profile set --store partition:disk.img with_link.toml >/dev/null
    switch_on "dupengine.copy=http://10.0.2.100/store#web dupengine.target=/dev/vda"
    await "$2"
    await 'http://10\.0\.2\.100/store: no store of images is there'
    stop
}

say "without a word on the command line the network is what the profile says"
copies_over 'addresses = ["10.0.2.77/24"]' 'enp0s3, a link of the profile, has 10\.0\.2\.77/24'
copies_over 'dhcp = true' 'enp0s3, a link of the profile, waits for DHCP'
say "dracut starts it"
