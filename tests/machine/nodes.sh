# shellcheck shell=bash
# What tests of a source and a target share: their enrolment, and the target's disk. Sourced, after tools/lib.sh; all
# files are made in the current folder. DUPENGINE: the command.

free_port() {
    local port
    for ((port = 20000 + RANDOM % 20000; ; port++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# Two machines that know each other: the folders source and target.
enrol() {
    local port
    port=$(free_port)
    "$DUPENGINE" enrol invite --peers source --own-name source --listen "127.0.0.1:$port" >token 2>/dev/null &
    until [[ -s token ]]; do sleep 0.1; done
    "$DUPENGINE" enrol join --peers target --name target "127.0.0.1:$port" "$(head -n 1 token)" >/dev/null
    wait $!
}

# target.img, with an old partition and the profile of web-1. Prints where that is: first sector and how many.
make_target() {
    truncate -s 4G target.img
    sgdisk --new=1:1M:+64M target.img >/dev/null
    printf 'schema = 1\nkind = "node"\nnode = "web-1"\nroles = ["base", "web"]\n' >profile.toml
    "$DUPENGINE" profile init --store partition:target.img --from profile.toml >/dev/null
    partx --raw --noheadings --output START,SECTORS --nr 128 target.img
}

profile_digest() { dd if=target.img bs=512 skip="$1" count="$2" status=none | sha256sum; }

# What the golden disk's boot loader tells its kernel; DISK's EFI system partition is copied to the folder esp.
golden_options() {
    mcopy -s -i "$1@@1M" ::/ esp
    sed -n 's/^options *//p' esp/loader/entries/*.conf
}
