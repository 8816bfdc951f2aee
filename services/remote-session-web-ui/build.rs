//! Puts the page's script together: its parts in the order of [`PARTS`], without indentation and comment lines.
//!
//! The browser gets one file and no byte that only an author reads. The parts have no text that
//! spans lines, so that leaving out what a line starts with changes nothing.

use std::{env, error::Error, fs, path::Path};

/// The files of `page/script`; the last one starts the page.
const PARTS: [&str; 12] = [
    "base",
    "summary",
    "processes",
    "crashes",
    "network",
    "devices",
    "log",
    "changes",
    "graph-model",
    "graph-layout",
    "graph-view",
    "look",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let mut script = String::from("\"use strict\";\n");
    for part in PARTS {
        let file = format!("page/script/{part}.js");
        println!("cargo::rerun-if-changed={file}");
        append(&fs::read_to_string(file)?, &mut script);
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("app.js"), script)?;
    Ok(())
}

fn append(text: &str, script: &mut String) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        script.push_str(line);
        script.push('\n');
    }
}
