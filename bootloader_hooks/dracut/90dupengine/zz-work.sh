#!/bin/sh
# Sourced by dracut's loop again and again; a machine that waits for its network is none that does not start.
# shellcheck disable=SC2154 # dracut's
if [ -e "$hookdir/initqueue/finished/dupengine.sh" ] && [ ! -e /run/dupengine.done ]; then
    if /usr/sbin/dupengine-early; then : >/run/dupengine.done; fi
    # shellcheck disable=SC2034 # dracut's: how often it went round
    main_loop=0
fi
