//! What a process starts with: its name, arguments and granted capabilities.
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};

use abi::{ClockPage, FirstHandles};
use capnp::{
    Error,
    capability::FromClientHook,
    message::{Reader, ReaderOptions, SegmentArray},
    private::capability::ClientHook,
};
use schema::{
    device_capnp::{io_port_manager, legacy_interrupt_manager, pci_inventory},
    memory_capnp::memory_object,
    process_capnp::{own_process, process_manager},
    supervisor_capnp::{start_info, supervisor},
    system_capnp::{kernel_log, log_writer, power, system_info},
    time_capnp::clock,
};

use crate::{client::Remote, runtime::runtime};

/// Name under which every process is granted its supervisor.
pub(crate) const SUPERVISOR: &str = "supervisor";

/// Name under which every process is granted its log writer.
const LOG: &str = "log";

/// Name, arguments and granted capabilities of this process. Clones share one set.
#[derive(Clone)]
pub struct Environment {
    inner: Rc<Inner>,
}

struct Inner {
    name: String,
    arguments: Vec<(String, String)>,
    /// The grants that are there.
    grants: Vec<(String, Box<dyn ClientHook>)>,
    own_process: own_process::Client,
}

/// What `StartInfo` says, besides the environment.
pub(crate) struct StartInfo {
    pub(crate) environment: Environment,
    pub(crate) clock: ClockPage,
    /// Handle of the log writer, or 0.
    pub(crate) log_writer: u32,
}

impl StartInfo {
    /// Reads the message and takes over all handles that it names.
    pub(crate) fn read(segment: &[u8], own_process: u32) -> Result<Self, Error> {
        let segments = [segment];
        let message = Reader::new(SegmentArray::new(&segments), ReaderOptions::new());
        let info: start_info::Reader<'_> = message.get_root()?;
        let mut arguments = Vec::new();
        for argument in info.get_arguments()? {
            arguments.push((argument.get_name()?.to_string()?, argument.get_value()?.to_string()?));
        }
        let mut grants = Vec::new();
        let mut log_writer = abi::NULL_HANDLE;
        for grant in info.get_grants()? {
            let (name, handle) = (grant.get_name()?.to_string()?, grant.get_handle());
            if handle == abi::NULL_HANDLE {
                continue;
            }
            let hook = Remote::client(handle);
            if name == LOG {
                log_writer = handle;
                keep(&*hook);
            }
            grants.push((name, hook));
        }
        let own_process: own_process::Client = client(own_process);
        keep(own_process.as_client_hook());
        let parameters = info.get_clock()?;
        let environment = Environment {
            inner: Rc::new(Inner { name: info.get_process()?.to_string()?, arguments, grants, own_process }),
        };
        let clock = ClockPage {
            multiplier: parameters.get_multiplier(),
            // A shift is at most 63.
            shift: u64::from(parameters.get_shift() & 63),
            base: parameters.get_base(),
        };
        Ok(Self { environment, clock, log_writer })
    }
}

impl Environment {
    /// Name of this process in the manifest.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Value of an argument of the manifest entry.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.inner.arguments.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The capability granted under `name`. Errors: `failed` when there is none.
    pub fn grant<C: FromClientHook>(&self, name: &str) -> Result<C, Error> {
        self.optional_grant(name)
            .ok_or_else(|| Error::failed(alloc::format!("the manifest grants nothing named `{name}`")))
    }

    /// The capability granted under `name`, if there is one.
    pub fn optional_grant<C: FromClientHook>(&self, name: &str) -> Option<C> {
        let (_, hook) = self.inner.grants.iter().find(|(known, _)| known == name)?;
        Some(C::new(hook.add_ref()))
    }

    /// The current provider of a granted export; waits while it is being restarted. Errors: those of
    /// `Supervisor.acquire`.
    pub async fn reacquire<C: FromClientHook>(&self, name: &str) -> Result<C, Error> {
        let supervisor: supervisor::Client = self.grant(SUPERVISOR)?;
        let mut request = supervisor.acquire_request();
        request.get().set_name(name);
        let response = request.send().promise.await?;
        response.get()?.get_capability().get_as_capability()
    }

    /// Offers a capability under a name that the manifest entry exports. Errors: those of
    /// `Supervisor.export`.
    pub async fn export<C: FromClientHook>(&self, name: &str, client: C) -> Result<(), Error> {
        let supervisor: supervisor::Client = self.grant(SUPERVISOR)?;
        let mut request = supervisor.export_request();
        let mut fields = request.get();
        fields.set_name(name);
        fields.init_capability().set_as_capability(client.into_client_hook());
        request.send().promise.await.map(drop)
    }

    /// What this process may do to itself.
    pub fn own_process(&self) -> own_process::Client {
        self.inner.own_process.clone()
    }
}

/// Keeps a handle open that the runtime itself uses, whatever the program does with its client.
fn keep(client: &dyn ClientHook) {
    runtime().kept.borrow_mut().push(client.add_ref());
}

/// A client that owns `handle`.
fn client<C: FromClientHook>(handle: u32) -> C {
    C::new(Remote::client(handle))
}

/// What the kernel gives to the very first process (`abi::FirstHandles`).
pub struct FirstProcess {
    /// What this process may do to itself.
    pub own_process: own_process::Client,
    /// The right to make processes.
    pub process_manager: process_manager::Client,
    /// The boot package as memory that can be granted.
    pub boot_package_memory: memory_object::Client,
    /// The boot package: a Cap'n Proto message of one segment.
    pub boot_package: &'static [u8],
    /// All PCI functions.
    pub pci_inventory: pci_inventory::Client,
    /// The right to hand out legacy ports.
    pub io_port_manager: io_port_manager::Client,
    /// The right to open ISA interrupt lines.
    pub legacy_interrupt_manager: legacy_interrupt_manager::Client,
    /// Reads the kernel's log.
    pub kernel_log: kernel_log::Client,
    /// Writes to the kernel's log.
    pub log_writer: log_writer::Client,
    /// Inventories of the machine.
    pub system_info: system_info::Client,
    /// Monotonic time.
    pub clock: clock::Client,
    /// Reboot and halt.
    pub power: power::Client,
    /// How the time stamp counter becomes nanoseconds; goes into every `StartInfo`.
    pub clock_page: ClockPage,
}

impl FirstProcess {
    /// Takes over the handles.
    pub(crate) fn new(boot_package: &'static [u8], clock_page: ClockPage) -> Self {
        let own_process: own_process::Client = client(FirstHandles::OwnProcess as u32);
        let log_writer: log_writer::Client = client(FirstHandles::LogWriter as u32);
        keep(own_process.as_client_hook());
        keep(log_writer.as_client_hook());
        Self {
            own_process,
            process_manager: client(FirstHandles::ProcessManager as u32),
            boot_package_memory: client(FirstHandles::BootPackage as u32),
            boot_package,
            pci_inventory: client(FirstHandles::PciInventory as u32),
            io_port_manager: client(FirstHandles::IoPortManager as u32),
            legacy_interrupt_manager: client(FirstHandles::LegacyInterruptManager as u32),
            kernel_log: client(FirstHandles::KernelLog as u32),
            log_writer,
            system_info: client(FirstHandles::SystemInfo as u32),
            clock: client(FirstHandles::Clock as u32),
            power: client(FirstHandles::Power as u32),
            clock_page,
        }
    }
}
