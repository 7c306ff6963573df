#!/bin/bash
# The same sources give the same dupengine.efi, in whatever folder they are built: who has the sources can tell that a
# signed one is made of them. DUPENGINE_EFI: the one that is held against another.
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "$0")/../../tools/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/another"
cp -r "$root"/{CMakeLists.txt,dupengine,profiles,bootloader_hooks,efi,tools} "$work/another"
cmake -G Ninja -S "$work/another" -B "$work/another/build" -DDUPENGINE_TESTS=OFF >"$work/configure.log" 2>&1 ||
    { cat "$work/configure.log" >&2 && die "cmake could not configure the copy"; }
cmake --build "$work/another/build" --target dupengine_efi >/dev/null
cmp "$DUPENGINE_EFI" "$work/another/build/dupengine.efi"
