# shellcheck shell=bash
# A machine under QEMU and OVMF that starts dupengine.efi; sourced by tests, after tools/lib.sh. All files are in the
# current folder, which firmware_begin makes and which is removed at the end. DUPENGINE_EFI: the application.
#
#     firmware_begin NAME
#     make_disk disk.img 64M; put_on_esp disk.img FILE /EFI/BOOT/BOOTX64.EFI
#     start_firmware disk.img; await_text 'before the operating system'; press b; stop_firmware
#
# console.out is what the machine says, without the escapes of its terminal. The variables are in vars.fd and stay.

firmware_folder=/usr/share/OVMF
firmware_keys=/usr/share/ovmf/PkKek-1-snakeoil
firmware_deadline=${DUPENGINE_FIRMWARE_SECONDS:-90}
firmware_machine=''
# Not empty: Secure Boot is on, with the key that Debian's ovmf has for tests.
firmware_secure=''
# Its network, as QEMU has it.
firmware_network=(-nic none)
# Not empty: it has a TPM, which is new with every start.
firmware_tpm=''
firmware_tpm_process=''
# By disk: what makes it slow, as QEMU has it.
declare -A firmware_slow=()

firmware_begin() {
    : "${DUPENGINE:?is not set}" "${DUPENGINE_EFI:?is not set}"
    firmware_work=$(mktemp -d "${root:?}/build/$1.XXXXXX")
    trap 'stop_firmware; rm -rf "$firmware_work"' EXIT
    cd "$firmware_work" || return
    forget_variables
    mkfifo console.in
    # shellcheck disable=SC2034 # nobody reads the descriptor; it holds the line open
    exec {firmware_line}<>console.in
}

# Another machine, which has none of its own.
forget_variables() { cp "$firmware_folder/OVMF_VARS_4M${firmware_secure:+.snakeoil}.fd" vars.fd; }

# IN OUT: signs a program for that firmware.
sign_program() {
    [[ -e secure.key ]] || openssl rsa -passin pass:snakeoil -in "$firmware_keys.key" -out secure.key 2>/dev/null
    sbsign --key secure.key --cert "$firmware_keys.pem" --output "$2" "$1" >/dev/null 2>&1
}

# FILE SIZE [MIB]: a disk with an EFI system partition of 33 or so many MiB, which begins at 1 MiB.
make_disk() {
    local mib=${3-33}
    truncate -s "$2" "$1"
    sgdisk --new="1:1M:+${mib}M" --typecode=1:ef00 "$1" >/dev/null
    mformat -i "$1@@1M" -T $((mib * 2048)) -h 64 -s 32 -v ESP ::
}

# DISK FILE PATH: the folders of the path are made.
put_on_esp() {
    local folder='' part
    local -a parts
    IFS=/ read -r -a parts <<<"${3#/}"
    for part in "${parts[@]:0:${#parts[@]}-1}"; do
        folder=$folder/$part
        mmd -D s -i "$1@@1M" "::$folder" 2>/dev/null || true
    done
    mcopy -D o -i "$1@@1M" "$2" "::$3"
}

# The file initrd: a system that prints what it was told on the kernel's command line and switches off.
make_small_system() {
    mkdir -p tree/bin
    cp /bin/busybox tree/bin/
    cat >tree/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir /proc
/bin/busybox mount -t proc proc /proc
/bin/busybox echo "small system: $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
INIT
    chmod 755 tree/init
    pack_tree initrd
}

# KERNEL-FOLDER MODULE...: the folder tree as a system that has the command and loads these modules; what it does is for
# tree/init to say, which the caller writes. It begins with `start_system`.
make_system_tree() {
    local folder=$1 file module
    shift
    mkdir -p tree/{bin,proc,sys,dev,etc}
    cp /bin/busybox "$DUPENGINE" tree/bin/
    for file in $(ldd "$DUPENGINE" | grep -o '/[^ ]*'); do
        mkdir -p "tree$(dirname "$file")"
        cp -L "$file" "tree$file"
    done
    for module; do modprobe --dirname "$folder" --set-version "$(ls "$folder/lib/modules")" --show-depends "$module"; done |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >modules
    while read -r file; do
        cp "$file" tree/
        echo "insmod /$(basename "$file")"
    done <modules >tree/load
    cat >tree/start_system <<'START'
for name in sh mount umount insmod poweroff hostname cat echo sleep; do /bin/busybox ln -s busybox /bin/$name; done
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
. /load
START
}

# FILE: the tree as an initrd.
pack_tree() { (cd tree && find . | cpio --quiet --create --format=newc | gzip -1) >"$1"; }

start_tpm() {
    rm -rf tpm tpm.sock
    mkdir tpm
    # It ends when the machine does.
    swtpm socket --tpm2 --tpmstate dir=tpm --ctrl type=unixio,path=tpm.sock --terminate >tpm.log 2>&1 &
    firmware_tpm_process=$!
    until [[ -S tpm.sock ]]; do
        kill -0 "$firmware_tpm_process" || die "swtpm does not start: $(cat tpm.log)"
        sleep 0.1
    done
}

# DISK [DISK...]: the machine starts from the first one.
start_firmware() {
    local disk number=0 code=OVMF_CODE_4M options=()
    if [[ $firmware_secure ]]; then
        # Variables that hold keys are written in system management mode only.
        code=OVMF_CODE_4M.secboot
        options=(-machine smm=on -global 'driver=cfi.pflash01,property=secure,value=on' -global ICH9-LPC.disable_s3=1)
    fi
    if [[ $firmware_tpm ]]; then
        start_tpm
        options+=(-chardev 'socket,id=tpm,path=tpm.sock' -tpmdev 'emulator,id=tpm,chardev=tpm' -device 'tpm-tis,tpmdev=tpm')
    fi
    for disk; do
        options+=(-drive "if=none,id=disk$number,format=raw,cache=unsafe,file=$disk${firmware_slow[$disk]-}"
            -device "virtio-blk-pci,drive=disk$number$([[ $number != 0 ]] || echo ,bootindex=0)")
        number=$((number + 1))
    done
    : >console.raw
    qemu-system-x86_64 -name firmware -machine q35 -accel tcg,thread=multi -cpu max -smp 1 -m 1024 -display none \
        -monitor none -no-reboot -serial stdio \
        -drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware_folder/$code.fd" \
        -drive "if=pflash,format=raw,unit=1,file=vars.fd" "${firmware_network[@]}" "${options[@]}" <&"$firmware_line" >console.raw 2>&1 &
    firmware_machine=$!
}

# What the machine has said, a line as a person sees it.
console_text() { sed 's/\x1b\[[0-9;=?]*[A-Za-z]//g' console.raw | tr -d '\r'; }

# Reads to the end: a grep that leaves early would make the pipe fail.
has_said() { console_text | grep -aE -- "$1" >/dev/null; }

# PATTERN: waits until the machine has said it.
await_text() {
    local end=$((SECONDS + firmware_deadline))
    until has_said "$1"; do
        kill -0 "$firmware_machine" 2>/dev/null || has_said "$1" || firmware_fail "the machine stopped before it said \"$1\""
        ((SECONDS < end)) || firmware_fail "the machine did not say \"$1\" in time"
        sleep 0.1
    done
}

press() { printf '%s' "$1" >console.in; }

# Until the machine has switched itself off, or wanted to start anew.
await_power_off() {
    local end=$((SECONDS + firmware_deadline))
    while kill -0 "$firmware_machine" 2>/dev/null; do
        ((SECONDS < end)) || firmware_fail "the machine did not stop by itself"
        sleep 0.1
    done
    firmware_machine=''
}

stop_firmware() {
    if [[ $firmware_tpm_process ]]; then kill "$firmware_tpm_process" 2>/dev/null || true; fi
    [[ $firmware_machine ]] || return 0
    kill -KILL "$firmware_machine" 2>/dev/null || true
    wait "$firmware_machine" 2>/dev/null || true
    firmware_machine=''
}

firmware_fail() {
    echo "the last lines of the console:" >&2
    console_text | tail -n 40 | tr -cd '\n\t -~' | sed 's/^/    /' >&2
    die "$1"
}
