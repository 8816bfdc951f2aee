//! Starts one process of the manifest with all that it is granted.

use crate::{
    claims::erased,
    control::Control,
    evidence::Evidence,
    servers::{PciList, Status, Supervisor},
    shutdown::Shutdown,
    system::{Incarnation, Running, System},
};
use alloc::{
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use capnp::{Error, ErrorKind, capability::Client};
use manifest::{Entry, Grant, KernelObject, Presence, Source, SupervisorPart};
use process_loader::{Launch, Quota, StartError};
use schema::{device_capnp::pci_inventory, process_capnp::process, supervisor_capnp, system_capnp::power};
use supervision::{StartFailure, Unit, status::GrantRow};

/// Names of what every process has.
const LOG: &str = "log";
const SUPERVISOR: &str = "supervisor";

/// Names of who grants, as the status shows them.
const KERNEL: &str = "kernel";
pub(crate) const INIT: &str = "init";

/// Capabilities and the rows that show them, in the same order.
#[derive(Default)]
struct Granted<'m> {
    capabilities: Vec<(&'m str, Option<Client>)>,
    rows: Vec<GrantRow>,
}

impl<'m> Granted<'m> {
    fn add(&mut self, name: &'m str, from: &str, what: impl Into<String>, capability: Client) {
        self.capabilities.push((name, Some(capability)));
        self.show(name, from, what);
    }

    fn show(&mut self, name: &str, from: &str, what: impl Into<String>) {
        self.rows.push(GrantRow { name: name.into(), from: from.into(), what: what.into() });
    }
}

impl System {
    /// Starts a process; the supervision has said so.
    pub(crate) async fn launch(self: Rc<Self>, unit: Unit) {
        match self.clone().try_launch(unit).await {
            Ok(id) => {
                self.dispatch(|supervision, now| supervision.started(unit, id, now));
                rt::spawn(Rc::clone(&self).watch_heart(unit));
                // Its end may have been signalled before it was known here.
                self.reap(unit).await;
            }
            Err(failure) => {
                self.forget(unit);
                self.dispatch(|supervision, now| supervision.start_failed(unit, failure, now));
            }
        }
    }

    async fn try_launch(self: Rc<Self>, unit: Unit) -> Result<u32, StartFailure> {
        let missing = || StartFailure::Permanent("it is not in the manifest".into());
        let entry = self.manifest.entries.get(unit).ok_or_else(missing)?;
        let binary = self.binaries.verified(&entry.binary).map_err(StartFailure::Permanent)?;
        let incarnation = self.next_incarnation(unit);
        let granted = self.grants(unit, entry, incarnation).await?;
        let arguments: Vec<(&str, &str)> = entry
            .arguments
            .iter()
            .map(|argument| (argument.name.as_str(), argument.value.as_str()))
            .collect();
        let launch = Launch {
            name: &entry.name,
            program: binary.program(),
            quota: quota(entry),
            priority: entry.priority,
            arguments: &arguments,
            grants: &granted.capabilities,
            clock: self.first.clock_page,
        };
        let process =
            process_loader::start(&self.first.process_manager, launch).await.map_err(start_failure)?;
        // From here on the process runs, and what goes wrong must end it.
        match self.adopt(&process).await {
            Ok(id) => {
                self.set_running(unit, Running { process, grants: granted.rows });
                Ok(id)
            }
            Err(error) => {
                // Already on the way out: there is nobody to tell of a second error.
                let _ = process.kill_request().send().promise.await;
                Err(StartFailure::Temporary(error.to_string()))
            }
        }
    }

    /// Asks to be told of the end of a process; answers its number.
    async fn adopt(&self, process: &process::Client) -> Result<u32, Error> {
        let mut request = process.on_exit_request();
        request.get().set_signaller(self.exits.signaller());
        request.send().promise.await?;
        Ok(process.status_request().send().promise.await?.get()?.get_id())
    }

    /// All capabilities of a process: what every process has, then what its entry says.
    async fn grants<'m>(
        self: &Rc<Self>,
        unit: Unit,
        entry: &'m Entry,
        incarnation: Incarnation,
    ) -> Result<Granted<'m>, StartFailure> {
        let mut granted = Granted::default();
        granted.add(LOG, KERNEL, KernelObject::LogWriter.to_string(), erased(self.first.log_writer.clone()));
        let supervisor = Rc::new(Supervisor::new(Rc::clone(self), unit, incarnation));
        let supervisor: supervisor_capnp::supervisor::Client = rt::serve(supervisor);
        granted.add(SUPERVISOR, INIT, "Supervisor", erased(supervisor));
        for grant in &entry.grants {
            self.grant(unit, entry, grant, &mut granted).await?;
        }
        Ok(granted)
    }

    async fn grant<'m>(
        self: &Rc<Self>,
        unit: Unit,
        entry: &Entry,
        grant: &'m Grant,
        granted: &mut Granted<'m>,
    ) -> Result<(), StartFailure> {
        let name = grant.name.as_str();
        let claim = match &grant.source {
            Source::Export(export) => {
                match self.exported(&export.process, &export.name) {
                    Some(facet) => granted.add(name, &export.process, export.name.as_str(), facet),
                    // It can be acquired as soon as it is offered.
                    None if export.presence == Presence::Optional => {
                        granted.capabilities.push((name, None));
                        granted.show(name, &export.process, export.name.as_str());
                    }
                    None => {
                        // The exporter ended between the decision to start this process and now.
                        let gone = alloc::format!("{} of {} is gone", export.name, export.process);
                        return Err(StartFailure::Temporary(gone));
                    }
                }
                return Ok(());
            }
            Source::Kernel(object) => {
                granted.add(name, KERNEL, object.to_string(), self.kernel_object(*object));
                return Ok(());
            }
            Source::Supervisor(part) => {
                granted.add(name, INIT, part.to_string(), self.part(*part));
                return Ok(());
            }
            Source::Device(rule) => self.claim_device(unit, entry, rule).await?,
            Source::Ports(range) => self.claim_ports(*range).await?,
            Source::IsaInterrupt(line) => self.claim_line(*line).await?,
        };
        match claim {
            Some((capability, what)) => granted.add(name, KERNEL, what, capability),
            None => granted.capabilities.push((name, None)),
        }
        Ok(())
    }

    fn kernel_object(&self, object: KernelObject) -> Client {
        let first = &self.first;
        match object {
            KernelObject::LogWriter => erased(first.log_writer.clone()),
            KernelObject::KernelLog => erased(first.kernel_log.clone()),
            KernelObject::SystemInfo => erased(first.system_info.clone()),
            KernelObject::Clock => erased(first.clock.clone()),
            KernelObject::Power => erased(first.power.clone()),
            KernelObject::ProcessManager => erased(first.process_manager.clone()),
            KernelObject::PciInventory => erased(first.pci_inventory.clone()),
        }
    }

    fn part(self: &Rc<Self>, part: SupervisorPart) -> Client {
        match part {
            SupervisorPart::Status => {
                let status: supervisor_capnp::supervisor_status::Client =
                    rt::serve(Rc::new(Status::new(Rc::clone(self))));
                erased(status)
            }
            SupervisorPart::Control => {
                let control: supervisor_capnp::supervisor_control::Client =
                    rt::serve(Rc::new(Control::new(Rc::clone(self))));
                erased(control)
            }
            SupervisorPart::BootPackage => erased(self.first.boot_package_memory.clone()),
            SupervisorPart::Shutdown => {
                let power: power::Client = rt::serve(Rc::new(Shutdown::new(Rc::clone(self))));
                erased(power)
            }
            SupervisorPart::Evidence => {
                let evidence: supervisor_capnp::crash_evidence::Client =
                    rt::serve(Rc::new(Evidence::new(Rc::clone(self))));
                erased(evidence)
            }
            SupervisorPart::PciList => {
                let list: pci_inventory::Client =
                    rt::serve(Rc::new(PciList::new(self.first.pci_inventory.clone())));
                erased(list)
            }
        }
    }
}

fn quota(entry: &Entry) -> Quota {
    let quotas = entry.quotas;
    Quota {
        frames: quotas.frames,
        handles: quotas.handles,
        threads: quotas.threads,
        dma_pages: quotas.dma_pages,
    }
}

fn start_failure(error: StartError) -> StartFailure {
    let problem = error.to_string();
    match error {
        StartError::Refused { error, .. } if error.kind == ErrorKind::Overloaded => {
            StartFailure::Temporary(problem)
        }
        StartError::Refused { .. } | StartError::NoRoom => StartFailure::Permanent(problem),
    }
}
