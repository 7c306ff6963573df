# shellcheck shell=bash
# A lab of two machines that are joined by a network of their own; sourced by tests. The source runs Debian from a copy of
# the golden disk; the target starts with the same kernel and the initramfs that receives
# (bootloader_hooks/initramfs-tools). Same devices at the same addresses, so firmware says the same to both. All files are
# in the current folder, which the test makes and removes. DUPENGINE: the command; PAIR_PROGRAMS, exported: programs for
# the source's /usr/local/bin.
#
#     pair_begin NAME; pair_prepare
#     start_network; start_source; await source 'pair: ready' shell; machine_do source 'hostname'
#     start_target dupengine.receive=/dev/vda; await target 'waiting on'
#     stop_machine target; pair_end (at the latest when the test ends)
#
# NAME.console.out what the machine says on its console; what is written to NAME.console.in it takes for typed there
# NAME.shell.out   the answers to what machine_do wrote to NAME.shell.in, its second serial line. A target that goes on as
#                  the source's duplicate has the source's shell there.
# NAME.sent.pcap   every frame that left the machine, and NAME.received.pcap: every frame that reached it
# Without -kernel among its options UEFI firmware starts a machine, as pair_firmware says, with the variables NAME.vars.
# The source is 10.77.0.1 and the target 10.77.0.2. A third machine, 10.77.0.3, says back what is said to its
# port 7. network_do says things to the network: "set_link source off" pulls a cable.

pair_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/machine/nodes.sh
source "$pair_folder/nodes.sh"

declare -A pair_machines=()
declare -A pair_macs=([source]=52:54:00:77:00:01 [target]=52:54:00:77:00:02)
declare -A pair_firmware=() # "disk" or "network"
pair_network_options=() # of QEMU: what else is in the network
pair_processes=()       # that end with the test
pair_network_in=()      # the command that runs that QEMU, if it has to be elsewhere
pair_commands=0
pair_deadline=${DUPENGINE_PAIR_SECONDS:-240}

# NAME: a folder of the test's own to be in, which is taken away at its end with all machines.
pair_begin() {
    : "${DUPENGINE:?is not set}" "${WORKLOAD:?is not set}" "${FRAMES:?is not set}"
    export PAIR_PROGRAMS=$WORKLOAD
    pair_work=$(mktemp -d "${root:?}/build/lab/$1.XXXXXX")
    trap 'pair_end; rm -rf "$pair_work"' EXIT
    cd "$pair_work" || return
}

check() { "$@" || pair_fail "not so: $*"; }
# FILE: how many steps the judge of a workload counted.
steps() { sed -n 's/^steps=//p' "$1"; }

# The programs of the workload that check themselves (live/workload.cc), on the source.
start_workload() {
    local name
    check machine_do source 'mkdir /root/load /run/load'
    for name in counter records; do
        check machine_do source "live_workload $name /root/load 2>/dev/console & sleep 1"
    done
    check machine_do source 'live_workload client /run/load 10.77.0.3 7 2>/dev/console & sleep 1'
}

# NAME FOLDER WORKLOAD: judges what it left there, on that machine, into NAME.WORKLOAD.
judge() { check machine_do "$1" "live_workload check $2 $3" >"$1.$3"; }

# The disks, the kernel, the initramfs and who knows whom. Sets pair_options.
pair_prepare() {
    enrol
    cp --sparse=always "$("$pair_folder/golden.sh" | tail -n 1)" source.img
    pair_options=$(golden_options source.img)
    "$pair_folder/pair/install" source.img
    # The keys are an archive of their own behind the other one.
    mkdir -p keys/etc/dupengine
    cp -r target keys/etc/dupengine/peers
    chmod -R go= keys/etc/dupengine
    (cd keys && find etc | cpio --quiet --create --format=newc --owner=0:0 | gzip) >>initrd.target
}

# What the two are plugged into: a third machine, in whose QEMU the network is.
start_network() {
    local name options=()
    for name in source target; do
        options+=(-netdev "stream,id=$name,server=on,addr.type=unix,addr.path=$name.wire"
            -netdev "hubport,id=$name-port,hubid=1,netdev=$name")
    done
    make_line network.monitor
    make_line network.console
    "${pair_network_in[@]}" qemu-system-x86_64 -name network -machine q35 -accel tcg -cpu max -m 192 -nodefaults -display none -no-reboot \
        -chardev pipe,id=monitor,path=network.monitor -mon monitor "${options[@]}" \
        -chardev pipe,id=console,path=network.console -serial chardev:console \
        -netdev hubport,id=third,hubid=1 -device virtio-net-pci,netdev=third,mac=52:54:00:77:00:03,romfile= \
        -kernel kernel -initrd initrd.third -append 'console=ttyS0 quiet panic=-1 no_timer_check' \
        "${pair_network_options[@]}" </dev/null &
    pair_machines[network]=$!
    until [[ -e source.wire && -e target.wire ]]; do
        is_running network || die "the network of the pair does not come up"
        sleep 0.1
    done
}

network_do() { echo "$1" >network.monitor.in; }

# What is said on a line is in the file LINE.out; LINE.in stays open while nobody writes to it.
make_line() {
    local held
    rm -f "$1.in"
    mkfifo "$1.in"
    # shellcheck disable=SC2034 # nobody uses the descriptor; it is open
    exec {held}<>"$1.in"
    : >"$1.out"
}

# NAME [OPTION...]: a machine with the disk NAME.img, and NAME.srv.img if that is there; the options of QEMU say what it
# starts.
start_machine() {
    local name=$1 line lines=() more=() disk_order='' network_order='' firmware=/usr/share/OVMF
    shift
    if [[ ${pair_firmware[$name]-} ]]; then
        [[ -e $name.vars ]] || cp "$firmware/OVMF_VARS_4M.fd" "$name.vars"
        more=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/OVMF_CODE_4M.fd"
            -drive "if=pflash,format=raw,unit=1,file=$name.vars")
        if [[ ${pair_firmware[$name]} == disk ]]; then disk_order=,bootindex=0; else network_order=,bootindex=0; fi
    fi
    if [[ -e $name.srv.img ]]; then
        more+=(-drive "if=none,id=srv,format=raw,cache=unsafe,discard=unmap,file=$name.srv.img"
            -device "virtio-blk-pci,drive=srv,addr=0x6")
    fi
    for line in console shell; do
        make_line "$name.$line"
        lines+=(-chardev "pipe,id=$line,path=$name.$line" -serial "chardev:$line")
    done
    # Its memory is there from the beginning, as a real machine's: a pause is not the host looking for pages. And it does not
    # say that "rep movsb" is fast (ERMS), because under emulation it goes byte by byte: the kernel then copies words.
    qemu-system-x86_64 -name "$name" -machine q35 -accel tcg,thread=multi -cpu max,-erms,-fsrm -smp 2 -m 1024 -mem-prealloc \
        -display none -monitor none -no-reboot "${lines[@]}" \
        -netdev "stream,id=net,server=off,addr.type=unix,addr.path=$name.wire" \
        -object "filter-dump,id=sent,netdev=net,queue=rx,file=$name.sent.pcap" \
        -object "filter-dump,id=received,netdev=net,queue=tx,file=$name.received.pcap" \
        -device "virtio-net-pci,netdev=net,mac=${pair_macs[$name]},romfile=,addr=0x3$network_order" \
        -device virtio-rng-pci,addr=0x4 \
        -drive "if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=$name.img" \
        -device "virtio-blk-pci,drive=disk,addr=0x5$disk_order" "${more[@]}" "$@" </dev/null &
    pair_machines[$name]=$!
}

# WORD... is added to the kernel's command line.
start_source() {
    start_machine source -kernel kernel -initrd initrd.source -append "$pair_options loglevel=7 no_timer_check pair.shell $*"
}

start_target() {
    start_machine target -kernel kernel -initrd initrd.target \
        -append "console=ttyS0 loglevel=7 no_timer_check ip=10.77.0.2:::255.255.255.0::: $*"
}

is_running() { kill -0 "${pair_machines[$1]}" 2>/dev/null; }

# At once, as a power cut.
stop_machine() {
    kill -KILL "${pair_machines[$1]}" 2>/dev/null || true
    wait "${pair_machines[$1]}" 2>/dev/null || true
    unset "pair_machines[$1]"
}

# NAME SECONDS: waits until the machine has switched itself off.
await_end() {
    local end=$((SECONDS + $2))
    while is_running "$1"; do
        ((SECONDS < end)) || pair_fail "$1 did not switch itself off within $2 seconds"
        sleep 0.2
    done
    wait "${pair_machines[$1]}" || pair_fail "QEMU failed ($1)"
    unset "pair_machines[$1]"
}

# NAME PATTERN [console|shell [SECONDS]]: waits until the machine has said it.
await() {
    local name=$1 pattern=$2 file=$1.${3:-console}.out end=$((SECONDS + ${4:-$pair_deadline}))
    until grep -aqE -- "$pattern" "$file"; do
        is_running "$name" || pair_fail "$name stopped before it said \"$pattern\""
        ((SECONDS < end)) || pair_fail "$name did not say \"$pattern\" in time"
        sleep 0.2
    done
}

# NAME PATTERN COUNT [SECONDS]: waits until the machine's console has said it so many times.
await_times() {
    local name=$1 pattern=$2 count=$3 end=$((SECONDS + ${4:-$pair_deadline}))
    until (($(grep -acE -- "$pattern" "$name.console.out") >= count)); do
        is_running "$name" || pair_fail "$name stopped before it said \"$pattern\" $count times"
        ((SECONDS < end)) || pair_fail "$name did not say \"$pattern\" $count times in time"
        sleep 0.2
    done
}

# NAME COMMAND [SECONDS]: one line of shell, done by the machine; prints what it says and returns its status.
machine_do() {
    local name=$1 number
    number=$((++pair_commands)).$BASHPID
    printf '%s %s\n' "$number" "$2" >"$name.shell.in"
    await "$name" "^=${number//./\\.} " shell "${3:-$pair_deadline}"
    sed -n "/^+$number\$/,/^=$number /p" "$name.shell.out" | sed '1d;$d'
    return "$(sed -n "s/^=$number //p" "$name.shell.out")"
}

# The e820 table that firmware gave to the machine's kernel.
firmware_map() { tr -d '\r' <"$1.console.out" | grep -ao 'BIOS-e820: .*'; }

pair_fail() {
    local file
    for file in *.console.out *.shell.out; do
        echo "the last lines of $file:"
        tail -n 30 "$file" | tr -cd '\n\t -~' | sed 's/^/    /'
    done >&2
    die "$1"
}

pair_end() {
    local name process
    for name in "${!pair_machines[@]}"; do stop_machine "$name"; done
    for process in "${pair_processes[@]}"; do kill "$process" 2>/dev/null || true; done
}
