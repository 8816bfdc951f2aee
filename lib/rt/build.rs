//! Programs are linked again when the order of their functions changes.

fn main() {
    println!("cargo::rerun-if-changed=../../targets/hot.ld");
}
