#!/bin/sh
# Where the command line says what is to be done, the root is not mounted before that is; and a machine that has none yet
# needs none. (A hook of dracut.cmdline(7), sourced.)
case " $(getcmdline)" in
    *' dupengine.'*)
        # shellcheck disable=SC2034,SC2154 # dracut's
        if [ ! "$root" ]; then root=dupengine rootok=1; fi
        # shellcheck disable=SC2154 # dracut's
        echo '[ -e /run/dupengine.done ]' >"$hookdir/initqueue/finished/dupengine.sh"
        ;;
esac
