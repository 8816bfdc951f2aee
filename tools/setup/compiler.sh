#!/bin/sh
# Chooses the compiler for kernel, loader and user programs, which build Rust's core library from source, and
# writes the choice as make variables.
#
# A rustup toolchain is taken when it has the library's source, or can add it; else Debian's rustc-web with
# rust-web-src. Host tools are always built by the active toolchain.
#
# usage: compiler.sh OUTPUT build|run|test
set -eu

here=$(dirname "$0")
output=$1
level=$2

has_source() {
    [ -e "$1/lib/rustlib/src/rust/library/core/Cargo.toml" ]
}

# The folder of the active toolchain, or of another one of rustup's, that has the source.
rustup_sysroot() {
    command -v rustup >/dev/null 2>&1 || return 1
    active=$(rustc --print sysroot)
    if has_source "$active"; then
        echo "$active"
        return
    fi
    if timeout 120 rustup component add rust-src >/dev/null 2>&1 </dev/null && has_source "$active"; then
        echo "$active"
        return
    fi
    for name in $(rustup toolchain list -q 2>/dev/null || rustup toolchain list | sed 's/ .*//'); do
        other=$(rustup run "$name" rustc --print sysroot 2>/dev/null) || continue
        if has_source "$other"; then
            echo "$other"
            return
        fi
    done
    return 1
}

# Lints need rustfmt and clippy for the host, and clippy of the very compiler that builds the rest.
host_lints() {
    [ "$level" = test ] || return 0
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
        return 0
    fi
    if command -v rustup >/dev/null 2>&1 && timeout 300 rustup component add rustfmt clippy </dev/null; then
        return 0
    fi
    echo "The tests need rustfmt and clippy: rustup component add rustfmt clippy" >&2
    exit 1
}

if sysroot=$(rustup_sysroot); then
    rustc=$sysroot/bin/rustc
    clippy=$sysroot/bin/cargo-clippy
else
    set --
    for package in rustc-web rust-web-src; do
        dpkg -s "$package" >/dev/null 2>&1 || set -- "$@" "$package"
    done
    if [ "$level" = test ] && ! dpkg -s rust-web-clippy >/dev/null 2>&1; then
        set -- "$@" rust-web-clippy
    fi
    [ $# = 0 ] || "$here/install.sh" "$@"
    rustc=/usr/bin/rustc
    clippy=/usr/bin/cargo-clippy
fi
host_lints

# Older and newer cargos know JSON target specifications without a flag.
json=
if RUSTC_BOOTSTRAP=1 cargo -Zhelp 2>/dev/null | grep -q json-target-spec; then
    json=-Zjson-target-spec
fi

cat >"$output" <<END
BARE_RUSTC := $rustc
BARE_CLIPPY := $clippy
JSON_TARGET := $json
END
echo "Compiler for the kernel and user programs: $("$rustc" --version)"
