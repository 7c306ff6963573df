# shellcheck shell=bash
# bash completion for dupengine(8). Verbs and options are read from --help, so they cannot disagree with it; only the
# values that an option takes are written down here.

# The names under "Subcommands:" and the options of a help text on standard input.
_dupengine_subcommands() { awk '/^Subcommands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }'; }
_dupengine_options() { awk '$1 ~ /^-/ { gsub(",", "\n", $1); print $1 }'; }

_dupengine_values() {
    case $1 in
        --unused) echo discard zero keep ;;
        --verify) echo used all none ;;
        --source-format) echo auto raw compressed qcow2 ;;
        --delta) echo auto always never ;;
        --progress) echo auto bar json none ;;
        --sector-size) echo 512 4096 ;;
        --track) echo bpf digest ;;
        --loader) echo dupengine.efi systemd-boot grub ;;
        --drivers) echo all this ;;
        --then) echo reboot poweroff shell ;;
        --store) echo partition: file: memory: efivar: ;;
        *) return 1 ;;
    esac
}

_dupengine() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local word help values
    local -a path=()
    COMPREPLY=()

    # "--unused=ze" reaches us as three words.
    if [[ $current == = ]]; then
        current=
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [[ $previous == : || $current == : ]]; then # partition:DISK, file:PATH
        mapfile -t COMPREPLY < <(compgen -f -- "${current#:}")
        return
    fi
    if [[ $previous =~ ^--(trust|sign-key|ca-file|cache|hooks|sockets|kernel|initrd|esp|enrolment|initramfs|linux|profile|efi)$ ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    if values=$(_dupengine_values "$previous"); then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
        if [[ $previous == --store ]]; then compopt -o nospace 2>/dev/null; fi
        return
    fi

    help=$("${COMP_WORDS[0]}" --help 2>/dev/null)
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        _dupengine_subcommands <<<"$help" | grep --quiet --line-regexp --fixed-strings -e "$word" || continue
        path+=("$word")
        help=$("${COMP_WORDS[0]}" "${path[@]}" --help 2>/dev/null)
    done

    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_dupengine_options <<<"$help")" -- "$current")
        return
    fi
    values=$(_dupengine_subcommands <<<"$help")
    if [[ -n $values ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
    fi
}

complete -F _dupengine dupengine
