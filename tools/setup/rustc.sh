#!/bin/sh
# Runs the compiler of the kernel and the user programs so that what it writes does not tell where it was built:
# wherever the repository, the crates and the core library lie, they have the same names in panic messages and in
# debug information. As a wrapper and not as flags, because cargo makes flags a part of the names of build folders.
#
# usage: RUSTC_WRAPPER=rustc.sh cargo ...; cargo then runs: rustc.sh [CLIPPY] RUSTC ARGUMENT...
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd -P)
target=${CARGO_TARGET_DIR:-target}
case $target in
    /*) ;;
    *) target=$root/$target ;;
esac

# Of several that fit, the compiler takes the last.
set -- "$@" "--remap-path-prefix=$root=/capos" "--remap-path-prefix=$target=/capos/target"
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    set -- "$@" "--remap-path-prefix=$folder=/crates"
done
library=$(dirname "$(dirname "${RUSTC:-/usr/bin/rustc}")")/lib/rustlib/src/rust
for folder in "$library" "$(readlink -f "$library")"; do
    set -- "$@" "--remap-path-prefix=$folder=/rust"
done
exec "$@"
