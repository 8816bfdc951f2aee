//! Interrupt: one MSI-X or MSI vector, or one I/O APIC line; LegacyInterruptManager: the ISA lines.
//!
//! Invariants: opened masked and not bound; while it is bound, each interrupt signals. A line is masked at each
//! interrupt until it is acknowledged; a message interrupt only after [`STORM`] without one. Once detached, at the end of the
//! claim, what still arrives is counted and dropped.

use super::Object;
use super::account::Charge;
use super::inventory;
use super::notification::Signaller;
use super::pci_function::Claim;
use crate::error::Error;
use crate::interrupts;
use crate::iommu;
use crate::machine::{IO_APICS, KernelMemory};
use crate::message::{Answer, Params};
use crate::scheduler;
use crate::sync::Lock;
use alloc::sync::Arc;
use capnp::traits::HasTypeId;
use core::sync::atomic::{AtomicU64, Ordering};
use platform::acpi::Trigger;
use platform::io_apic::Line;
use platform::pci::{InterruptKind, MsixTable, Switch};
use platform::registers::Registers;
use platform::vtd::Route;
use platform::{ApicId, PhysicalMemory, Vector};
use schema::device_capnp::{self, interrupt, legacy_interrupt_manager};
use schema::system_capnp::interrupt_info;

/// Message interrupts without an acknowledgement after which the source is masked.
const STORM: u32 = 1024;

enum Source {
    Msix { claim: Arc<Claim>, table: MsixTable, index: u16 },
    Msi { claim: Arc<Claim> },
    PciLine { claim: Arc<Claim>, line: Line },
    IsaLine { line: Line },
}

struct State {
    signaller: Option<Arc<Signaller>>,
    unacknowledged: u32,
    detached: bool,
}

/// One interrupt source and its vector.
pub struct Interrupt {
    /// Number of this object in inventories.
    pub id: u64,
    source: Source,
    vector: u8,
    processor: u32,
    state: Lock<State>,
    count: AtomicU64,
    dropped: AtomicU64,
    _charge: Charge,
}

const NO_VECTOR: Error = Error::overloaded("no interrupt vector is free");

impl Interrupt {
    /// Opens one interrupt of a claimed function, masked.
    pub fn of_function(
        claim: &Arc<Claim>,
        kind: InterruptKind,
        index: u16,
        charge: Charge,
    ) -> Result<Arc<Self>, Error> {
        let (processor, apic_id) = interrupts::next_processor();
        let function = claim.function();
        let source = match kind {
            InterruptKind::Msix => {
                let msix = function.msix.filter(|msix| index < msix.entries);
                let msix = msix.ok_or(Error::failed("the function has no such MSI-X entry"))?;
                let bar = function.bars.get(usize::from(msix.table.bar)).and_then(platform::pci::Bar::memory);
                let start = bar.and_then(|range| range.start().checked_add(u64::from(msix.table.offset)));
                let length = msix.table.length as usize;
                let mapped =
                    start.and_then(|start| claim.state.table_registers(start, length, &KernelMemory));
                let registers = mapped.ok_or(Error::overloaded("no room to map the interrupt table"))?;
                Source::Msix { claim: claim.clone(), table: MsixTable::new(registers, msix.entries), index }
            }
            InterruptKind::Msi if function.msi.is_some() && index == 0 => {
                Source::Msi { claim: claim.clone() }
            }
            InterruptKind::Line if function.interrupt_pin.is_some() && index == 0 => {
                let line = IO_APICS.lock().pci_line(function.interrupt_line);
                let line = line.ok_or(Error::failed("firmware routed the function's line nowhere"))?;
                Source::PciLine { claim: claim.clone(), line }
            }
            _ => return Err(Error::failed("the function has no such interrupt")),
        };
        let interrupt = Self::with_vector(source, processor, charge)?;
        if let Err(error) = interrupt.set_up(apic_id) {
            interrupt.abandon();
            return Err(error);
        }
        Ok(interrupt)
    }

    fn of_isa_line(irq: u8, charge: Charge) -> Result<Arc<Self>, Error> {
        if irq > 15 || irq == 2 {
            return Err(Error::failed("ISA lines are 0 to 15, without 2"));
        }
        let (processor, apic_id) = interrupts::next_processor();
        let line = IO_APICS.lock().isa_line(irq);
        let interrupt = Self::with_vector(Source::IsaLine { line }, processor, charge)?;
        if let Err(error) = interrupt.set_up(apic_id) {
            interrupt.abandon();
            return Err(error);
        }
        Ok(interrupt)
    }

    fn with_vector(source: Source, processor: u32, charge: Charge) -> Result<Arc<Self>, Error> {
        let make = |vector| {
            Arc::new(Self {
                id: super::new_id(),
                source,
                vector,
                processor,
                state: Lock::new(State { signaller: None, unacknowledged: 0, detached: false }),
                count: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                _charge: charge,
            })
        };
        interrupts::allocate(make).ok_or(NO_VECTOR)
    }

    fn set_up(&self, apic_id: u32) -> Result<(), Error> {
        let route =
            Route { destination: ApicId(apic_id), vector: Vector(self.vector), trigger: Trigger::Edge };
        let message = |claim: &Claim| iommu::message_route(claim.function(), claim.state.coverage, route);
        match &self.source {
            Source::Msix { claim, table, index } => {
                table.set(*index, message(claim)?);
                claim.configure(|function, configuration| function.set_msix(configuration, Switch::On))
            }
            Source::Msi { claim } => {
                let message = message(claim)?;
                claim.configure(|function, configuration| function.set_msi_message(configuration, message))
            }
            Source::PciLine { line, .. } | Source::IsaLine { line } => {
                if interrupts::line_is_taken(line.gsi, self) {
                    return Err(Error::overloaded("the interrupt line has another owner"));
                }
                iommu::line_route(*line, self.vector, route.destination)
            }
        }
    }

    /// Gives the vector back of an interrupt that was never set up. The source is left alone: it may be another's line.
    fn abandon(&self) {
        self.state.lock().detached = true;
        iommu::end_route(self.vector);
        interrupts::free(self.vector);
    }

    /// Whether this is the function's interrupt with that index.
    pub const fn is_at(&self, wanted: u16) -> bool {
        match &self.source {
            Source::Msix { index, .. } => *index == wanted,
            _ => wanted == 0,
        }
    }

    /// The I/O APIC line, for line interrupts.
    pub const fn line(&self) -> Option<Line> {
        match &self.source {
            Source::PciLine { line, .. } | Source::IsaLine { line } => Some(*line),
            _ => None,
        }
    }

    fn mask(&self) {
        match &self.source {
            Source::Msix { table, index, .. } => table.mask(*index),
            Source::Msi { claim } => {
                // Masking has no error that could be handled; the vector's owner is gone in the worst case.
                let _ = claim.configure(|function, configuration| function.mask_msi(configuration));
            }
            Source::PciLine { line, .. } | Source::IsaLine { line } => {
                let _ = IO_APICS.lock().mask(line.gsi);
            }
        }
    }

    fn unmask(&self) {
        match &self.source {
            Source::Msix { table, index, .. } => table.unmask(*index),
            Source::Msi { claim } => {
                let _ = claim.configure(|function, configuration| function.unmask_msi(configuration));
            }
            Source::PciLine { claim, line } => {
                let _ = claim.configure(|function, configuration| {
                    function.set_line_interrupt(configuration, Switch::On)
                });
                let _ = IO_APICS.lock().unmask(line.gsi);
            }
            Source::IsaLine { line } => {
                let _ = IO_APICS.lock().unmask(line.gsi);
            }
        }
    }

    /// Its vector has struck.
    pub fn arrived(&self) {
        let mut state = self.state.lock();
        let signaller = state.signaller.clone();
        if self.line().is_some() {
            self.mask();
        } else {
            state.unacknowledged += 1;
            if state.unacknowledged >= STORM {
                self.mask();
            }
        }
        drop(state);
        match signaller {
            Some(signaller) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                if let Some(thread) = signaller.signal() {
                    scheduler::make_ready(thread);
                }
            }
            None => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The end of the claim: no interrupt reaches anybody any more.
    pub fn detach(&self) {
        let mut state = self.state.lock();
        if state.detached {
            return;
        }
        state.detached = true;
        self.mask();
        let signaller = state.signaller.take();
        drop(state);
        drop(signaller);
        iommu::end_route(self.vector);
        interrupts::free(self.vector);
    }

    fn check(&self) -> Result<(), Error> {
        if self.state.lock().detached {
            Err(Error::disconnected("the device was taken away"))
        } else {
            Ok(())
        }
    }

    /// Its vector.
    pub const fn vector(&self) -> u8 {
        self.vector
    }

    /// What the inventory shows of it.
    pub fn describe(&self, mut info: interrupt_info::Builder<'_>) {
        let (claim, index) = match &self.source {
            Source::Msix { claim, index, .. } => (Some(claim), *index),
            Source::Msi { claim } | Source::PciLine { claim, .. } => (Some(claim), 0),
            Source::IsaLine { .. } => (None, 0),
        };
        info.set_vector(self.vector);
        info.set_kind(self.kind());
        info.set_line(self.line().map_or(inventory::NONE, |line| line.gsi.0));
        info.set_function(claim.map_or(inventory::NONE, |claim| claim.function().address.to_bits()));
        info.set_index(index);
        info.set_object(self.id);
        info.set_processor(self.processor);
        info.set_count(self.count.load(Ordering::Relaxed));
        info.set_dropped(self.dropped.load(Ordering::Relaxed));
    }

    const fn kind(&self) -> device_capnp::InterruptKind {
        match self.source {
            Source::Msix { .. } => device_capnp::InterruptKind::Msix,
            Source::Msi { .. } => device_capnp::InterruptKind::Msi,
            Source::PciLine { .. } | Source::IsaLine { .. } => device_capnp::InterruptKind::Line,
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Serves `Interrupt`.
pub fn invoke(object: &Arc<Interrupt>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(interrupt::Client::TYPE_ID)?;
    object.check()?;
    match params.method() {
        0 => {
            let Object::Signaller(signaller) = params.capability(0)? else { return Err(Error::WRONG_OBJECT) };
            let previous = object.state.lock().signaller.replace(signaller.clone());
            drop(previous);
            object.unmask();
            answer.root::<interrupt::bind_results::Owned>()?;
        }
        1 => {
            object.state.lock().unacknowledged = 0;
            object.unmask();
            answer.root::<interrupt::acknowledge_results::Owned>()?;
        }
        2 => {
            object.mask();
            answer.root::<interrupt::mask_results::Owned>()?;
        }
        3 => {
            object.unmask();
            answer.root::<interrupt::unmask_results::Owned>()?;
        }
        4 => {
            let mut info = answer.root::<interrupt::info_results::Owned>()?;
            info.set_kind(object.kind());
            info.set_vector(object.vector);
            info.set_count(object.count.load(Ordering::Relaxed));
            info.set_dropped(object.dropped.load(Ordering::Relaxed));
            info.set_processor(object.processor);
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

/// Serves `LegacyInterruptManager`.
pub fn invoke_manager(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(legacy_interrupt_manager::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let irq = params.root::<legacy_interrupt_manager::open_params::Owned>()?.get_irq();
            let charge = Charge::object::<Interrupt>(params.account())?;
            let interrupt = Interrupt::of_isa_line(irq, charge)?;
            answer.root::<legacy_interrupt_manager::open_results::Owned>()?;
            answer.capability(0, Object::Interrupt(interrupt))
        }
        _ => Err(Error::NO_METHOD),
    }
}

/// Names the kernel's own mapping of registers.
pub fn kernel_registers(
    start: platform::PhysicalAddress,
    length: usize,
    memory: &KernelMemory,
) -> Option<Registers> {
    let pointer = memory.map_mmio(start, length)?;
    // SAFETY: the kernel maps it for ever, and the range is the function's own.
    Some(unsafe { Registers::new(pointer, length) })
}
