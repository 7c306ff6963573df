#!/bin/bash
# compare.sh FOLDER SOURCE TARGET...: holds the machines of a demo against each other. FOLDER/NAME.values has what each
# machine said on its console, and what is expected of it, as lines KEY=VALUE. Prints the table; returns 0 only if
# everything that must be equal is, everything that must differ does, and nothing is missing.
set -euo pipefail

folder=$1
shift
names=("$@")
declare -A value
problems=()

read_values() {
    local name key text
    for name in "${names[@]}"; do
        while IFS='=' read -r key text; do
            value[$name.$key]=$text
        done <"$folder/$name.values"
        [[ ${value[$name.end]-} == yes ]] || problems+=("$name: its report is not complete")
    done
}

# A row of the table: a label, a key and a verdict. Long values are shortened for the eye only.
row() {
    local label=$1 key=$2 verdict=$3 name text
    printf '%-22s' "$label"
    for name in "${names[@]}"; do
        text=${value[$name.$key]:--}
        ((${#text} <= 20)) || text=${text:0:19}~
        printf ' %-21s' "$text"
    done
    printf ' %s\n' "$verdict"
}

is_everywhere() {
    local name
    for name in "${names[@]}"; do
        [[ ${value[$name.$1]-} ]] || return 1
    done
}

# Of lists, no element may be on two machines.
must_differ() {
    local name verdict='all differ'
    is_everywhere "$2" || verdict='MISSING'
    for name in "${names[@]}"; do
        tr ' ' '\n' <<<"${value[$name.$2]-}" | sort -u
    done | sort | uniq -d | grep -q . && verdict='EQUAL, MUST DIFFER'
    [[ $verdict == 'all differ' ]] || problems+=("$1: $verdict")
    row "$1" "$2" "$verdict"
}

must_be_equal() {
    local name verdict=equal
    is_everywhere "$2" || verdict='MISSING'
    for name in "${names[@]}"; do
        [[ ${value[$name.$2]-} == "${value[${names[0]}.$2]-}" ]] || verdict='DIFFER, MUST BE EQUAL'
    done
    [[ $verdict == equal ]] || problems+=("$1: $verdict")
    row "$1" "$2" "$verdict"
}

# Every machine's value under one key is the one expected of it.
must_be() {
    local label=$1 key=$2 expected=$3 verdict='as expected' name want
    for name in "${names[@]}"; do
        want=${value[$name.$expected]-}
        [[ ${value[$name.$key]-} == "$want" ]] && continue
        verdict=WRONG
        problems+=("$label of $name: '${value[$name.$key]-}' instead of '$want'")
    done
    row "$label" "$key" "$verdict"
}

# The kernel was told the identifiers that are on the disk now.
must_boot_by_its_own_ids() {
    local name line
    for name in "${names[@]}"; do
        line=" ${value[$name.kernel_command_line]-} "
        [[ $line == *" root=UUID=${value[$name.root_uuid]-} "* && $line == *" resume=UUID=${value[$name.swap_uuid]-} "* ]] ||
            problems+=("$name: the kernel's command line names other disks:$line")
    done
}

must_have_grown() {
    local name verdict='targets grown'
    for name in "${names[@]:1}"; do
        ((${value[$name.root_bytes]:-0} > ${value[${names[0]}.root_bytes]:-0})) || verdict='NOT GROWN'
    done
    [[ $verdict == 'targets grown' ]] || problems+=("root size: $verdict")
    row 'root size' root_bytes "$verdict"
}

must_keep_the_profile() {
    local name verdict=kept moment
    for name in "${names[@]:1}"; do
        for moment in copy assume boot; do
            [[ ${value[$name.profile_before]-} && ${value[$name.profile_before]} == "${value[$name.profile_after_$moment]-}" ]] ||
                verdict="CHANGED BY THE ${moment^^}"
        done
    done
    [[ $verdict == kept ]] || problems+=("profile region: $verdict")
    row 'profile region before' profile_before ''
    for moment in copy assume boot; do
        row "  after the $moment" "profile_after_$moment" "$verdict"
    done
}

read_values
row '' expected_node ''
must_be 'node name' node_name expected_node
must_be 'system state' system_state expected_state
must_be 'failed units' failed_units expected_nothing
must_be 'ssh server' ssh_active expected_ssh
must_be 'role units running' role_units expected_units
must_differ 'machine-id' machine_id
must_differ 'root UUID' root_uuid
must_differ 'EFI system UUID' esp_uuid
must_differ 'swap UUID' swap_uuid
must_differ 'disk GUID' disk_guid
must_differ 'partition GUIDs' part_guids
must_differ 'SSH key ed25519' ssh_ed25519
must_differ 'SSH key ecdsa' ssh_ecdsa
must_boot_by_its_own_ids
must_have_grown
must_be_equal 'digest over /usr' usr_digest
must_keep_the_profile

((${#problems[@]})) || exit 0
printf '\n'
printf 'wrong: %s\n' "${problems[@]}"
exit 1
