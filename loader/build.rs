//! Links the loader for the target with its linker script.

fn main() {
    println!("cargo::rerun-if-changed=loader.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-Tloader/loader.ld");
        println!("cargo::rustc-link-arg-bins=--no-dynamic-linker");
    }
}
