#!/bin/bash
# network.sh [RUNS]: sends a disk from one process to another of this machine over TLS, RUNS times (5), beside one stream of
# libssl alone and nbdcopy over TLS from nbdkit, and prints the medians. Everything is on tmpfs and 127.0.0.1. Needs root
# (loop devices) and 8 GiB of memory. DUPENGINE: the command to measure, instead of building build/release/dupengine.
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
source "$(dirname "$0")/lib.sh"

runs=${1:-5}
port=17433

# The one that the ratios are to, then the others.
# shellcheck disable=SC2034
long=('dupengine --streams=1' 'dupengine --streams=2' 'dupengine --streams=4')
send=('libssl alone' 'libssl between disks' nbdcopy 'dupengine --verify=none' dupengine)

wait_for_port() {
    local hex
    hex=$(printf '0100007F:%04X 00000000:0000 0A' "${1:-$port}")
    for ((i = 0; i < 500; i++)); do
        ! grep -q "$hex" /proc/net/tcp || return 0
        sleep 0.02
    done
    die "nothing waits on port ${1:-$port}"
}

fresh_target() {
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    rm -f "$work/target.img"
    truncate -s 2G "$work/target.img"
    target_loop=$(losetup --find --show "$work/target.img")
}

# 256 pieces of 64 KiB, spread over the file, are other bytes.
change_source() {
    losetup --detach "$source_loop"
    source_loop=
    for ((piece = 0; piece < 256; piece++)); do
        dd if=/dev/urandom of="$work/source.img" bs=64K count=1 seek=$((4096 + piece * 70)) conv=notrunc status=none
    done
    source_loop=$(losetup --find --show --read-only "$work/source.img")
}

send_by_nbdcopy() {
    nbdkit --foreground --port "$port" --ipaddr 127.0.0.1 --tls=require --tls-psk="$work/keys.psk" \
        file "$source_loop" &
    beside=$!
    wait_for_port
    timed nbdcopy "nbds://bench@127.0.0.1:$port/?tls-psk-file=$work/keys.psk" "$target_loop" || return
    kill "$beside"
    wait "$beside" || true # it was killed
    beside=
    cmp "$source_loop" "$target_loop"
}

send_by_dupengine() {
    "$work/floor" run "$work/there.figures" \
        "$dupengine" receive --yes --peers "$work/b" --listen "127.0.0.1:$port" "$@" "$target_loop" >"$work/receive.log" 2>&1 &
    beside=$!
    wait_for_port
    timed "$dupengine" copy --json --peers "$work/a" "$source_loop" "dup://127.0.0.1:$port" >"$work/sent.json" || return
    wait "$beside" || return
    beside=
    e2fsck -fn "$target_loop"
}

# Through a proxy that makes the way long.
run_long() {
    local proxy
    python3 "$here/long_way.py" $((port + 1)) "$port" &
    proxy=$!
    "$work/floor" run "$work/there.figures" "$dupengine" receive --yes --peers "$work/b" --listen "127.0.0.1:$port" \
        "$target_loop" >"$work/receive.log" 2>&1 &
    beside=$!
    wait_for_port
    wait_for_port $((port + 1))
    timed "$dupengine" copy --json --peers "$work/a" "${1#* }" "$source_loop" "dup://127.0.0.1:$((port + 1))" \
        >"$work/sent.json" || return
    wait "$beside" || return
    beside=
    kill "$proxy"
    wait "$proxy" || true # it was killed
    e2fsck -fn "$target_loop"
}

run_send() {
    case $1 in
        *disks) timed "$work/tls_stream" 1500 "$work/cert.pem" "$work/key.pem" "$source_loop" "$target_loop" ;;
        compare*) timed "$work/floor" compare "$source_loop" "$target_loop" ;;
        libssl*) timed "$work/tls_stream" 1500 "$work/cert.pem" "$work/key.pem" <"$work/random" ;;
        nbdcopy) send_by_nbdcopy ;;
        *none) send_by_dupengine --verify=none ;;
        *) send_by_dupengine ;;
    esac
}

# One run of one tool: a line "TOOL|WALL|CPU|RSS|RSS OF THE RECEIVING END, IN BYTES" into the file of its kind.
measure() {
    local how=$1 tool=$2 there=0
    [[ $tool == *again || $tool == compare* ]] || fresh_target
    rm -f "$work/figures" "$work/there.figures"
    "run_$how" "$tool" >"$work/tool.log" 2>&1 || { tail "$work/tool.log" "$work/receive.log" >&2 && die "$tool failed"; }
    [[ ! -e $work/there.figures ]] || there=$(awk -F '|' '{ print $3 * 1024 }' "$work/there.figures")
    printf '%s|%s|%s\n' "$tool" "$(tail -n 1 "$work/figures")" "$there" >>"$work/$how.runs"
}

# Two machines of one authority: a invites, b joins.
enrol() {
    "$dupengine" enrol invite --json --peers "$work/a" --own-name a --listen "127.0.0.1:$port" >"$work/invite.json" &
    beside=$!
    local token=
    for ((i = 0; i < 500 && ${#token} == 0; i++)); do
        sleep 0.02
        token=$(sed -n 's/.*"token": "\(.*\)".*/\1/p' "$work/invite.json")
    done
    "$dupengine" enrol join --peers "$work/b" --name b "127.0.0.1:$port" "$token" >/dev/null
    wait "$beside"
}

prepare network
c++ -std=c++20 -O2 -o "$work/tls_stream" "$here/tls_stream.cc" -lssl -lcrypto
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=bench -keyout "$work/key.pem" -out "$work/cert.pem" \
    2>"$work/req.log"
printf 'bench:%s\n' "$(openssl rand -hex 32)" >"$work/keys.psk"
enrol
mkdir "$work/files"
head -c 1500M /dev/urandom >"$work/random"
ln "$work/random" "$work/files/random"
truncate -s 2G "$work/source.img"
mke2fs -q -t ext4 -d "$work/files" "$work/source.img"
source_loop=$(losetup --find --show --read-only "$work/source.img")
load_before=$(load)
for ((run = 1; run <= runs; run++)); do
    say "run $run of $runs"
    measure_all long
    measure_all send
    change_source
    measure send 'compare loop'
    measure send 'dupengine, again'
    sed -n 's/.*"bytes_sent": \([0-9]*\).*/\1/p' "$work/sent.json" >>"$work/again.bytes"
done

report_machine "$load_before" "$runs"
send+=('compare loop' 'dupengine, again')
report long 'The same, over a way of 25 ms with 4 MiB of a connection under way' 'there MiB'
report send 'ext4 of 2 GiB with 1500 MiB of random bytes; loop device to loop device, two processes, TLS' 'there MiB'
printf 'bytes sent the second time, for 16777216 that changed: %s\n' "$(sort -n "$work/again.bytes" | sed -n "$(((runs + 1) / 2))p")"
