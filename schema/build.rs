//! Compiles every schema/*.capnp into Rust with the `capnp` command and `capnpc`.

use std::{env, fs, path::Path, process};

const FILES: [&str; 13] = [
    "block",
    "boot",
    "console",
    "device",
    "ipc",
    "manifest",
    "memory",
    "network",
    "process",
    "supervisor",
    "system",
    "test",
    "time",
];

fn main() {
    let mut command = capnpc::CompilerCommand::new();
    for name in FILES {
        let file = format!("{name}.capnp");
        println!("cargo::rerun-if-changed={file}");
        command.file(file);
    }
    if let Err(error) = command.run() {
        eprintln!("schema: {error}\nIs the `capnp` command installed? (Debian: apt-get install capnproto)");
        process::exit(1);
    }
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    for name in FILES {
        let path = Path::new(&out).join(format!("{name}_capnp.rs"));
        let code = fs::read_to_string(&path).expect("capnpc wrote its output");
        fs::write(&path, without_std_prelude(&code)).expect("the output folder is writable");
    }
}

/// Names `Box` and string conversion by path: generated code leans on the prelude of `std`, which a
/// `no_std` crate does not have.
fn without_std_prelude(code: &str) -> String {
    code.replace(" Box<", " ::alloc::boxed::Box<").replace("\".to_string()", "\".into()")
}
