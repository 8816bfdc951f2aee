#!/bin/sh
# Builds the disk image of the committed source again, from a clone in another folder, and compares it with an image
# that was built here.
#
# usage: reproduce.sh IMAGE [VARIABLE=VALUE]..., with the variables of make that IMAGE was built with
set -eu

image=$(readlink -f "$1")
shift
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "The source has changes that are not committed: a clone would not have them." >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone --quiet . "$folder/another/folder/capos"
cd "$folder/another/folder/capos"
# What this make was told is not for the other one, but for what is named.
MAKEFLAGS='' make --no-print-directory image CARGO_TARGET_DIR=target "$@" >"$folder/log" 2>&1 || {
    tail -n 30 "$folder/log" >&2
    exit 1
}
cmp "$image" target/capos-image.raw
echo "The same bytes from another folder: $(sha256sum target/capos-image.raw | cut -d' ' -f1)"
