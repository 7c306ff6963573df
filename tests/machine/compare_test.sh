#!/bin/bash
# compare.sh accepts three machines that are what they should be, and notices each single thing that is not.
set -euo pipefail
compare=$(dirname "$0")/compare.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# NAME ROLE SEED: the values of a good machine.
machine() {
    local key profile
    {
        printf 'expected_%s\n' "node=$1" state=running ssh=active
        printf '%s\n' "node_name=$1" system_state=running failed_units= ssh_active=active usr_digest=same end=yes \
            "root_bytes=$3" "kernel_command_line=ro root=UUID=root_uuid-$3 resume=UUID=swap_uuid-$3 quiet"
        for key in machine_id root_uuid esp_uuid swap_uuid disk_guid ssh_ed25519 ssh_ecdsa; do
            echo "$key=$key-$3"
        done
        echo "part_guids=a-$3 b-$3"
        [[ ! $2 ]] || printf '%s\n' "expected_units=role-$2.service" "role_units=role-$2.service"
        [[ ! $2 ]] || for profile in before after_copy after_assume after_boot; do
            echo "profile_$profile=digest-$3"
        done
    } >"$folder/$1.values"
}

good_machines() {
    machine golden '' 100
    machine web-1 web 200
    machine storage-1 storage 300
}

compare() { "$compare" "$folder" golden web-1 storage-1; }

# KEY=VALUE in place of what storage-1 said must be noticed; an empty KEY= takes the line away.
must_notice() {
    good_machines
    sed -i "/^${1%%=*}=/d" "$folder/storage-1.values"
    [[ $1 == *= ]] || echo "$1" >>"$folder/storage-1.values"
    ! compare >"$folder/out" || { echo "not noticed: $1" && cat "$folder/out" && exit 1; }
    grep -q '^wrong: ' "$folder/out" || { echo "noticed, but not said: $1" && exit 1; }
}

good_machines
compare || { echo "refused good machines" && exit 1; }
for key in machine_id root_uuid esp_uuid swap_uuid disk_guid ssh_ed25519 ssh_ecdsa; do
    must_notice "$key=$key-100" # as the source has it
    must_notice "$key=$key-200" # as the other target has it
    must_notice "$key="
done
must_notice "part_guids=a-300 b-200"
must_notice "part_guids="
must_notice "node_name=golden"
must_notice "system_state=degraded"
must_notice "failed_units=boot-efi.mount"
must_notice "ssh_active=failed"
must_notice "role_units=role-web.service"
must_notice "role_units="
must_notice "usr_digest=other"
must_notice "usr_digest="
must_notice "root_bytes=100"
must_notice "end="
must_notice "kernel_command_line=root=UUID=root_uuid-100 resume=UUID=swap_uuid-300"
must_notice "kernel_command_line=root=UUID=root_uuid-300 resume=UUID=swap_uuid-100"
for moment in copy assume boot; do
    must_notice "profile_after_$moment=other"
    must_notice "profile_after_$moment="
done
must_notice "profile_before="
