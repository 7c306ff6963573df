#!/bin/bash
# A module of dracut(8): puts into the initramfs what a machine needs to receive another one, copy an image or take up its
# role before its own root is mounted. Only where it is asked for (dracut --add dupengine).

# The folder with what all kinds of initramfs share.
early_folder() {
    local folder
    for folder in /usr/lib/dupengine/early /usr/local/lib/dupengine/early; do
        if [[ -e $folder/files ]]; then
            echo "$folder"
            return 0
        fi
    done
    return 1
}

check() {
    early_folder >/dev/null || return 1
    return 255
}

# A role needs none; images and machines come over one.
depends() {
    local module
    # shellcheck disable=SC2154 # dracut's
    for module in "$dracutbasedir"/modules.d/*network; do
        [[ -e $module ]] && echo network
    done
    echo base
}

installkernel() {
    # shellcheck source=bootloader_hooks/early/files
    . "$(early_folder)/files"
    # The target is seldom the machine that made the initramfs.
    # shellcheck disable=SC2086 # names
    hostonly='' instmods $early_modules vfat nls_cp437 nls_iso8859-1 nls_ascii
    # Links that the profile gives an address need no more than their drivers, which dracut's own modules bring where they are.
    [[ -e $dracutbasedir/modules.d/90kernel-network-modules ]] ||
        hostonly='' instmods '=drivers/net/ethernet' '=drivers/net/phy' virtio_net
}

install() {
    local early command program file
    early=$(early_folder)
    # shellcheck source=bootloader_hooks/early/files
    . "$early/files"
    command=$(early_command) || return 1
    inst "$command" /usr/sbin/dupengine || return 1
    inst_simple "$early/work" /usr/lib/dupengine/early/work || return 1
    for program in $early_programs; do
        [[ ! -x $program ]] || inst "$program"
    done
    # shellcheck disable=SC2154 # dracut's
    if [[ -x /usr/bin/mtools ]]; then
        for program in $early_mtools; do ln -sf mtools "$initdir/usr/bin/$program"; done
        for file in $early_code_pages; do [[ ! -e $file ]] || inst "$file"; done
    fi
    for file in $early_data; do [[ ! -e $file ]] || inst_simple "$file"; done
    # shellcheck disable=SC2154 # dracut's
    inst_simple "$moddir/early" /usr/sbin/dupengine-early
    inst_hook cmdline 20 "$moddir/words.sh"
    # The last of those that run when drivers have nothing to do: what brings up the network is one of them.
    inst_hook initqueue/settled 99 "$moddir/zz-work.sh"
    dracut_need_initqueue
}
