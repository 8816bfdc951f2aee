//! What a process starts with: its name, arguments and granted capabilities.
use alloc::rc::Rc;

use capnp::{Error, capability::FromClientHook};
use schema::{
    device_capnp::{io_port_manager, legacy_interrupt_manager, pci_inventory},
    memory_capnp::memory_object,
    process_capnp::{own_process, process_manager},
    system_capnp::{kernel_log, log_writer, power, system_info},
    time_capnp::clock,
};

/// Name, arguments and granted capabilities of this process. Clones share one set.
#[derive(Clone)]
pub struct Environment {
    inner: Rc<()>,
}

impl Environment {
    /// Name of this process in the manifest.
    pub fn name(&self) -> &str {
        let _ = &self.inner;
        unimplemented!()
    }

    /// Value of an argument of the manifest entry.
    pub fn argument(&self, _name: &str) -> Option<&str> {
        unimplemented!()
    }

    /// The capability granted under `name`.
    pub fn grant<C: FromClientHook>(&self, _name: &str) -> Result<C, Error> {
        unimplemented!()
    }

    /// The capability granted under `name`, if there is one.
    pub fn optional_grant<C: FromClientHook>(&self, _name: &str) -> Option<C> {
        unimplemented!()
    }

    /// The current provider of a granted export; waits while it is being restarted.
    pub async fn reacquire<C: FromClientHook>(&self, _name: &str) -> Result<C, Error> {
        unimplemented!()
    }

    /// Offers a capability under a name that the manifest entry exports.
    pub async fn export<C: FromClientHook>(&self, _name: &str, _client: C) -> Result<(), Error> {
        unimplemented!()
    }

    /// What this process may do to itself.
    pub fn own_process(&self) -> own_process::Client {
        unimplemented!()
    }
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
    pub clock_page: abi::ClockPage,
}
