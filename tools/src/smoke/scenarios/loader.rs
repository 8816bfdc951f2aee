//! The loader says what is wrong, and stops.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use crate::{
    package,
    qemu::{Boot, Machine},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 30;

/// One scenario for each thing that can be wrong before the kernel starts.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("loader-no-package", "a missing boot package is said", LIMIT, |context| {
            let kernel = context.kernel()?;
            let boot = |loader: &Path| {
                vec!["-kernel".into(), loader.into(), "-initrd".into(), kernel.clone().into()]
            };
            without_boot(context, boot, "the boot package was not loaded")
        }),
        Scenario::new("loader-no-modules", "a missing kernel is said", LIMIT, |context| {
            without_boot(context, |loader| vec!["-kernel".into(), loader.into()], "the kernel was not loaded")
        }),
        Scenario::new("loader-not-elf", "a kernel that is not ELF is refused", LIMIT, |context| {
            refuses(context, |_| b"#!/bin/sh\n".to_vec(), "the kernel is not an ELF file")
        }),
        Scenario::new("loader-cut-kernel", "a kernel file that is cut off is refused", LIMIT, |context| {
            let cut = |mut bytes: Vec<u8>| {
                bytes.truncate(bytes.len() / 2);
                bytes
            };
            refuses(context, cut, "out of range")
        }),
        Scenario::new("loader-old-processor", "a processor without NX is refused", LIMIT, |context| {
            let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
            machine.processor = "qemu64,-nx".into();
            says(context, machine, "this processor has no 64-bit mode or no NX bit")
        }),
    ]
}

/// Boots a kernel that was changed.
fn refuses(context: &mut Context, change: impl Fn(Vec<u8>) -> Vec<u8>, words: &str) -> Result<()> {
    let folder = context.temporary()?;
    let file = folder.path().join("kernel");
    package::write(&file, &change(fs::read(context.kernel()?)?))?;
    let mut boot = context.direct("manifests/default.capnp")?;
    if let Boot::Direct { kernel, .. } = &mut boot {
        *kernel = file;
    }
    says(context, Machine::new(boot), words)
}

/// Boots with QEMU arguments of the scenario's own.
fn without_boot(
    context: &mut Context,
    arguments: impl Fn(&Path) -> Vec<std::ffi::OsString>,
    words: &str,
) -> Result<()> {
    let mut machine = Machine::new(Boot::None);
    machine.more = arguments(&context.paths().loader());
    says(context, machine, words)
}

fn says(context: &Context, machine: Machine, words: &str) -> Result<()> {
    let mut guest = context.start(machine, &[])?;
    guest.wait_until("the loader's reason", |line| {
        line.starts_with("capos loader: ") && line.contains(words)
    })?;
    let lines = guest.lines();
    ensure!(lines.len() == 1, "more than the one line: {lines:?}");
    Ok(())
}
