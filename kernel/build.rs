//! Gives the kernel its linker script and the commit that it was built from.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=linker.ld");
    println!("cargo::rerun-if-env-changed=CAPOS_COMMIT");
    // Only who builds the system (the Makefile) knows whether the tree is clean.
    let commit = env::var("CAPOS_COMMIT").unwrap_or_else(|_| "unknown".into());
    println!("cargo::rustc-env=CAPOS_COMMIT={commit}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-T{}", Path::new(&folder).join("linker.ld").display());
    }
}
