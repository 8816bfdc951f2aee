#!/bin/sh
# Brings a machine to where capOS can be built (`setup.sh build`), run (`run`) or tested (`test`): installs the
# Debian packages that are missing, chooses the compiler, and writes both down in the folder $1.
#
# usage: setup.sh FOLDER build|run|test
set -eu

here=$(dirname "$0")
folder=$1
level=$2
mkdir -p "$folder"

# Programs and files that are needed, with the Debian package that has each. A line starts with the first level
# that needs it.
needs() {
    cat <<'END'
build command cc              build-essential
build command git             git
build command capnp           capnproto
build command ld.lld          lld
run   command qemu-system-x86_64 qemu-system-x86
run   command grub-mkimage    grub-common
run   file    /usr/lib/grub/i386-pc/boot.img grub-pc-bin
run   file    /usr/lib/grub/x86_64-efi/kernel.img grub-efi-amd64-bin
run   file    /usr/share/OVMF/OVMF_CODE_4M.fd ovmf
test  command curl            curl
test  command qemu-img        qemu-utils
test  command chromium        chromium
test  command shellcheck      shellcheck
END
}

wanted() {
    case "$level:$1" in
        test:*|run:run|*:build) return 0 ;;
        *) return 1 ;;
    esac
}

missing() {
    needs | while read -r from kind name package; do
        wanted "$from" || continue
        case "$kind" in
            command) command -v "$name" >/dev/null 2>&1 || echo "$package" ;;
            file) [ -e "$name" ] || echo "$package" ;;
        esac
    done | sort -u
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "capOS needs Rust with cargo: install rustup's stable toolchain (https://rustup.rs), then run this again." >&2
    exit 1
fi

# Twice, since what is installed may push out a package of another release that was there and is needed as well.
for _ in 1 2; do
    packages=$(missing)
    if [ -n "$packages" ]; then
        # shellcheck disable=SC2086 # a list of words
        "$here/install.sh" $packages
    fi
done
left=$(missing)
if [ -n "$left" ]; then
    echo "These packages are installed, but what is needed of them is still missing: $left" >&2
    exit 1
fi

"$here/compiler.sh" "$folder/compiler.mk" "$level"
