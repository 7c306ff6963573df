#!/bin/bash
# A Debian that runs from its disk, under its own kernel and systemd, is duplicated while two programs write to that
# disk: `clone --disks-only` in the machine, `receive` here. The copy has to be sound and of one moment, the source has
# to go on, and the target, once it took up its role, has to boot as the node that its profile says.
# DUPENGINE: the command.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"
# shellcheck source=tests/machine/nodes.sh
source "$here/nodes.sh"

dupengine=${DUPENGINE:?is not set}
golden=$("$here/golden.sh" | tail -n 1)
work=$(mktemp -d "$root/build/lab/clone.XXXXXX")
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

value() { sed -n "s/^e2e $1=//p" console | tail -n 1; }
debugfs_cat() { debugfs -R "cat $1" root.img 2>/dev/null; }

# The command and all that it loads, on a disk of its own: nothing is installed in the machine.
make_bundle() {
    local library
    mkdir -p bundle/lib
    cp "$dupengine" /bin/busybox bundle/
    for library in $(ldd "$dupengine" | grep -oE '/[^ ]+'); do cp -L "$library" bundle/lib/; done
    cp -r source bundle/peers
    cat >bundle/run <<RUN
#!/bin/sh
exec >/dev/console 2>&1
cd /mnt
for path in /sys/class/net/*; do
    [ \${path##*/} = lo ] || ./busybox ifconfig \${path##*/} 10.0.2.15 netmask 255.255.255.0 up
done
dupengine="./lib/ld-linux-x86-64.so.2 --library-path lib ./dupengine"
( n=0; while :; do n=\$((n+1)); echo \$n >>/root/log; sync /root/log; done ) &
( n=0; while :; do n=\$((n+1)); ./busybox dd if=/dev/urandom of=/var/tmp/file\$((n % 10)) bs=64k count=4 2>/dev/null
    ./busybox usleep 50000; done ) &
./busybox sleep 1
echo "e2e before=\$(./busybox wc -l </root/log)"
\$dupengine clone --disks-only --max-pause 20 --peers peers /dev/vda dup://10.0.2.2:$1
echo "e2e status=\$?"
echo "e2e after=\$(./busybox wc -l </root/log)"
./busybox sleep 2
echo "e2e later=\$(./busybox wc -l </root/log)"
./busybox poweroff -f
RUN
    chmod +x bundle/run
    mke2fs -q -t ext4 -d bundle bundle.img 256M 2>/dev/null
}

# By its own kernel, with the demo's report, which switches it off, left out.
run_source() {
    local options
    cp --sparse=always "$golden" source.img
    options=$(golden_options source.img)
    timeout 900 qemu-system-x86_64 -name source -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
        -display none -monitor none -serial stdio -no-reboot -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
        -device virtio-rng-pci -drive if=virtio,format=raw,cache=unsafe,file=source.img \
        -drive if=virtio,format=raw,readonly=on,file=bundle.img \
        -kernel "$(find esp -name linux)" -initrd "$(find esp -name 'initrd.img*')" \
        -append "$options no_timer_check systemd.mask=dupengine-demo-report.service systemd.run=\"/bin/sh -c 'mount -o ro /dev/vdb /mnt && /mnt/run'\"" \
        </dev/null | tr -d '\r' >console
}

check() {
    "$@" || {
        tail -n 30 console receive.log fsck 2>/dev/null | tr -cd '\n\t -~' >&2
        die "not so: $*"
    }
}

say "a running Debian is duplicated"
enrol
port=$(free_port)
make_bundle "$port"
read -r profile_begin profile_sectors < <(make_target)
before=$(profile_digest "$profile_begin" "$profile_sectors")
"$dupengine" receive --yes --progress=none --peers target --listen "127.0.0.1:$port" target.img >receive.log 2>&1 &
receiving=$!
run_source
check [ "$(value status)" = 0 ]
wait "$receiving" || check false
grep -aE '^(round|pause)' console
say "the source wrote $(value before) lines before, $(value after) when it was done, $(value later) in the end"
check [ "$(value later)" -gt "$(value after)" ]

say "the target is of one moment"
check [ "$(profile_digest "$profile_begin" "$profile_sectors")" = "$before" ]
check sgdisk --verify target.img >/dev/null
dd if=target.img of=root.img bs=1M skip=513 conv=sparse status=none
! dumpe2fs -h root.img 2>/dev/null | grep -q needs_recovery || die "the target's journal has to be replayed"
# Clears what was deleted and still open, as a mount would, and gives up at anything else.
cp --sparse=always root.img checked.img
status=0
e2fsck -fp checked.img >fsck 2>&1 || status=$?
check [ "$status" -le 1 ]
lines=$(debugfs_cat /root/log | wc -l)
check [ "$lines" -gt "$(value before)" ]
check [ "$lines" -le "$(value after)" ]
check [ "$(debugfs_cat /root/log)" = "$(seq "$lines")" ]

say "the target takes up its role and boots"
"$dupengine" assume --disk target.img --roles "$root/profiles/roles" --yes >/dev/null
"$here/boot.sh" target.img vars target.console
tr -d '\r' <target.console >said
check grep -q '^dupengine-demo node_name=web-1$' said
check grep -q '^dupengine-demo system_state=running$' said
check [ "$(profile_digest "$profile_begin" "$profile_sectors")" = "$before" ]
say "web-1 runs on its copy; the source went on"
