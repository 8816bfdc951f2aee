//! Devices, ports and interrupt lines: claimed for one process, and handed over whole.
//!
//! Init keeps no copy of what it claims: when the process dies the last one is gone, and the kernel makes the
//! device quiet and offers it again.

use crate::system::System;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use capnp::{
    Error, ErrorKind,
    capability::{Client, FromClientHook},
};
use core::{future::Future, time::Duration};
use manifest::{DeviceMatch, DmaMode, Entry, PortRange, Presence};
use supervision::{
    StartFailure, Unit,
    devices::{Address, Function, pick},
};

/// Waits between tries while a device is being reset or another process still has it; the sum is about 3 s.
const WAITS: [u64; 9] = [10, 10, 20, 50, 100, 200, 500, 1000, 1000];

/// A capability, and what it is in words; `None` when an optional device is not there.
pub(crate) type Claim = Result<Option<(Client, String)>, StartFailure>;

impl System {
    /// Claims the function that a rule picks.
    pub(crate) async fn claim_device(&self, unit: Unit, entry: &Entry, rule: &DeviceMatch) -> Claim {
        let mut functions = self.functions().await.map_err(|error| temporary("PCI inventory", &error))?;
        let Some(Function { address, isolated, .. }) = pick(&mut functions, rule) else {
            return absent(rule, format!("there is no PCI function with {rule}"));
        };
        if rule.dma == DmaMode::Isolated && !isolated {
            return absent(rule, format!("{address} is granted behind an IOMMU only, and there is none"));
        }
        let what = format!("PciFunction {address}");
        let function = retry(|| self.claim(address)).await.map_err(|error| failure(&what, &error))?;
        let function = match rule.dma {
            DmaMode::None => {
                let answer = function.without_dma_request().send().promise.await;
                answer
                    .and_then(|answer| answer.get()?.get_function())
                    .map_err(|error| failure(&what, &error))?
            }
            DmaMode::Trusted | DmaMode::Isolated => function,
        };
        // Said once: a restart does not change it.
        let is_first = self.look(|supervision| supervision.restarts(unit)) == 0;
        if rule.dma == DmaMode::Trusted && !isolated && is_first {
            log::warn!("{} is trusted with all memory: {address} does DMA without an IOMMU", entry.name);
        }
        Ok(Some((erased(function), what)))
    }

    /// Claims a range of ports.
    pub(crate) async fn claim_ports(&self, range: PortRange) -> Claim {
        let claim = || async {
            let mut request = self.first.io_port_manager.claim_request();
            request.get().set_first(range.first);
            request.get().set_count(range.count);
            request.send().promise.await?.get()?.get_ports()
        };
        let what = range.to_string();
        let ports = retry(claim).await.map_err(|error| failure(&what, &error))?;
        Ok(Some((erased(ports), what)))
    }

    /// Opens an ISA interrupt line.
    pub(crate) async fn claim_line(&self, line: u8) -> Claim {
        let claim = || async {
            let mut request = self.first.legacy_interrupt_manager.open_request();
            request.get().set_irq(line);
            request.send().promise.await?.get()?.get_interrupt()
        };
        let what = format!("ISA line {line}");
        let interrupt = retry(claim).await.map_err(|error| failure(&what, &error))?;
        Ok(Some((erased(interrupt), what)))
    }

    async fn claim(&self, address: Address) -> Result<schema::device_capnp::pci_function::Client, Error> {
        let mut request = self.first.pci_inventory.claim_request();
        address.write(request.get().init_address());
        request.send().promise.await?.get()?.get_function()
    }

    /// All PCI functions of the machine.
    pub(crate) async fn functions(&self) -> Result<Vec<Function>, Error> {
        let mut functions = Vec::new();
        let mut start = 0;
        loop {
            let mut request = self.first.pci_inventory.list_request();
            request.get().set_start(start);
            let answer = request.send().promise.await?;
            let answer = answer.get()?;
            for info in answer.get_functions()? {
                functions.push(Function::read(info)?);
            }
            // The kernel counts up; what does not would never end.
            match answer.get_next() {
                next if next > start => start = next,
                _ => return Ok(functions),
            }
        }
    }
}

/// Erases a client's type.
pub(crate) fn erased(client: impl FromClientHook) -> Client {
    Client::new(client.into_client_hook())
}

fn absent(rule: &DeviceMatch, problem: String) -> Claim {
    match rule.presence {
        Presence::Optional => {
            log::info!("{problem}; it is optional");
            Ok(None)
        }
        Presence::Required => Err(StartFailure::Permanent(problem)),
    }
}

/// Tries until the answer is another than `overloaded`, or the waits are used up.
async fn retry<T, F: Future<Output = Result<T, Error>>>(claim: impl Fn() -> F) -> Result<T, Error> {
    for wait in WAITS {
        match claim().await {
            Err(error) if error.kind == ErrorKind::Overloaded => rt::sleep(Duration::from_millis(wait)).await,
            other => return other,
        }
    }
    claim().await
}

fn failure(what: &str, error: &Error) -> StartFailure {
    let problem = format!("{what} cannot be claimed: {}", error.extra);
    match error.kind {
        ErrorKind::Overloaded => StartFailure::Temporary(problem),
        _ => StartFailure::Permanent(problem),
    }
}

fn temporary(what: &str, error: &Error) -> StartFailure {
    StartFailure::Temporary(format!("{what}: {}", error.extra))
}
