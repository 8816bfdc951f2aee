//! What init itself serves: a `Supervisor` for each process, `SupervisorStatus`, and a `PciInventory` that only
//! lists.

use crate::system::{Incarnation, System};
use alloc::{
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use capnp::{
    Error,
    capability::{self, Client},
};
use core::cell::Cell;
use manifest::{Entry, Source};
use schema::{
    device_capnp::pci_inventory,
    supervisor_capnp::{supervisor, supervisor_status},
};
use supervision::{
    State, Supervision, Unit,
    crashes::{CRASHES_PER_ANSWER, Crash},
    status::{GrantRow, Row, fitting},
};

/// Most calls of `acquire` that one process may have open: one for each grant that it can have.
const MAXIMUM_WAITS: u32 = manifest::limits::MAXIMUM_GRANTS;

/// Most bytes of what a process says to be wrong with itself.
const MAXIMUM_PROBLEM: usize = 100;

/// Longest name that a call may carry.
pub(crate) fn name(reader: capnp::text::Reader<'_>) -> Result<String, Error> {
    if reader.len() > manifest::limits::MAXIMUM_NAME {
        return Err(Error::failed("the name is too long".into()));
    }
    Ok(reader.to_string()?)
}

/// What one life of one process asks of init.
pub(crate) struct Supervisor {
    system: Rc<System>,
    unit: Unit,
    incarnation: Incarnation,
    waits: Cell<u32>,
}

impl Supervisor {
    /// For the process `unit` in the life that is about to begin.
    pub(crate) fn new(system: Rc<System>, unit: Unit, incarnation: Incarnation) -> Self {
        Self { system, unit, incarnation, waits: Cell::new(0) }
    }

    fn entry(&self) -> Result<&Entry, Error> {
        let entry = self.system.manifest.entries.get(self.unit);
        entry.ok_or_else(|| Error::failed("the process is not in the manifest".into()))
    }

    /// Errors when the process whose supervisor this is has ended: its capability may have outlived it elsewhere.
    fn check_current(&self) -> Result<(), Error> {
        if self.system.is_current(self.unit, self.incarnation) {
            Ok(())
        } else {
            Err(Error::disconnected("the process has ended".into()))
        }
    }

    async fn wait_for(&self, grant: &str) -> Result<Client, Error> {
        let wanted = self.entry()?.grants.iter().find(|candidate| candidate.name == grant);
        let Some(Source::Export(export)) = wanted.map(|grant| &grant.source) else {
            return Err(Error::failed(format!("{grant:?} is not an export of another process")));
        };
        let (unit, index) = self
            .system
            .find_export(&export.process, &export.name)
            .ok_or_else(|| Error::failed("the export is not in the manifest".into()))?;
        let Some(_wait) = Wait::begin(&self.waits) else {
            return Err(Error::overloaded("too many calls wait already".into()));
        };
        self.system.acquire(unit, index).await
    }
}

/// One call that waits; counted until it is dropped.
struct Wait<'a>(&'a Cell<u32>);

impl<'a> Wait<'a> {
    fn begin(waits: &'a Cell<u32>) -> Option<Self> {
        if waits.get() >= MAXIMUM_WAITS {
            return None;
        }
        waits.set(waits.get() + 1);
        Some(Self(waits))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl supervisor::Server for Supervisor {
    async fn export(
        self: capability::Rc<Self>,
        parameters: supervisor::ExportParams,
        _: supervisor::ExportResults,
    ) -> Result<(), Error> {
        self.check_current()?;
        let parameters = parameters.get()?;
        let name = name(parameters.get_name()?)?;
        let export = self.entry()?.exports.iter().position(|export| *export == name);
        let export =
            export.ok_or_else(|| Error::failed(format!("the manifest exports nothing named {name:?}")))?;
        let capability = parameters.get_capability().get_as_capability()?;
        self.system.keep_export(self.unit, export, capability);
        Ok(())
    }

    async fn acquire(
        self: capability::Rc<Self>,
        parameters: supervisor::AcquireParams,
        mut results: supervisor::AcquireResults,
    ) -> Result<(), Error> {
        self.check_current()?;
        let name = name(parameters.get()?.get_name()?)?;
        let client = self.wait_for(&name).await?;
        results.get().init_capability().set_as_capability(client.hook);
        Ok(())
    }

    async fn attend(
        self: capability::Rc<Self>,
        parameters: supervisor::AttendParams,
        _: supervisor::AttendResults,
    ) -> Result<(), Error> {
        self.check_current()?;
        self.system.keep_signaller(self.unit, parameters.get()?.get_signaller()?);
        Ok(())
    }

    async fn alive(
        self: capability::Rc<Self>,
        parameters: supervisor::AliveParams,
        mut results: supervisor::AliveResults,
    ) -> Result<(), Error> {
        self.check_current()?;
        let problem = parameters.get()?.get_problem()?;
        // What is longer than any text that init shows is cut there.
        let problem =
            String::from_utf8_lossy(problem.as_bytes().get(..MAXIMUM_PROBLEM).unwrap_or(problem.as_bytes()));
        results.get().set_stop(self.system.lives(self.unit, problem.into_owned()));
        Ok(())
    }
}

/// Shows the state of all processes.
pub(crate) struct Status {
    system: Rc<System>,
}

impl Status {
    /// For all processes of the system.
    pub(crate) fn new(system: Rc<System>) -> Self {
        Self { system }
    }

    /// The row of init, which is first, or of an entry of the manifest.
    async fn row(&self, index: usize) -> Result<Option<Row>, Error> {
        let Some(unit) = index.checked_sub(1) else { return self.own_row().await.map(Some) };
        let Some(entry) = self.system.manifest.entries.get(unit) else { return Ok(None) };
        let grants = self.system.grant_rows(unit);
        Ok(self.system.look(|supervision| {
            Some(Row {
                name: entry.name.clone(),
                state: supervision.state(unit)?,
                restarts: supervision.restarts(unit),
                problem: supervision.problem(unit).to_string(),
                grants,
                exports: entry.exports.clone(),
                last: supervision.last_ending(unit),
            })
        }))
    }

    async fn own_row(&self) -> Result<Row, Error> {
        let usage = self.system.first.own_process.usage_request().send().promise.await?;
        let grants = OWN_GRANTS.iter().map(|&(name, what)| GrantRow {
            name: name.into(),
            from: "kernel".into(),
            what: what.into(),
        });
        Ok(Row {
            name: "init".into(),
            state: State::Running(usage.get()?.get_id()),
            restarts: 0,
            problem: String::new(),
            grants: grants.collect(),
            exports: Vec::new(),
            last: None,
        })
    }
}

/// What the kernel gives to the first process (`abi::FirstHandles`).
const OWN_GRANTS: [(&str, &str); 10] = [
    ("process-manager", "ProcessManager"),
    ("boot-package", "boot package"),
    ("pci", "PciInventory"),
    ("ports", "IoPortManager"),
    ("isa-interrupts", "LegacyInterruptManager"),
    ("kernel-log", "KernelLog"),
    ("log", "LogWriter"),
    ("system-info", "SystemInfo"),
    ("clock", "Clock"),
    ("power", "Power"),
];

impl supervisor_status::Server for Status {
    async fn processes(
        self: capability::Rc<Self>,
        parameters: supervisor_status::ProcessesParams,
        mut results: supervisor_status::ProcessesResults,
    ) -> Result<(), Error> {
        let start = parameters.get()?.get_start();
        let mut rows = Vec::new();
        // All that are left: at most 64, of which the rows that fit are kept.
        for index in start as usize.. {
            match self.row(index).await? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        let count = fitting(&rows);
        let more = count < rows.len();
        // Both are at most the 65 rows that there are.
        let count = count as u32;
        let mut results = results.get();
        results.set_next(if more { start.saturating_add(count) } else { 0 });
        let mut list = results.init_processes(count);
        for (index, row) in (0..count).zip(&rows) {
            row.write(list.reborrow().get(index))?;
        }
        Ok(())
    }

    async fn manifest(
        self: capability::Rc<Self>,
        _: supervisor_status::ManifestParams,
        mut results: supervisor_status::ManifestResults,
    ) -> Result<(), Error> {
        results.get().set_name(&self.system.manifest.name);
        results.get().set_settled(self.system.look(Supervision::is_settled));
        Ok(())
    }

    async fn crashes(
        self: capability::Rc<Self>,
        parameters: supervisor_status::CrashesParams,
        mut results: supervisor_status::CrashesResults,
    ) -> Result<(), Error> {
        let crashes = self.system.crashes.borrow();
        let mut rest = crashes.from(parameters.get()?.get_start()).peekable();
        let shown: Vec<&Crash> = rest.by_ref().take(CRASHES_PER_ANSWER).collect();
        let mut results = results.get();
        results.set_next(rest.peek().map_or(0, |crash| crash.number));
        // At most `CRASHES_PER_ANSWER`.
        let mut list = results.init_crashes(shown.len() as u32);
        for (index, crash) in (0..).zip(shown) {
            crash.write(list.reborrow().get(index))?;
        }
        Ok(())
    }
}

/// Stands in for the kernel's inventory: shows all functions, and lets nobody claim one.
pub(crate) struct PciList {
    inventory: pci_inventory::Client,
}

impl PciList {
    /// In front of the real inventory.
    pub(crate) fn new(inventory: pci_inventory::Client) -> Self {
        Self { inventory }
    }
}

impl pci_inventory::Server for PciList {
    async fn list(
        self: capability::Rc<Self>,
        parameters: pci_inventory::ListParams,
        mut results: pci_inventory::ListResults,
    ) -> Result<(), Error> {
        let mut request = self.inventory.list_request();
        request.get().set_start(parameters.get()?.get_start());
        let answer = request.send().promise.await?;
        let answer = answer.get()?;
        let mut results = results.get();
        results.set_functions(answer.get_functions()?)?;
        results.set_next(answer.get_next());
        Ok(())
    }

    async fn claim(
        self: capability::Rc<Self>,
        _: pci_inventory::ClaimParams,
        _: pci_inventory::ClaimResults,
    ) -> Result<(), Error> {
        Err(Error::failed("this inventory only lists".into()))
    }
}
