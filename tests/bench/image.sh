#!/bin/bash
# image.sh [RUNS]: captures the partition of the reference disk into an image and restores it, with dupengine, casync and
# partclone piped to zstd, RUNS times (5), and prints medians, sizes and memory. Everything is on tmpfs. Needs root (loop
# devices) and 16 GiB of memory. See README.md. DUPENGINE: the command to measure, instead of building build/release/dupengine.
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
source "$(dirname "$0")/lib.sh"

runs=${1:-5}
partition_offset=$((257 << 20)) partition_size=$((3328 << 20))

# Found by name, from the kind: the tool that the ratios are to, then the others.
# shellcheck disable=SC2034
{
    capture=(dupengine 'casync make' 'partclone to zstd -1 -T0')
    restore=(dupengine 'casync extract' 'zstd -d to partclone')
    capture_again=(dupengine 'casync make')
}

run_capture() {
    case $1 in
        dupengine) rm -rf "$work/store" ;;
        casync*) rm -rf "$work/casync" "$work/disk.caibx" ;;
        partclone*) rm -f "$work/disk.pc.zst" ;;
    esac
    run_capture_again "$1"
}

run_capture_again() {
    case $1 in
        dupengine) timed "$dupengine" copy --json "$source_loop" "image:$work/store#disk" >"$work/captured.json" ;;
        casync*) timed casync make --compression=zstd --store="$work/casync" "$work/disk.caibx" "$source_loop" ;;
        partclone*) timed bash -c "set -o pipefail
            partclone.ext4 -c -s '$source_loop' -o - -F -L '$work/partclone.log' | zstd -q -1 -T0 -o '$work/disk.pc.zst'" ;;
    esac
}

run_restore() {
    case $1 in
        dupengine) timed "$dupengine" copy --yes --insecure "image:$work/store#disk" "$target_loop" ;;
        casync*) timed casync extract --store="$work/casync" "$work/disk.caibx" "$target_loop" ;;
        zstd*) timed bash -c "set -o pipefail
            zstd -q -d -c '$work/disk.pc.zst' | partclone.ext4 -r -s - -o '$target_loop' -L '$work/partclone.log'" ;;
    esac
}

# What the last capture left, in bytes.
stored_by() {
    case $1 in
        dupengine) du -sb "$work/store" | cut -f 1 ;;
        casync*) du -sb "$work/casync" | cut -f 1 ;;
        *) stat -c %s "$work/disk.pc.zst" ;;
    esac
}

check_restore() {
    case $1 in
        casync*) cmp "$source_loop" "$target_loop" ;;
        *) e2fsck -fn "$target_loop" ;;
    esac >"$work/check.log" 2>&1 || { tail "$work/check.log" >&2 && die "$1: what it restored is not a good one"; }
}

fresh_target() {
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    target_loop=
    rm -f "$work/target.img"
    truncate -s "$partition_size" "$work/target.img"
    target_loop=$(losetup --find --show "$work/target.img")
}

attach_source() {
    source_loop=$(losetup --find --show --read-only --offset "$partition_offset" --sizelimit "$partition_size" \
        "$work/source.img")
}

# 256 pieces of 64 KiB, spread over the files, are other bytes; the next run changes them back.
change_source() {
    losetup --detach "$source_loop"
    source_loop=
    cp --sparse=always "$work/source.img" "$work/before.img"
    python3 "$here/scatter.py" "$work/source.img" "$partition_offset"
    attach_source
}

change_back() {
    losetup --detach "$source_loop"
    source_loop=
    mv "$work/before.img" "$work/source.img"
    attach_source
}

# One run of one tool: a line "TOOL|WALL|CPU|RSS|STORED" into the file of its kind.
measure() {
    local how=$1 tool=$2 before=0 stored=0
    [[ $how != capture_again ]] || before=$(stored_by "$tool")
    [[ $how != restore ]] || fresh_target
    rm -f "$work/figures"
    "run_$how" "$tool" >"$work/tool.log" 2>&1 || { tail "$work/tool.log" >&2 && die "$tool failed"; }
    if [[ $how == restore ]]; then
        check_restore "$tool"
    else
        stored=$(($(stored_by "$tool") - before))
    fi
    printf '%s|%s|%s\n' "$tool" "$(tail -n 1 "$work/figures")" "$stored" >>"$work/$how.runs"
}

prepare image
say "the reference disk"
"$here/reference.sh" "$work/source.img"
attach_source
load_before=$(load)
for ((run = 1; run <= runs; run++)); do
    say "run $run of $runs"
    measure_all capture
    measure_all restore
    change_source
    measure_all capture_again
    change_back
done

report_machine "$load_before" "$runs"
report capture 'ext4 partition of 3328 MiB, about 1.4 GiB of it files, into an image; new store each time' 'stored MiB'
report restore 'The image onto an empty partition (dupengine verifies what it wrote)' 'stored MiB'
report capture_again 'The partition again, after 256 pieces of 64 KiB (16 MiB) changed, into the same store' 'stored MiB'
