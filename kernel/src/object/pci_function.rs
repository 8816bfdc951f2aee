//! PciFunction: one claimed PCI function; PciInventory: all of them.
//!
//! ```text
//!   free --claim--> claimed --last capability gone--> resetting --time over--> free
//!                                                        |
//!                                                        +-- does not answer --> broken
//! ```
//!
//! The end of a claim, in this order: vectors masked, bus master off, reset started, registers unmapped everywhere, the
//! function's domain taken from the IOMMU, which is waited for, and
//! when the reset is over its DMA memory freed and the function offered again. A function that offers no reset gets
//! [`SETTLE_TIME`] without bus mastering instead; its next driver resets it by its own means before it enables bus mastering.

use super::Object;
use super::account::Charge;
use super::device_mmio::DeviceMmio;
use super::dma_pool::DmaPool;
use super::interrupt::Interrupt;
use super::io_port::IoPort;
use super::memory_object::MemoryObject;
use crate::error::Error;
use crate::iommu::{self, Isolation};
use crate::machine::{CONFIGURATION, KernelMemory};
use crate::message::{Answer, Params};
use crate::sync::Lock;
use crate::time;
use crate::timers::{self, Deadline, TimerSlot};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use capnp::traits::HasTypeId;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use platform::pci::{
    Bar, BarKind, BarState, Configuration, ConfigurationSpace, Function, Functions, InterruptKind,
    MAXIMUM_BARS, PciAddress, Prefetch, Reset, ResetStep, Switch, Width, find_capability, start_reset,
};
use platform::registers::Registers;
use platform::vtd::Coverage;
use schema::device_capnp::{self, pci_function, pci_function_info, pci_inventory};
use spin::Once;

/// Nanoseconds that a function without a reset is left alone after its bus mastering ended.
pub const SETTLE_TIME: u64 = 10_000_000;

/// Entries of the inventory that fit into one answer.
const INFOS_PER_ANSWER: usize = 8;

enum Stage {
    Free,
    Claimed,
    /// Being reset; the device may still reach this memory.
    Resetting(Option<Reset>, Held),
    /// It did not answer after a reset, or the IOMMU did not; its memory stays out of use.
    Broken(#[expect(dead_code, reason = "held, for the device may still reach it")] Held),
}

/// What a device may still reach, and what says so.
struct Held {
    _memory: Vec<Arc<MemoryObject>>,
    _isolation: Option<Isolation>,
}

/// One function of the inventory.
pub struct PciFunctionState {
    /// What was found at boot.
    pub function: Function,
    /// What is between it and memory.
    pub coverage: Coverage,
    /// Its place in the inventory.
    index: u16,
    stage: Lock<Stage>,
    timer: TimerSlot,
    owner: AtomicU32,
    /// Requests of it that the IOMMU refused.
    refused: AtomicU64,
    claim: Lock<Weak<Claim>>,
    /// The kernel's mapping of the MSI-X table, made once.
    table: Once<Option<Registers>>,
}

static FUNCTIONS: Once<Vec<Arc<PciFunctionState>>> = Once::new();

/// Takes over what was found at boot.
pub fn init(functions: &Functions) {
    FUNCTIONS.call_once(|| {
        let state = |(index, function): (usize, &Function)| {
            Arc::new(PciFunctionState {
                function: *function,
                coverage: iommu::coverage(functions, function),
                // The platform keeps at most 256.
                index: index as u16,
                stage: Lock::new(Stage::Free),
                timer: TimerSlot::new(),
                owner: AtomicU32::new(0),
                refused: AtomicU64::new(0),
                claim: Lock::new(Weak::new()),
                table: Once::new(),
            })
        };
        functions.iter().enumerate().map(state).collect()
    });
}

fn all() -> &'static [Arc<PciFunctionState>] {
    FUNCTIONS.get().map_or(&[], Vec::as_slice)
}

fn with_requester(requester: u16) -> Option<&'static Arc<PciFunctionState>> {
    all().iter().find(|state| state.function.address.requester() == requester)
}

/// Counts a request of the function with this requester id that the IOMMU refused.
pub fn note_refusal(requester: u16) {
    if let Some(state) = with_requester(requester) {
        state.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The process that holds the function with this requester id, if one does.
pub fn owner_of(requester: u16) -> Option<u32> {
    let state = with_requester(requester)?;
    Some(state.owner.load(Ordering::Relaxed)).filter(|owner| *owner != 0)
}

/// Whether another function than `except` has registers in this range, so that a whole page must not be handed out.
pub fn others_have_registers(except: PciAddress, range: platform::PhysicalRange) -> bool {
    let others = all().iter().filter(|state| state.function.address != except);
    others.flat_map(|state| &state.function.bars).filter_map(Bar::memory).any(|other| other.overlaps(range))
}

fn with_configuration<R>(operation: impl FnOnce(&mut Configuration<KernelMemory>) -> R) -> Result<R, Error> {
    let configuration =
        CONFIGURATION.get().ok_or(Error::failed("the machine has no PCI configuration space"))?;
    Ok(operation(&mut configuration.lock()))
}

impl PciFunctionState {
    /// Its place among the deadlines.
    pub const fn slot(&self) -> &TimerSlot {
        &self.timer
    }

    /// The kernel's view of the function's MSI-X table.
    pub fn table_registers(
        &self,
        start: platform::PhysicalAddress,
        length: usize,
        memory: &KernelMemory,
    ) -> Option<Registers> {
        *self.table.call_once(|| super::interrupt::kernel_registers(start, length, memory))
    }

    /// The time that the reset asked for is over.
    pub fn reset_finished(self: &Arc<Self>) {
        let mut stage = self.stage.lock();
        let Stage::Resetting(reset, _) = &mut *stage else { return };
        let step = match reset {
            Some(reset) => {
                with_configuration(|configuration| reset.advance(configuration)).unwrap_or(ResetStep::Failed)
            }
            None => ResetStep::Done,
        };
        if let ResetStep::Wait(time) = step {
            drop(stage);
            self.arm(time.as_nanos() as u64);
            return;
        }
        let before = core::mem::replace(&mut *stage, Stage::Free);
        let freed = match (step, before) {
            (ResetStep::Failed, Stage::Resetting(_, held)) => {
                log::error!("pci: {}: does not answer after its reset; out of use", self.function.address);
                *stage = Stage::Broken(held);
                None
            }
            (_, before) => Some(before),
        };
        drop(stage);
        drop(freed);
    }

    fn arm(self: &Arc<Self>, nanoseconds: u64) {
        let deadline = time::now().saturating_add(nanoseconds);
        if let Err(error) = timers::arm(&self.timer, deadline, Deadline::Reset(self.clone())) {
            log::error!("pci: {}: {}; it stays out of use", self.function.address, error.reason);
        }
    }

    fn is_claimed(&self) -> bool {
        matches!(*self.stage.lock(), Stage::Claimed)
    }
}

/// What belongs to one claim, shared by all objects that were opened through it.
pub struct Claim {
    /// The function.
    pub state: Arc<PciFunctionState>,
    ended: AtomicBool,
    opened: Lock<Opened>,
}

struct Opened {
    kind: InterruptKind,
    interrupts: Vec<Arc<Interrupt>>,
    registers: Vec<Weak<DeviceMmio>>,
    memory: Vec<Arc<MemoryObject>>,
    /// `None` at the end of the claim.
    isolation: Option<Isolation>,
}

impl Claim {
    /// Errors: `disconnected` after the end of the claim.
    pub fn check(&self) -> Result<(), Error> {
        if self.ended.load(Ordering::SeqCst) {
            Err(Error::disconnected("the device was taken away"))
        } else {
            Ok(())
        }
    }

    /// The function as found at boot.
    pub fn function(&self) -> &Function {
        &self.state.function
    }

    /// Runs something with the configuration space.
    pub fn configure<R>(
        &self,
        operation: impl FnOnce(&Function, &mut Configuration<KernelMemory>) -> R,
    ) -> Result<R, Error> {
        with_configuration(|configuration| operation(&self.state.function, configuration))
    }

    /// Remembers registers that were opened, to unmap them in the end.
    pub fn add_registers(&self, registers: &Arc<DeviceMmio>) -> Result<(), Error> {
        let mut opened = self.opened.lock();
        self.check()?;
        opened.registers.retain(|known| known.strong_count() > 0);
        opened.registers.try_reserve(1).map_err(|_| Error::overloaded("the machine is out of memory"))?;
        opened.registers.push(Arc::downgrade(registers));
        Ok(())
    }

    /// Lets the device reach contiguous memory, and keeps that until the device is quiet. Gives its address for the device.
    pub fn add_memory(&self, memory: Arc<MemoryObject>) -> Result<u64, Error> {
        let mut opened = self.opened.lock();
        let added = self.check().and_then(|()| {
            opened.memory.try_reserve(1).map_err(|_| Error::overloaded("the machine is out of memory"))?;
            let start = memory.frame(0).ok_or(Error::failed("no frame"))?;
            let isolation =
                opened.isolation.as_mut().ok_or(Error::disconnected("the device was taken away"))?;
            isolation.map(self.state.coverage, start, memory.pages())
        });
        match added {
            Ok(address) => {
                opened.memory.push(memory);
                Ok(address)
            }
            Err(error) => {
                drop(opened);
                drop(memory);
                Err(error)
            }
        }
    }

    /// Name of what is between the function and memory. Errors when none of its DMA gets through.
    pub fn dma_mode(&self) -> Result<&'static str, Error> {
        let opened = self.opened.lock();
        let isolation = opened.isolation.as_ref().ok_or(Error::disconnected("the device was taken away"))?;
        isolation.check().map(|()| isolation.name())
    }

    fn open_interrupt(
        self: &Arc<Self>,
        kind: InterruptKind,
        index: u16,
        params: &Params,
    ) -> Result<Arc<Interrupt>, Error> {
        let mut opened = self.opened.lock();
        self.check()?;
        if opened.kind != InterruptKind::None && opened.kind != kind {
            return Err(Error::failed("interrupts of another kind are open"));
        }
        if opened.interrupts.iter().any(|interrupt| interrupt.is_at(index)) {
            return Err(Error::failed("this interrupt is open already"));
        }
        opened.interrupts.try_reserve(1).map_err(|_| Error::overloaded("the machine is out of memory"))?;
        let charge = Charge::object::<Interrupt>(params.account())?;
        let interrupt = Interrupt::of_function(self, kind, index, charge)?;
        opened.kind = kind;
        opened.interrupts.push(interrupt.clone());
        Ok(interrupt)
    }

    /// The end of the claim; see the module's documentation.
    fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        let (interrupts, registers, memory, isolation) = {
            let mut opened = self.opened.lock();
            (
                core::mem::take(&mut opened.interrupts),
                core::mem::take(&mut opened.registers),
                core::mem::take(&mut opened.memory),
                opened.isolation.take(),
            )
        };
        for interrupt in &interrupts {
            interrupt.detach();
        }
        let state = &self.state;
        let mut wait = SETTLE_TIME;
        let reset = self.configure(|function, configuration| {
            let mut reset = start_reset(configuration, function);
            // The first step is due at once and never the last.
            if let Some(reset) = &mut reset
                && let ResetStep::Wait(time) = reset.advance(configuration)
            {
                wait = time.as_nanos() as u64;
            }
            reset
        });
        for registers in registers.iter().filter_map(Weak::upgrade) {
            registers.unmap_everywhere();
        }
        let released =
            isolation.as_ref().map_or(Ok(()), |isolation| isolation.release(state.coverage, &state.function));
        let held = Held { _memory: memory, _isolation: isolation };
        state.owner.store(0, Ordering::Relaxed);
        if let Err(error) = released {
            log::error!("pci: {}: {}; out of use", state.function.address, error.reason);
            *state.stage.lock() = Stage::Broken(held);
            return;
        }
        *state.stage.lock() = Stage::Resetting(reset.ok().flatten(), held);
        state.arm(wait);
    }
}

/// What its holder may do beyond reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dma {
    /// The function may become a bus master.
    Allowed,
    /// It may not.
    Refused,
}

/// One claimed function. The claim ends with the last reference.
pub struct PciFunction {
    /// Number of this object in inventories.
    pub id: u64,
    claim: Arc<Claim>,
    dma: Dma,
    /// The object that this is a smaller view of, which the claim also hangs on.
    whole: Option<Arc<Self>>,
    _charge: Charge,
}

impl PciFunction {
    /// Its address as inventories show it.
    pub fn address_bits(&self) -> u64 {
        u64::from(self.claim.function().address.to_bits())
    }

    /// Names the process that inventories show as its owner.
    pub fn set_owner(&self, process: u32) {
        self.claim.state.owner.store(process, Ordering::Relaxed);
    }
}

impl Drop for PciFunction {
    fn drop(&mut self) {
        if self.whole.is_none() {
            self.claim.end();
        }
    }
}

fn claim(state: &Arc<PciFunctionState>, params: &Params) -> Result<Arc<PciFunction>, Error> {
    if state.function.is_bridge() {
        return Err(Error::failed("bridges cannot be claimed"));
    }
    let charge = Charge::bytes(params.account(), size_of::<PciFunction>() + size_of::<Claim>())?;
    let mut stage = state.stage.lock();
    match &*stage {
        Stage::Free => {}
        Stage::Claimed => return Err(Error::overloaded("the function has another owner")),
        Stage::Resetting(..) => return Err(Error::overloaded("the function is being reset")),
        Stage::Broken(_) => return Err(Error::failed("the function did not answer after its reset")),
    }
    with_configuration(|configuration| state.function.enable_decoding(configuration))?;
    // Last of what can fail: a domain is taken from the IOMMU by the end of a claim alone.
    let isolation = Isolation::new(state.coverage, &state.function, state.index, params.account())?;
    *stage = Stage::Claimed;
    drop(stage);
    state.owner.store(params.caller().process.id, Ordering::Relaxed);
    let claim = Arc::new(Claim {
        state: state.clone(),
        ended: AtomicBool::new(false),
        opened: Lock::new(Opened {
            kind: InterruptKind::None,
            interrupts: Vec::new(),
            registers: Vec::new(),
            memory: Vec::new(),
            isolation: Some(isolation),
        }),
    });
    *state.claim.lock() = Arc::downgrade(&claim);
    Ok(Arc::new(PciFunction { id: super::new_id(), claim, dma: Dma::Allowed, whole: None, _charge: charge }))
}

fn width(bytes: u8) -> Result<Width, Error> {
    match bytes {
        1 => Ok(Width::Byte),
        2 => Ok(Width::Word),
        4 => Ok(Width::Double),
        _ => Err(Error::failed("an access is 1, 2 or 4 bytes wide")),
    }
}

const fn kind_to_schema(kind: InterruptKind) -> device_capnp::InterruptKind {
    match kind {
        InterruptKind::None => device_capnp::InterruptKind::None,
        InterruptKind::Line => device_capnp::InterruptKind::Line,
        InterruptKind::Msi => device_capnp::InterruptKind::Msi,
        InterruptKind::Msix => device_capnp::InterruptKind::Msix,
    }
}

fn write_info(state: &PciFunctionState, mut info: pci_function_info::Builder<'_>) {
    let function = &state.function;
    let mut address = info.reborrow().init_address();
    address.set_segment(function.address.segment());
    address.set_bus(function.address.bus());
    address.set_device(function.address.device());
    address.set_function(function.address.function());
    info.set_vendor(function.vendor);
    info.set_device(function.device);
    info.set_subsystem_vendor(function.subsystem_vendor);
    info.set_subsystem(function.subsystem);
    info.set_class(function.class);
    info.set_revision(function.revision);
    let (kind, count) = function.interrupts();
    info.set_interrupt_kind(kind_to_schema(kind));
    info.set_interrupt_count(count);
    info.set_owner(state.owner.load(Ordering::Relaxed));
    info.set_claimed(state.is_claimed());
    info.set_refused(state.refused.load(Ordering::Relaxed));
    info.set_isolated(matches!(state.coverage, Coverage::Unit(_)));
    let mut bars = info.init_bars(MAXIMUM_BARS as u32);
    for (index, bar) in function.bars.iter().enumerate() {
        let mut entry = bars.reborrow().get(index as u32);
        if bar.state != BarState::Usable {
            continue;
        }
        entry.set_kind(match bar.kind {
            BarKind::None => device_capnp::BarKind::None,
            BarKind::Memory32 => device_capnp::BarKind::Memory32,
            BarKind::Memory64 => device_capnp::BarKind::Memory64,
            BarKind::Io => device_capnp::BarKind::Io,
        });
        entry.set_address(bar.address);
        entry.set_size(bar.size);
        entry.set_prefetchable(bar.prefetch == Prefetch::Allowed);
    }
}

/// Serves `PciInventory`.
pub fn invoke_inventory(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(pci_inventory::Client::TYPE_ID)?;
    let find = |wanted: device_capnp::pci_address::Reader<'_>| {
        let address = PciAddress::new(
            wanted.get_segment(),
            wanted.get_bus(),
            wanted.get_device(),
            wanted.get_function(),
        );
        let found = all().iter().find(|state| Some(state.function.address) == address);
        found.ok_or(Error::failed("there is no such PCI function"))
    };
    match params.method() {
        0 => {
            let start = params.root::<pci_inventory::list_params::Owned>()?.get_start() as usize;
            let rest = all().get(start..).unwrap_or_default();
            let part = rest.get(..INFOS_PER_ANSWER).unwrap_or(rest);
            let mut results = answer.root::<pci_inventory::list_results::Owned>()?;
            let more = rest.len() > part.len();
            results.set_next(if more { (start + part.len()) as u32 } else { 0 });
            let mut list = results.init_functions(part.len() as u32);
            for (index, state) in part.iter().enumerate() {
                write_info(state, list.reborrow().get(index as u32));
            }
            Ok(())
        }
        1 => {
            let state = find(params.root::<pci_inventory::claim_params::Owned>()?.get_address()?)?;
            let function = claim(state, params)?;
            answer.root::<pci_inventory::claim_results::Owned>()?;
            answer.capability(0, Object::PciFunction(function))
        }
        2 => {
            let state = find(params.root::<pci_inventory::revoke_params::Owned>()?.get_address()?)?;
            let claim = state.claim.lock().upgrade();
            if let Some(claim) = claim {
                claim.end();
            }
            answer.root::<pci_inventory::revoke_results::Owned>()?;
            Ok(())
        }
        3 => {
            let Object::Signaller(signaller) = params.capability(0)? else { return Err(Error::WRONG_OBJECT) };
            iommu::tell_refusals(signaller.clone());
            answer.root::<pci_inventory::on_refusal_results::Owned>()?;
            Ok(())
        }
        _ => Err(Error::NO_METHOD),
    }
}

/// Serves `PciFunction`.
pub fn invoke(object: &Arc<PciFunction>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(pci_function::Client::TYPE_ID)?;
    let claim = &object.claim;
    claim.check()?;
    let no_dma = Error::failed("this capability does not allow DMA");
    match params.method() {
        0 => write_info(&claim.state, answer.root::<pci_function::info_results::Owned>()?.init_info()),
        1 => {
            let read = params.root::<pci_function::read_config_params::Owned>()?;
            let (offset, width) = (read.get_offset(), width(read.get_width())?);
            if offset % width.bytes() != 0 || offset >= 4096 {
                return Err(Error::failed("the offset is not aligned or outside configuration space"));
            }
            let value = claim
                .configure(|function, configuration| configuration.read(function.address, offset, width))?;
            answer.root::<pci_function::read_config_results::Owned>()?.set_value(value);
        }
        2 => {
            let find = params.root::<pci_function::capability_params::Owned>()?;
            let (id, start) = (find.get_id(), find.get_start());
            let found = claim.configure(|function, configuration| {
                find_capability(configuration, function.address, id, start)
            })?;
            answer
                .root::<pci_function::capability_results::Owned>()?
                .set_offset(found.map_or(0, |found| found.offset));
        }
        3 => {
            let index = params.root::<pci_function::bar_params::Owned>()?.get_index();
            let registers = DeviceMmio::of_bar(claim, index, params.account())?;
            answer.root::<pci_function::bar_results::Owned>()?;
            answer.capability(0, Object::DeviceMmio(registers))?;
        }
        4 => {
            let index = params.root::<pci_function::ports_params::Owned>()?.get_index();
            let bar = claim.function().bars.get(usize::from(index)).and_then(Bar::ports);
            let (first, count) = bar.ok_or(Error::failed("this BAR is not a usable range of I/O ports"))?;
            let ports = IoPort::of_function(claim, first, count, params.account())?;
            answer.root::<pci_function::ports_results::Owned>()?;
            answer.capability(0, Object::IoPort(ports))?;
        }
        5 => {
            let open = params.root::<pci_function::interrupt_params::Owned>()?;
            let kind = match open.get_kind()? {
                device_capnp::InterruptKind::None => {
                    return Err(Error::failed("no interrupt kind was given"));
                }
                device_capnp::InterruptKind::Line => InterruptKind::Line,
                device_capnp::InterruptKind::Msi => InterruptKind::Msi,
                device_capnp::InterruptKind::Msix => InterruptKind::Msix,
            };
            let interrupt = claim.open_interrupt(kind, open.get_index(), params)?;
            answer.root::<pci_function::interrupt_results::Owned>()?;
            answer.capability(0, Object::Interrupt(interrupt))?;
        }
        6 if object.dma == Dma::Refused => return Err(no_dma),
        6 => {
            let pages = params.root::<pci_function::dma_pool_params::Owned>()?.get_maximum_pages();
            let pool = DmaPool::new(claim, pages, params.account())?;
            answer.root::<pci_function::dma_pool_results::Owned>()?;
            answer.capability(0, Object::DmaPool(pool))?;
        }
        7 => {
            let enabled = params.root::<pci_function::set_bus_master_params::Owned>()?.get_enabled();
            if enabled && object.dma == Dma::Refused {
                return Err(no_dma);
            }
            if enabled {
                claim.dma_mode()?;
            }
            let switch = if enabled { Switch::On } else { Switch::Off };
            claim.configure(|function, configuration| function.set_bus_master(configuration, switch))?;
            answer.root::<pci_function::set_bus_master_results::Owned>()?;
        }
        8 => return Err(Error::unimplemented("a reset takes time: drop the function and claim it again")),
        9 => {
            let charge = Charge::object::<PciFunction>(params.account())?;
            let view = PciFunction {
                id: object.id,
                claim: claim.clone(),
                dma: Dma::Refused,
                whole: Some(object.clone()),
                _charge: charge,
            };
            answer.root::<pci_function::without_dma_results::Owned>()?;
            answer.capability(0, Object::PciFunction(Arc::new(view)))?;
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}
