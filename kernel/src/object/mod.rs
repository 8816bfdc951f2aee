//! Kernel objects: one file each, with the Cap'n Proto interface that it serves.

pub mod account;
pub mod address_space;
pub mod call;
pub mod device_mmio;
pub mod dma_pool;
pub mod endpoint;
pub mod interrupt;
pub mod inventory;
pub mod io_port;
pub mod memory_object;
pub mod message_buffer;
pub mod notification;
pub mod pci_function;
pub mod process;
pub mod system;
pub mod thread;
pub mod timer;

use crate::error::Error;
use crate::message::{Answer, Params};
use crate::scheduler;
use abi::Status;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use memory_object::View;
use schema::system_capnp::ObjectKind;

/// A number for a new object.
pub fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One capability: what an entry of a handle table names.
#[allow(missing_docs, reason = "each variant is documented at its type and in schema/")]
#[allow(clippy::enum_variant_names, reason = "the variants are the interfaces' names")]
pub enum Object {
    Facet(Arc<endpoint::Facet>),
    Endpoint(Arc<endpoint::Endpoint>),
    /// The right to answer this use of the call.
    Reply(Arc<call::Call>, u32),
    Call(Arc<call::Call>),
    Notification(Arc<notification::Notification>),
    Signaller(Arc<notification::Signaller>),
    Process(Arc<process::Process>),
    OwnProcess(Arc<process::Process>),
    Thread(Arc<thread::Thread>),
    MemoryObject(Arc<memory_object::MemoryObject>),
    ReadOnlyMemory(Arc<memory_object::MemoryObject>),
    AddressSpace(Arc<address_space::AddressSpace>),
    Timer(Arc<timer::Timer>),
    PciFunction(Arc<pci_function::PciFunction>),
    DeviceMmio(Arc<device_mmio::DeviceMmio>),
    Interrupt(Arc<interrupt::Interrupt>),
    DmaPool(Arc<dma_pool::DmaPool>),
    IoPort(Arc<io_port::IoPort>),
    LogWriter,
    Clock,
    ProcessManager,
    PciInventory,
    IoPortManager,
    LegacyInterruptManager,
    KernelLog,
    SystemInfo,
    Power,
}

impl Object {
    /// Another capability of the same object, for a message or a grant.
    ///
    /// What is bound to its process cannot leave it: the server side of an endpoint, calls, replies, its
    /// notification, its rights over itself. So closing a capability never closes further ones.
    pub fn clone_for_message(&self) -> Result<Self, Error> {
        Ok(match self {
            Self::Facet(object) => Self::Facet(object.clone()),
            Self::Signaller(object) => Self::Signaller(object.clone()),
            Self::Process(object) => Self::Process(object.clone()),
            Self::Thread(object) => Self::Thread(object.clone()),
            Self::MemoryObject(object) => Self::MemoryObject(object.clone()),
            Self::ReadOnlyMemory(object) => Self::ReadOnlyMemory(object.clone()),
            Self::AddressSpace(object) => Self::AddressSpace(object.clone()),
            Self::Timer(object) => Self::Timer(object.clone()),
            Self::PciFunction(object) => Self::PciFunction(object.clone()),
            Self::DeviceMmio(object) => Self::DeviceMmio(object.clone()),
            Self::Interrupt(object) => Self::Interrupt(object.clone()),
            Self::DmaPool(object) => Self::DmaPool(object.clone()),
            Self::IoPort(object) => Self::IoPort(object.clone()),
            Self::LogWriter => Self::LogWriter,
            Self::Clock => Self::Clock,
            Self::ProcessManager => Self::ProcessManager,
            Self::PciInventory => Self::PciInventory,
            Self::IoPortManager => Self::IoPortManager,
            Self::LegacyInterruptManager => Self::LegacyInterruptManager,
            Self::KernelLog => Self::KernelLog,
            Self::SystemInfo => Self::SystemInfo,
            Self::Power => Self::Power,
            Self::Endpoint(_)
            | Self::Reply(..)
            | Self::Call(_)
            | Self::Notification(_)
            | Self::OwnProcess(_) => {
                return Err(Error::failed("this capability cannot be sent"));
            }
        })
    }

    /// The same capability, for use while the handle table is not locked.
    pub fn borrow(&self) -> Self {
        match self {
            Self::Endpoint(object) => Self::Endpoint(object.clone()),
            Self::Reply(object, sequence) => Self::Reply(object.clone(), *sequence),
            Self::Call(object) => Self::Call(object.clone()),
            Self::Notification(object) => Self::Notification(object.clone()),
            Self::OwnProcess(object) => Self::OwnProcess(object.clone()),
            // The rest can be sent, so this does not fail.
            other => other.clone_for_message().unwrap_or(Self::Clock),
        }
    }

    /// Gives the capability up, with what follows from it for its kind.
    pub fn close(self) {
        let woken = match self {
            Self::Endpoint(endpoint) => {
                endpoint.close();
                None
            }
            Self::Reply(call, sequence) => crate::ipc::complete_with_error(
                &call,
                sequence,
                Error::disconnected("the server dropped the call"),
            ),
            Self::Call(call) => {
                let waiter = call.cancel().flatten();
                if let call::Completion::Signal { process, address, .. } = &call.completion
                    && let Some(process) = process.upgrade()
                {
                    // The mapping may have been removed by its owner already.
                    let _ = process.space.unmap(*address);
                }
                waiter
            }
            _ => None,
        };
        if let Some(thread) = woken {
            scheduler::make_ready(thread);
        }
    }

    /// Its kind, its number, and the process and badge that inventories show with it.
    pub fn describe(&self) -> Description {
        let plain = |kind, object| Description { kind, object, server: 0, badge: 0 };
        match self {
            Self::Facet(facet) => Description {
                kind: ObjectKind::Facet,
                object: facet.endpoint.id,
                server: facet.endpoint.server,
                badge: facet.badge,
            },
            Self::Endpoint(object) => plain(ObjectKind::Endpoint, object.id),
            Self::Reply(object, _) => plain(ObjectKind::Reply, object.id),
            Self::Call(object) => plain(ObjectKind::Call, object.id),
            Self::Notification(object) => plain(ObjectKind::Notification, object.id),
            Self::Signaller(object) => plain(ObjectKind::Signaller, object.id),
            Self::Process(object) => Description {
                kind: ObjectKind::Process,
                object: u64::from(object.id),
                server: object.id,
                badge: 0,
            },
            Self::OwnProcess(object) => plain(ObjectKind::OwnProcess, u64::from(object.id)),
            Self::Thread(object) => Description {
                kind: ObjectKind::Thread,
                object: u64::from(object.id),
                server: object.process.id,
                badge: 0,
            },
            Self::MemoryObject(object) | Self::ReadOnlyMemory(object) => {
                plain(ObjectKind::MemoryObject, object.id)
            }
            Self::AddressSpace(object) => plain(ObjectKind::AddressSpace, object.id),
            Self::Timer(object) => plain(ObjectKind::Timer, object.id),
            Self::PciFunction(object) => Description {
                kind: ObjectKind::PciFunction,
                object: object.id,
                server: 0,
                badge: object.address_bits(),
            },
            Self::DeviceMmio(object) => plain(ObjectKind::DeviceMmio, object.id),
            Self::Interrupt(object) => plain(ObjectKind::Interrupt, object.id),
            Self::DmaPool(object) => plain(ObjectKind::DmaPool, object.id),
            Self::IoPort(object) => plain(ObjectKind::IoPort, object.id),
            Self::LogWriter => plain(ObjectKind::LogWriter, 0),
            Self::Clock => plain(ObjectKind::Clock, 0),
            Self::ProcessManager => plain(ObjectKind::ProcessManager, 0),
            Self::PciInventory => plain(ObjectKind::PciInventory, 0),
            Self::IoPortManager => plain(ObjectKind::IoPortManager, 0),
            Self::LegacyInterruptManager => plain(ObjectKind::LegacyInterruptManager, 0),
            Self::KernelLog => plain(ObjectKind::KernelLog, 0),
            Self::SystemInfo => plain(ObjectKind::SystemInfo, 0),
            Self::Power => plain(ObjectKind::Power, 0),
        }
    }
}

/// What inventories show of a capability.
pub struct Description {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its number; the same for two capabilities of one object.
    pub object: u64,
    /// The process behind it, or 0.
    pub server: u32,
    /// Facet: its badge. PCI function: its address.
    pub badge: u64,
}

impl Description {
    /// Writes it as an entry of a handle table.
    pub fn write(&self, handle: u32, mut to: schema::system_capnp::handle_info::Builder<'_>) {
        to.set_handle(handle);
        to.set_kind(self.kind);
        to.set_object(self.object);
        to.set_server(self.server);
        to.set_badge(self.badge);
    }
}

/// Serves one call of a kernel object.
pub fn invoke(object: &Object, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    match object {
        Object::Endpoint(object) => endpoint::invoke(object, params, answer),
        Object::Notification(object) => notification::invoke_notification(object, params, answer),
        Object::Signaller(object) => notification::invoke_signaller(object, params, answer),
        Object::Process(object) => process::invoke(object, params, answer),
        Object::OwnProcess(object) => process::invoke_own(object, params, answer),
        Object::Thread(object) => thread::invoke(object, params, answer),
        Object::MemoryObject(object) => memory_object::invoke(object, View::Full, params, answer),
        Object::ReadOnlyMemory(object) => memory_object::invoke(object, View::ReadOnly, params, answer),
        Object::AddressSpace(object) => address_space::invoke(object, params, answer),
        Object::Timer(object) => timer::invoke(object, params, answer),
        Object::Clock => timer::invoke_clock(params, answer),
        Object::PciFunction(object) => pci_function::invoke(object, params, answer),
        Object::DeviceMmio(object) => device_mmio::invoke(object, params, answer),
        Object::Interrupt(object) => interrupt::invoke(object, params, answer),
        Object::DmaPool(object) => dma_pool::invoke(object, params, answer),
        Object::IoPort(object) => io_port::invoke(object, params, answer),
        Object::ProcessManager => process::invoke_manager(params, answer),
        Object::PciInventory => pci_function::invoke_inventory(params, answer),
        Object::IoPortManager => io_port::invoke_manager(params, answer),
        Object::LegacyInterruptManager => interrupt::invoke_manager(params, answer),
        Object::LogWriter => system::invoke_log_writer(params, answer),
        Object::KernelLog => system::invoke_kernel_log(params, answer),
        Object::SystemInfo => system::invoke_system_info(params, answer),
        Object::Power => system::invoke_power(params, answer),
        Object::Facet(_) | Object::Call(_) | Object::Reply(..) => {
            Err(Error { status: Status::Unimplemented, reason: "this object has no methods" })
        }
    }
}
