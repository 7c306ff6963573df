#!/bin/bash
# copy.sh [RUNS]: copies the reference disk with dupengine and its peers, RUNS times (5) one after the other, and prints the
# medians and their ratios. Everything is on tmpfs. Needs root (loop devices) and 14 GiB of memory. See README.md.
# DUPENGINE: the command to measure, instead of building build/release/dupengine.
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
source "$(dirname "$0")/lib.sh"

runs=${1:-5}
partition_offset=$((257 << 20)) partition_size=$((3328 << 20))

# Found by name, from the kind: the tool that the ratios are to, then the others.
# shellcheck disable=SC2034
{
    copy_disk=('cp --sparse=always' floor dupengine 'dupengine --verify=none' 'dd bs=4M' 'qemu-img convert' nbdcopy 'bmaptool copy')
    copy_partition=('partclone.ext4 -b' dupengine 'dupengine --verify=none' 'dd bs=4M' 'e2image -ra')
    copy_again=('compare, two threads' dupengine 'rsync --inplace' 'casync extract --seed')
    copy_growing=('dupengine, 4 GiB' 'dupengine, 2 TiB')
}

run_copy_disk() {
    local from=$work/source.img to=$work/target.img
    case $1 in
        floor) timed "$work/floor" copy "$from" "$to" ;;
        dupengine) timed "$dupengine" copy --yes "$from" "$to" ;;
        dupengine*) timed "$dupengine" copy --yes --verify=none "$from" "$to" ;;
        cp*) timed cp --sparse=always "$from" "$to" ;;
        dd*) timed dd if="$from" of="$to" bs=4M conv=notrunc ;;
        qemu-img*) timed qemu-img convert -n -m 16 -W -f raw -O raw "$from" "$to" ;;
        nbdcopy) timed nbdcopy "$from" "$to" ;;
        bmaptool*) timed bmaptool --quiet copy --bmap "$work/source.bmap" "$from" "$to" ;;
    esac
}

run_copy_partition() {
    case $1 in
        dupengine) timed "$dupengine" copy --yes "$source_loop" "$target_loop" ;;
        dupengine*) timed "$dupengine" copy --yes --verify=none "$source_loop" "$target_loop" ;;
        dd*) timed dd if="$source_loop" of="$target_loop" bs=4M ;;
        partclone*) timed partclone.ext4 -b -s "$source_loop" -o "$target_loop" -F -L "$work/partclone.log" ;;
        e2image*) timed e2image -ra "$source_loop" "$target_loop" ;;
    esac
}

# The target is a copy of the source but for 256 pieces of 64 KiB.
run_copy_again() {
    local from=$work/source.img to=$work/target.img
    case $1 in
        compare*) timed "$work/floor" compare "$from" "$to" ;;
        dupengine) timed "$dupengine" copy --yes "$from" "$to" ;;
        rsync*) timed rsync --inplace --no-whole-file "$from" "$to" ;;
        casync*) timed casync extract --store="$work/store" --seed="$to" "$work/source.caibx" "$work/again.img" ;;
    esac
}

run_copy_growing() {
    case $1 in
        *TiB) timed "$dupengine" copy --yes "$work/large.img" "$work/target.img" ;;
        *) timed "$dupengine" copy --yes "$work/small.img" "$work/target.img" ;;
    esac
}

# The raw copies must be equal byte by byte; whoever copies used blocks only must leave a sound filesystem.
check() {
    case $1:$2 in
        copy_disk:dupengine* | copy_again:dupengine) e2fsck -fn "$work/target.img?offset=$partition_offset" ;;
        copy_disk:* | copy_again:rsync*) cmp "$work/source.img" "$work/target.img" ;;
        copy_again:casync*) cmp "$work/source.img" "$work/again.img" ;;
        copy_again:*) true ;;
        copy_partition:dd*) cmp "$source_loop" "$target_loop" ;;
        copy_partition:*) e2fsck -fn "$target_loop" ;;
        copy_growing:*) e2fsck -fn "$work/target.img" ;;
    esac >"$work/check.log" 2>&1 || { tail "$work/check.log" >&2 && die "$2: its copy is not a good one"; }
}

fresh_target() {
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    target_loop=
    rm -f "$work/target.img" "$work/again.img"
    case $1:$2 in
        copy_disk:*) truncate -s 4G "$work/target.img" ;;
        copy_partition:*)
            truncate -s "$partition_size" "$work/target.img"
            target_loop=$(losetup --find --show "$work/target.img")
            ;;
        copy_again:*)
            cp --sparse=always "$work/source.img" "$work/target.img"
            python3 "$here/scatter.py" "$work/target.img" "$partition_offset"
            ;;
        copy_growing:*TiB) truncate -s 2T "$work/target.img" ;;
        copy_growing:*) truncate -s 4G "$work/target.img" ;;
    esac
}

# One run of one tool: a line "TOOL|WALL|CPU|RSS" into the file of its kind.
measure() {
    local how=$1 tool=$2
    fresh_target "$how" "$tool"
    rm -f "$work/figures"
    "run_$how" "$tool" >"$work/tool.log" 2>&1 || { tail "$work/tool.log" >&2 && die "$tool failed"; }
    printf '%s|%s\n' "$tool" "$(tail -n 1 "$work/figures")" >>"$work/$how.runs"
    check "$how" "$tool"
}

# The same gigabyte of files in filesystems of two sizes.
make_growing() {
    mkdir "$work/files"
    head -c 1000M /dev/urandom >"$work/files/random"
    truncate -s 4G "$work/small.img"
    truncate -s 2T "$work/large.img"
    for image in small large; do
        mke2fs -q -t ext4 -E lazy_itable_init=1 -d "$work/files" "$work/$image.img"
    done
    rm -r "$work/files"
}

prepare copy

say "the reference disk"
"$here/reference.sh" "$work/source.img"
bmaptool --quiet create --output "$work/source.bmap" "$work/source.img"
casync make --compression=zstd --store="$work/store" "$work/source.caibx" "$work/source.img" >"$work/casync.log" 2>&1
source_loop=$(losetup --find --show --read-only --offset "$partition_offset" --sizelimit "$partition_size" \
    "$work/source.img")
make_growing
load_before=$(load)
kinds=(copy_disk copy_partition copy_again copy_growing)
for ((run = 1; run <= runs; run++)); do
    say "run $run of $runs"
    for kind in "${kinds[@]}"; do measure_all "$kind"; done
done

report_machine "$load_before" "$runs"
report copy_disk "Whole disk, 4 GiB, $(($(stat -c %b "$work/source.img") / 2048)) MiB of it data; file to file"
report copy_partition 'ext4 partition of it; loop device to loop device'
report copy_again 'The disk again, onto a copy in which 256 pieces of 64 KiB differ'
report copy_growing 'The same gigabyte of files in an ext4 of 4 GiB and of 2 TiB; file to file'
