# shellcheck shell=bash
# What the benches share: a place to work, timing, medians, tables. To be sourced.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/lib.sh
source "$here/../../tools/lib.sh"

work='' source_loop='' target_loop='' beside='' run=1

# Runs a command; a line "TOOL|WALL|CPU|RSS" of it ends up in the file of its kind.
timed() { "$work/floor" run "$work/figures" "$@"; }

load() { cut -d ' ' -f 1-3 /proc/loadavg; }

clean_up() {
    [[ ! $beside ]] || kill "$beside" 2>/dev/null || true
    [[ ! $target_loop ]] || losetup --detach "$target_loop"
    [[ ! $source_loop ]] || losetup --detach "$source_loop"
    rm -rf "$work"
}

# NAME: packages, the command to measure in $dupengine, an empty folder in $work.
prepare() {
    need_root "loop devices"
    install_missing build bench run demo
    dupengine=${DUPENGINE-}
    if [[ ! $dupengine ]]; then
        "$root/tools/build"
        dupengine=$root/build/release/dupengine
    fi
    work=$(mktemp -d "/dev/shm/dupengine-$1-XXXXXX")
    trap clean_up EXIT
    c++ -std=c++20 -O2 -o "$work/floor" "$here/floor.cc" -pthread
}

# KIND: measures all tools that the array of this name holds.
measure_all() {
    local tool
    local -n tools_of_kind=$1
    for tool in "${tools_of_kind[@]}"; do
        [[ $tool != casync* ]] || ((run == 1)) || continue # a minute each
        measure "$1" "$tool"
    done
}

sorted() { awk -F '|' -v tool="$2" -v field="$3" '$1 == tool { print $field }' "$work/$1.runs" | sort -n; }
median_of() { sorted "$@" | awk '{ all[NR] = $1 } END { print (NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2) }'; }

# LOAD_BEFORE RUNS: the machine, and how busy it was.
report_machine() {
    printf '\n%s, %d cores, %d GiB, Linux %s; memcpy %s; load before %s, after %s; medians of %d\n' \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
        "$(awk '/MemTotal/ { print int($2 / 1048576 + 0.5) }' /proc/meminfo)" "$(uname -r)" \
        "$("$work/floor" memcpy | cut -d ' ' -f 1,2)" "$1" "$(load)" "$2"
}

# KIND TITLE [FIFTH]: the table; ratios are of medians, to the tool named first. FIFTH names the fifth field, in bytes.
report() {
    local how=$1 tool base
    local -n tools=$1
    printf '\n%s\n%-26s %10s %10s %10s %10s' "$2" '' 'median s' 'least s' 'CPU s' 'MiB'
    [[ ! ${3-} ]] || printf ' %10s' "$3"
    printf '  x %s\n' "${tools[0]}"
    base=$(median_of "$how" "${tools[0]}" 2)
    for tool in "${tools[@]}"; do
        printf '%-26s %10.2f %10.2f %10.2f %10.0f' "$tool" "$(median_of "$how" "$tool" 2)" \
            "$(sorted "$how" "$tool" 2 | head -n 1)" "$(median_of "$how" "$tool" 3)" \
            "$(awk "BEGIN { print $(median_of "$how" "$tool" 4) / 1024 }")"
        [[ ! ${3-} ]] || printf ' %10.1f' "$(awk "BEGIN { print $(median_of "$how" "$tool" 5) / 1048576 }")"
        printf '  %.2f\n' "$(awk "BEGIN { print $(median_of "$how" "$tool" 2) / $base }")"
    done
}
