//! Looks at the system through the capabilities that were granted.

use crate::{
    Gathered, MAXIMUM_DEVICES, MAXIMUM_HANDLES, MAXIMUM_PROCESSES, MAXIMUM_PROCESSORS, MAXIMUM_TEXT, decode,
};
use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use capnp::Error;
use capnp::capability::{FromTypelessPipeline, Request, Response};
use capnp::traits::{Owned, Pipelined};
use rt::Environment;
use schema::{
    device_capnp::pci_inventory,
    network_capnp::network_manager,
    supervisor_capnp::supervisor_status,
    system_capnp::{kernel_log, system_info},
};

/// How long one answer may take. A service that hangs costs its own part of the picture, and no more.
const PATIENCE: Duration = Duration::from_secs(1);

/// Parts of the kernel's log that one look reads: all that the kernel keeps, and some that is new.
const LOG_PARTS: usize = 32;

/// The capabilities to look through.
pub struct Observer {
    system: Option<system_info::Client>,
    log: Option<kernel_log::Client>,
    status: Option<supervisor_status::Client>,
    pci: Option<pci_inventory::Client>,
}

/// Whole lines of the kernel's log.
pub struct LogPart {
    /// The lines.
    pub text: Vec<u8>,
    /// Where to read on.
    pub next: u64,
    /// Bytes that were overwritten before these lines.
    pub lost: u64,
}

impl Observer {
    /// An observer with what `environment` grants.
    pub fn new(environment: &Environment) -> Self {
        Self {
            system: environment.optional_grant("system-info"),
            log: environment.optional_grant("kernel-log"),
            status: environment.optional_grant("status"),
            pci: environment.optional_grant("pci"),
        }
    }

    /// The machine's inventories.
    pub(crate) fn system_info(&self) -> Result<&system_info::Client, Error> {
        granted(self.system.as_ref())
    }

    /// The list of PCI functions.
    pub(crate) fn pci(&self) -> Option<&pci_inventory::Client> {
        self.pci.as_ref()
    }

    /// What init says of the processes.
    pub fn status(&self) -> Option<&supervisor_status::Client> {
        self.status.as_ref()
    }

    /// Looks at everything but the log once. What cannot be had is noted as absent.
    pub async fn look(&self, network: Option<network_manager::Client>) -> Gathered {
        let mut gathered = self.look_inside().await;
        let seen = see_network(network, &mut gathered).await;
        note(&mut gathered, "network", seen);
        // Last, so that what this look itself cost is in it.
        let seen = self.see_summary(&mut gathered).await;
        note(&mut gathered, "system-info", seen);
        gathered
    }

    /// Looks at processes, processors and devices.
    async fn look_inside(&self) -> Gathered {
        let mut gathered = Gathered::default();
        let seen = self.see_status(&mut gathered).await;
        note(&mut gathered, "status", seen);
        let seen = self.see_system(&mut gathered).await;
        note(&mut gathered, "system-info", seen);
        let seen = self.see_devices(&mut gathered).await;
        note(&mut gathered, "pci", seen);
        gathered
    }

    async fn see_status(&self, gathered: &mut Gathered) -> Result<(), Error> {
        let status = granted(self.status.as_ref())?;
        let mut parts = Parts::of("processes", MAXIMUM_PROCESSES);
        loop {
            let mut request = status.processes_request();
            request.get().set_start(parts.start);
            let response = answer(request).await?;
            let part = response.get()?;
            for process in part.get_processes()? {
                gathered.supervised.push(decode::supervised_process(process)?);
            }
            if !parts.go_on(part.get_next(), gathered.supervised.len(), gathered) {
                break;
            }
        }
        gathered.crashes = self.crashes().await?;
        Ok(())
    }

    async fn see_system(&self, gathered: &mut Gathered) -> Result<(), Error> {
        let system = granted(self.system.as_ref())?;
        let mut parts = Parts::of("processes", MAXIMUM_PROCESSES);
        loop {
            let mut request = system.processes_request();
            request.get().set_start(parts.start);
            let response = answer(request).await?;
            let part = response.get()?;
            for process in part.get_processes()? {
                gathered.kernel.push(decode::kernel_process(process)?);
            }
            if !parts.go_on(part.get_next(), gathered.kernel.len(), gathered) {
                break;
            }
        }
        let processes: Vec<u32> = gathered.kernel.iter().map(|process| process.id).collect();
        for process in processes {
            // It may have ended since it was listed; then it holds nothing.
            let _ = see_handles(system, process, gathered).await;
        }
        see_processors(system, gathered).await
    }

    async fn see_devices(&self, gathered: &mut Gathered) -> Result<(), Error> {
        let pci = granted(self.pci.as_ref())?;
        let mut parts = Parts::of("devices", MAXIMUM_DEVICES);
        loop {
            let mut request = pci.list_request();
            request.get().set_start(parts.start);
            let response = answer(request).await?;
            let part = response.get()?;
            for function in part.get_functions()? {
                gathered.devices.push(decode::pci_function(function)?);
            }
            if !parts.go_on(part.get_next(), gathered.devices.len(), gathered) {
                return Ok(());
            }
        }
    }

    /// Reads the kernel's log from `cursor` on, as far as it goes now.
    ///
    /// Errors: those of `KernelLog.read`, a missing grant.
    pub async fn read_log(&self, mut cursor: u64) -> Result<Vec<LogPart>, Error> {
        let mut parts = Vec::new();
        let log = granted(self.log.as_ref())?;
        for _ in 0..LOG_PARTS {
            let mut request = log.read_request();
            request.get().set_cursor(cursor);
            let response = answer(request).await?;
            let part = response.get()?;
            let text = part.get_text()?.as_bytes();
            if text.is_empty() || part.get_next() <= cursor {
                break;
            }
            cursor = part.get_next();
            parts.push(LogPart { text: text.to_vec(), next: cursor, lost: part.get_lost() });
        }
        Ok(parts)
    }

    async fn see_summary(&self, gathered: &mut Gathered) -> Result<(), Error> {
        // Its absence has been noted.
        let Some(system) = &self.system else { return Ok(()) };
        let response = answer(system.summary_request()).await?;
        let mut summary = decode::summary(response.get()?)?;
        if let Some(status) = &self.status
            && let Ok(response) = answer(status.manifest_request()).await
        {
            summary.manifest = decode::text(response.get()?.get_name()?);
        }
        gathered.summary = Some(summary);
        Ok(())
    }
}

async fn see_handles(
    system: &system_info::Client,
    process: u32,
    gathered: &mut Gathered,
) -> Result<(), Error> {
    let mut parts = Parts::of("holdings", MAXIMUM_HANDLES);
    let mut count = 0;
    loop {
        let mut request = system.handles_request();
        request.get().set_process(process);
        request.get().set_start(parts.start);
        let response = answer(request).await?;
        let part = response.get()?;
        for handle in part.get_handles()? {
            gathered.holdings.add(process, &decode::handle(handle));
            count += 1;
        }
        if !parts.go_on(part.get_next(), count, gathered) {
            return Ok(());
        }
    }
}

async fn see_processors(system: &system_info::Client, gathered: &mut Gathered) -> Result<(), Error> {
    let mut parts = Parts::of("processors", MAXIMUM_PROCESSORS);
    loop {
        let mut request = system.processors_request();
        request.get().set_start(parts.start);
        let response = answer(request).await?;
        let part = response.get()?;
        gathered.processors.extend(part.get_processors()?.iter().map(decode::processor));
        if !parts.go_on(part.get_next(), gathered.processors.len(), gathered) {
            return Ok(());
        }
    }
}

async fn see_network(network: Option<network_manager::Client>, gathered: &mut Gathered) -> Result<(), Error> {
    let network =
        network.ok_or_else(|| Error::disconnected("the network stack is being restarted".into()))?;
    let response = answer(network.status_request()).await?;
    gathered.network = Some(decode::network(response.get()?.get_interface()?)?);
    Ok(())
}

/// Progress through a list that comes in parts.
pub struct Parts {
    list: &'static str,
    maximum: usize,
    /// What to ask for next.
    pub start: u32,
}

impl Parts {
    /// From the start of `list`, of which `maximum` items are enough.
    pub const fn of(list: &'static str, maximum: usize) -> Self {
        Self { list, maximum, start: 0 }
    }

    /// Whether another part is to be asked for, after `count` items. A server that does not get on is taken to be at its end.
    pub fn go_on(&mut self, next: u32, count: usize, gathered: &mut Gathered) -> bool {
        if next <= self.start {
            return false;
        }
        if count >= self.maximum {
            gathered.note_truncated(self.list);
            return false;
        }
        self.start = next;
        true
    }
}

/// Waits until every process of the manifest has come as far as it will, for so long at most.
pub async fn settled(status: &supervisor_status::Client, patience: Duration) {
    const PAUSE: Duration = Duration::from_millis(20);
    let settled = async {
        while let Ok(response) = status.manifest_request().send().promise.await {
            if response.get().is_ok_and(|manifest| manifest.get_settled()) {
                break;
            }
            rt::sleep(PAUSE).await;
        }
    };
    // When it takes longer, something is wrong that others say.
    let _ = rt::timeout(patience, settled).await;
}

/// Sends a request, and waits a second for its answer.
///
/// Errors: those of the server; `failed` when none comes.
pub async fn answer<P, R>(request: Request<P, R>) -> Result<Response<R>, Error>
where
    P: Owned,
    R: Owned + Pipelined + Unpin + 'static,
    <R as Pipelined>::Pipeline: FromTypelessPipeline,
{
    match rt::timeout(PATIENCE, request.send().promise).await {
        Ok(result) => result,
        Err(rt::Elapsed) => Err(Error::failed("no answer within a second".into())),
    }
}

/// A capability that the manifest may leave out.
///
/// Errors: `failed` when it did.
pub fn granted<C>(grant: Option<&C>) -> Result<&C, Error> {
    grant.ok_or_else(|| Error::failed("not granted to this process".into()))
}

fn note(gathered: &mut Gathered, what: &'static str, seen: Result<(), Error>) {
    if let Err(error) = seen {
        let why: String = format!("{error}");
        gathered.note_absent(what, decode::cut(why.as_bytes(), MAXIMUM_TEXT));
    }
}
