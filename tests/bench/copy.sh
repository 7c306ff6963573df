#!/bin/bash
# tests/bench/copy.sh [RUNS]: copies one disk image with dupengine and with its peers, interleaved, and prints the median
# of RUNS (5) and the ratio to the floor. Everything is on tmpfs. Needs root and 14 GiB of memory. See README.md.
# DUPENGINE: the command to measure, instead of building build/release/dupengine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"

runs=${1:-5}
partition_offset=$((257 << 20)) partition_size=$((3328 << 20))
work='' source_loop='' target_loop=''

disk_tools=(floor 'dupengine' 'dupengine --verify=none' 'cp --sparse=always' 'dd bs=4M' 'qemu-img convert' nbdcopy
    'bmaptool copy')
partition_tools=('dupengine' 'dupengine --verify=none' 'dd bs=4M' 'partclone.ext4 -b' 'e2image -ra')

copy_disk() {
    local from=$work/source.img to=$work/target.img
    case $1 in
        floor) python3 "$here/floor.py" "$from" "$to" ;;
        dupengine) "$dupengine" copy --yes "$from" "$to" ;;
        dupengine*) "$dupengine" copy --yes --verify=none "$from" "$to" ;;
        cp*) cp --sparse=always "$from" "$to" ;;
        dd*) dd if="$from" of="$to" bs=4M conv=notrunc ;;
        qemu-img*) qemu-img convert -n -m 16 -W -f raw -O raw "$from" "$to" ;;
        nbdcopy) nbdcopy "$from" "$to" ;;
        bmaptool*) bmaptool --quiet copy --bmap "$work/source.bmap" "$from" "$to" ;;
    esac
}

copy_partition() {
    case $1 in
        dupengine) "$dupengine" copy --yes "$source_loop" "$target_loop" ;;
        dupengine*) "$dupengine" copy --yes --verify=none "$source_loop" "$target_loop" ;;
        dd*) dd if="$source_loop" of="$target_loop" bs=4M ;;
        partclone*) partclone.ext4 -b -s "$source_loop" -o "$target_loop" -F -L "$work/partclone.log" ;;
        e2image*) e2image -ra "$source_loop" "$target_loop" ;;
    esac
}

# The raw copies must be equal byte by byte; whoever copies used blocks only must leave a sound filesystem.
check() {
    case $1:$2 in
        copy_disk:dupengine*) e2fsck -fn "$work/target.img?offset=$partition_offset" ;;
        copy_disk:*) cmp "$work/source.img" "$work/target.img" ;;
        copy_partition:dd*) cmp "$source_loop" "$target_loop" ;;
        copy_partition:*) e2fsck -fn "$target_loop" ;;
    esac >"$work/check.log" 2>&1 || { tail "$work/check.log" >&2 && die "$2: its copy is not a good one"; }
}

fresh_target() {
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    target_loop=
    rm -f "$work/target.img"
    if [[ $1 == copy_disk ]]; then
        truncate -s 4G "$work/target.img"
    else
        truncate -s "$partition_size" "$work/target.img"
        target_loop=$(losetup --find --show "$work/target.img")
    fi
}

# One run of one tool: a line "TOOL|WALL|CPU" into the file of its kind.
measure() {
    local how=$1 tool=$2 wall user system
    fresh_target "$how"
    { time "$how" "$tool" >"$work/tool.log" 2>&1; } 2>"$work/time" ||
        { tail "$work/tool.log" >&2 && die "$tool failed"; }
    read -r wall user system <"$work/time"
    printf '%s|%s|%s\n' "$tool" "$wall" "$(awk "BEGIN { print $user + $system }")" >>"$work/$how.runs"
    check "$how" "$tool"
}

median_of() { awk -F '|' -v tool="$2" -v field="$3" '$1 == tool { print $field }' "$work/$1.runs" | sort -n |
    awk '{ all[NR] = $1 } END { print (NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2) }'; }

minimum_of() { awk -F '|' -v tool="$2" '$1 == tool { print $2 }' "$work/$1.runs" | sort -n | head -n 1; }

# HOW REFERENCE TOOL...: the table; ratios are of medians, to the tool named first.
report() {
    local how=$1 reference=$2 tool base
    shift 2
    base=$(median_of "$how" "$reference" 2)
    printf '%-26s %10s %10s %10s %14s\n' "" 'median s' 'least s' 'CPU s' "x $reference"
    for tool; do
        printf '%-26s %10.2f %10.2f %10.2f %14.2f\n' "$tool" "$(median_of "$how" "$tool" 2)" "$(minimum_of "$how" "$tool")" \
            "$(median_of "$how" "$tool" 3)" "$(awk "BEGIN { print $(median_of "$how" "$tool" 2) / $base }")"
    done
}

load() { cut -d ' ' -f 1-3 /proc/loadavg; }

clean_up() {
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    [[ ! $source_loop ]] || losetup --detach "$source_loop"
    rm -rf "$work"
}

need_root "loop devices"
install_missing bench run demo
if [[ ${DUPENGINE-} ]]; then
    dupengine=$DUPENGINE
else
    "$root/tools/build"
    dupengine=$root/build/release/dupengine
fi
work=$(mktemp -d /dev/shm/dupengine-bench-XXXXXX)
trap clean_up EXIT
TIMEFORMAT='%R %U %S'

say "the reference disk"
"$here/reference.sh" "$work/source.img"
bmaptool --quiet create --output "$work/source.bmap" "$work/source.img"
source_loop=$(losetup --find --show --read-only --offset "$partition_offset" --sizelimit "$partition_size" \
    "$work/source.img")
load_before=$(load)
for ((run = 1; run <= runs; run++)); do
    say "run $run of $runs"
    for tool in "${disk_tools[@]}"; do measure copy_disk "$tool"; done
    for tool in "${partition_tools[@]}"; do measure copy_partition "$tool"; done
done

printf '\n%s, %d cores, %d GiB, Linux %s; load before %s, after %s; medians of %d\n' \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
    "$(awk '/MemTotal/ { print int($2 / 1048576 + 0.5) }' /proc/meminfo)" "$(uname -r)" "$load_before" "$(load)" "$runs"
printf '\nWhole disk, 4 GiB, %s MiB of it data; file to file on tmpfs\n' \
    "$(($(stat -c %b "$work/source.img") / 2048))"
report copy_disk floor "${disk_tools[@]}"
printf '\next4 partition of it; loop device to loop device\n'
report copy_partition 'partclone.ext4 -b' "${partition_tools[@]}"
