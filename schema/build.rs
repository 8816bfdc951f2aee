//! Compiles every schema/*.capnp into Rust with the `capnp` command and `capnpc`, and lists the names of the interfaces.

use capnp::{
    message::ReaderOptions,
    schema_capnp::{code_generator_request, node},
    serialize,
};
use std::{env, fmt::Write as _, fs, path::Path, process};

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
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let request = Path::new(&out).join("request.bin");
    let mut command = capnpc::CompilerCommand::new();
    command.raw_code_generator_request_path(&request);
    for name in FILES {
        let file = format!("{name}.capnp");
        println!("cargo::rerun-if-changed={file}");
        command.file(file);
    }
    if let Err(error) = command.run() {
        eprintln!("schema: {error}\nIs the `capnp` command installed? (Debian: apt-get install capnproto)");
        process::exit(1);
    }
    let request = fs::read(request).expect("capnpc wrote what it was asked");
    let names = interfaces(&request).expect("the compiler's request is well-formed");
    fs::write(Path::new(&out).join("interfaces.rs"), names).expect("the output folder is writable");
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

/// The table of `src/names.rs`: each interface with its methods, by id. `request` is what the schema compiler says of the files.
fn interfaces(request: &[u8]) -> capnp::Result<String> {
    let message = serialize::read_message(
        request,
        ReaderOptions { traversal_limit_in_words: None, ..Default::default() },
    )?;
    let mut rows = Vec::new();
    for node in message.get_root::<code_generator_request::Reader<'_>>()?.get_nodes()? {
        let node::Interface(interface) = node.which()? else { continue };
        // `file.capnp:Outer.Inner`
        let name = node.get_display_name()?.to_str()?;
        let name = name.split_once(':').map_or(name, |(_, name)| name).to_owned();
        let mut methods = Vec::new();
        for method in interface.get_methods()? {
            methods.push(method.get_name()?.to_string()?);
        }
        rows.push((node.get_id(), name, methods));
    }
    rows.sort();
    let mut text = String::from("&[\n");
    for (id, name, methods) in rows {
        writeln!(text, "Interface {{ id: {id:#x}, name: {name:?}, methods: &{methods:?} }},")
            .expect("a string takes all");
    }
    Ok(text + "]\n")
}
