#!/bin/bash
# The workload of a live duplication runs, its judge accepts it, and notices each single thing that is not as it should be.
# WORKLOAD, FRAMES: the programs.
set -euo pipefail
: "${WORKLOAD:?is not set}" "${FRAMES:?is not set}"
folder=$(mktemp -d)
trap 'jobs -p | xargs -r kill -KILL 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

fail() {
    echo "workload_test.sh: $1" >&2
    exit 1
}

# NAME SED: the judge, who accepts what NAME left behind, notices what SED changes in its steps.
must_notice() {
    cp -r work changed
    sed -i "$2" "changed/$1.steps"
    ! "$WORKLOAD" check changed "$1" >said 2>&1 || fail "$1: not noticed: $2"
    rm -rf changed
}

port=$((20000 + RANDOM % 20000))
busybox nc -ll -p "$port" -e cat &
mkdir work
sleep 0.3
for name in counter records pages; do "$WORKLOAD" "$name" work 2>"$name.said" & done
"$WORKLOAD" client work 127.0.0.1 "$port" 2>client.said &
client=$!
sleep 2
kill -STOP "$client"
sleep 1
kill -CONT "$client"
sleep 1
jobs -p | xargs kill -KILL
wait || true

for name in counter records pages client; do
    "$WORKLOAD" check work "$name" >"$name.judged" || fail "$name is not as it should be"
    grep -qx "node=$(uname -n) since=1" "$name.judged" || fail "$name does not know where it ran"
    grep -q "step 1 on $(uname -n)" "$name.said" || fail "$name does not say where it runs"
    must_notice "$name" '3d'
    must_notice "$name" '2s/ [0-9]*$/ 1/'
    # shellcheck disable=SC2016 # sed's words
    must_notice "$name" '$s/$/ more/'
    must_notice "$name" 'd'
done
grep -qx 'stalls=1' client.judged || fail "the client's pause was not one"

must_refuse_records() {
    ! "$WORKLOAD" check work records >said 2>&1 || fail "records: not noticed: $1"
    cp saved/* work/
}
mkdir saved
cp work/records.* saved/
truncate -s -1 work/records.log
must_refuse_records "a log that is cut"
printf x | dd of=work/records.log bs=1 seek=50 conv=notrunc status=none
must_refuse_records "an entry that is wrong"
for record in {0..255}; do printf x | dd of=work/records.data bs=4096 seek="$record" conv=notrunc status=none; done
must_refuse_records "records that are wrong"
echo "error at step 2" >work/counter.errors
! "$WORKLOAD" check work counter >said 2>&1 || fail "an error was not noticed"

# A client whose server goes away says so, and ends.
busybox nc -l -p "$port" -e cat &
server=$!
sleep 0.3
"$WORKLOAD" client work 127.0.0.1 "$port" 2>client.said &
client=$!
sleep 0.5
kill -KILL "$server"
! wait "$client" || fail "a connection that broke is no error"
grep -q '^error at step' work/client.errors || fail "a connection that broke was not noted"

# A capture of three frames; the first two are TCP of port 7, 1.5 seconds apart. The last one is cut.
number() { printf '%08x' "$1" | sed 's/\(..\)\(..\)\(..\)\(..\)/\\x\4\\x\3\\x\2\\x\1/'; }
frame() { # SECONDS MICROSECONDS MAC PORT
    printf '%b' "$(number "$1")$(number "$2")$(number 38)$(number 38)"
    printf '%b' '\xff\xff\xff\xff\xff\xff' "${3//:/\\x}" '\x08\x00\x45\x00\x00\x18\x00\x00\x00\x00\x40\x06\x00\x00'
    printf '%b' '\x0a\x4d\x00\x01\x0a\x4d\x00\x03\x10\x00\x00' "\\x$4"
}
{
    printf '%b' '\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00'
    frame 10 0 :52:54:00:77:00:01 07
    frame 11 500000 :52:54:00:77:00:02 07
    frame 15 0 :52:54:00:77:00:02 08
    frame 16 0 :52:54:00:77:00:03 07
} >capture
truncate -s -24 capture
"$FRAMES" capture 7 >said
diff - said <<EOT || fail "the capture is not understood"
52:54:00:77:00:01 frames=1 first=10.000 last=10.000
52:54:00:77:00:02 frames=2 first=11.500 last=15.000
longest_gap=1.500
EOT
head -c 10 capture >beginning
! "$FRAMES" beginning >said 2>&1 || fail "a capture that is none was not noticed"
