#!/bin/bash
# network.sh [RUNS]: sends a disk from one process to another of this machine over TLS, RUNS times (5), beside one stream of
# libssl alone and nbdcopy over TLS from nbdkit, and prints the medians. Everything is on tmpfs and 127.0.0.1. Needs root
# (loop devices) and 8 GiB of memory. DUPENGINE: the command to measure, instead of building build/release/dupengine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"

runs=${1:-5}
port=17433
work='' source_loop='' target_loop='' beside=''

timed() { "$work/floor" run "$work/figures" "$@"; }

wait_for_port() {
    local hex
    hex=$(printf '0100007F:%04X 00000000:0000 0A' "$port")
    for ((i = 0; i < 500; i++)); do
        ! grep -q "$hex" /proc/net/tcp || return 0
        sleep 0.02
    done
    die "nothing waits on port $port"
}

fresh_target() {
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    rm -f "$work/target.img"
    truncate -s 2G "$work/target.img"
    target_loop=$(losetup --find --show "$work/target.img")
}

# One stream with nothing but libssl: what TLS by itself takes.
run_openssl() { timed "$work/tls_stream" 1500 "$work/cert.pem" "$work/key.pem" <"$work/random"; }

run_nbdcopy() {
    nbdkit --foreground --port "$port" --ipaddr 127.0.0.1 --tls=require --tls-psk="$work/keys.psk" \
        file "$source_loop" &
    beside=$!
    wait_for_port
    timed nbdcopy "nbds://bench@127.0.0.1:$port/?tls-psk-file=$work/keys.psk" "$target_loop"
    kill "$beside"
    wait "$beside" || true
}

run_dupengine() {
    "$dupengine" receive --yes --peers "$work/b" --listen "127.0.0.1:$port" "$@" "$target_loop" >"$work/receive.log" 2>&1 &
    beside=$!
    wait_for_port
    timed "$dupengine" copy --json --peers "$work/a" "$source_loop" "dup://127.0.0.1:$port" >"$work/sent.json"
    wait "$beside"
    e2fsck -fn "$target_loop" >"$work/check.log" 2>&1 || die "the copy is not a good one"
}

measure() {
    rm -f "$work/figures"
    "${@:2}" >"$work/tool.log" 2>&1 || { tail "$work/tool.log" "$work/receive.log" >&2 && die "$1 failed"; }
    printf '%s|%s\n' "$1" "$(tail -n 1 "$work/figures")" >>"$work/runs"
}

sorted() { awk -F '|' -v tool="$1" -v field="$2" '$1 == tool { print $field }' "$work/runs" | sort -n; }
median() { sorted "$@" | awk '{ all[NR] = $1 } END { print (NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2) }'; }

clean_up() {
    [[ ! $beside ]] || kill "$beside" 2>/dev/null || true
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    [[ ! $source_loop ]] || losetup --detach "$source_loop"
    rm -rf "$work"
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

need_root "loop devices"
install_missing build bench run demo
if [[ ${DUPENGINE-} ]]; then
    dupengine=$DUPENGINE
else
    "$root/tools/build"
    dupengine=$root/build/release/dupengine
fi
work=$(mktemp -d /dev/shm/dupengine-network-XXXXXX)
trap clean_up EXIT
c++ -std=c++20 -O2 -o "$work/floor" "$here/floor.cc" -pthread
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
for ((run = 1; run <= runs; run++)); do
    say "run $run of $runs"
    measure openssl run_openssl
    fresh_target
    measure nbdcopy run_nbdcopy
    fresh_target
    measure 'dupengine --verify=none' run_dupengine --verify=none
    fresh_target
    measure dupengine run_dupengine
    # 256 pieces of 64 KiB, spread over the file, are other bytes.
    losetup --detach "$source_loop"
    for ((piece = 0; piece < 256; piece++)); do
        dd if=/dev/urandom of="$work/source.img" bs=64K count=1 seek=$((4096 + piece * 70)) conv=notrunc status=none
    done
    source_loop=$(losetup --find --show --read-only "$work/source.img")
    measure 'dupengine, again' run_dupengine
    sed -n 's/.*"bytes_sent": \([0-9]*\).*/\1/p' "$work/sent.json" >>"$work/again.bytes"
done

printf '\n%s, %d cores, Linux %s; load %s; medians of %d\n%-26s %10s %10s %10s  %s\n' \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" "$(cut -d ' ' -f 1-3 /proc/loadavg)" \
    "$runs" '' 'median s' 'least s' 'MiB' 'x openssl'
base=$(median openssl 2)
while read -r tool; do
    printf '%-26s %10.2f %10.2f %10.0f  %.2f\n' "$tool" "$(median "$tool" 2)" "$(sorted "$tool" 2 | head -n 1)" \
        "$(awk "BEGIN { print $(median "$tool" 4) / 1024 }")" "$(awk "BEGIN { print $(median "$tool" 2) / $base }")"
done < <(cut -d '|' -f 1 "$work/runs" | awk '!seen[$0]++')
printf 'bytes sent the second time, for 16777216 that changed: %s\n' "$(sort -n "$work/again.bytes" | sed -n "$(((runs + 1) / 2))p")"
