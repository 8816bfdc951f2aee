#!/bin/sh
# Installs Debian packages; elsewhere, or without root, says which are missing.
#
# usage: install.sh PACKAGE...
set -eu

tell() {
    echo "$1 Please install what these Debian packages hold, then run this again:" >&2
    printf '    %s\n' "$@" | tail -n +2 >&2
    exit 1
}

if ! command -v apt-get >/dev/null 2>&1; then
    tell "This machine is not Debian, so nothing was installed." "$@"
fi
if [ "$(id -u)" != 0 ]; then
    tell "Not root, so nothing was installed." "$@"
fi

echo "Installing: $*"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq </dev/null
apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
