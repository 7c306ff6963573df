# shellcheck shell=bash
# What the scripts of tools/ and tests/ share: where things are, saying what happens, the packages. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export root
export LC_ALL=C.UTF-8
# Scripts call each other; the clock is that of the first one.
export DUPENGINE_STARTED=${DUPENGINE_STARTED:-$(date +%s)}

# One line a step, with the seconds since the start.
say() { printf '[%4d s] %s\n' "$(($(date +%s) - DUPENGINE_STARTED))" "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need_root() { [[ $EUID -eq 0 ]] || die "needs root: $1"; }

# The packages of these groups in tools/packages.txt.
packages_of() {
    local group
    for group; do
        awk -v group="$group" '$1 == group { print $2 }' "$root/tools/packages.txt"
    done | sort -u
}

is_installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# Runs a command that installs packages and starts none of their services, as policy-rc.d(8) has it.
without_services() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    "$@"
)

# Installs what is missing of these groups; asks the package servers only if something is.
install_missing() {
    local package missing=()
    for package in $(packages_of "$@"); do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    need_root "to install ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    without_services apt-get -qq install --yes --no-install-recommends "${missing[@]}" >"$root/build/apt.log" 2>&1 ||
        { tail -n 20 "$root/build/apt.log" >&2 && die "apt-get could not install them"; }
    # Tests start a server of their own; at the next boot nobody wants one either.
    [[ " ${missing[*]} " != *' nginx-light '* ]] || systemctl --quiet disable nginx 2>/dev/null || true
}

mkdir -p "$root/build"
