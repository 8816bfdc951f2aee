//! The machine's IOMMUs: what of a function's DMA and interrupts gets through.
//!
//! ```text
//!   boot: no context entries, no interrupt entries: nothing gets through
//!   claim --isolate--> a domain of the claim's own --map--> pages of its DMA pools
//!   end of the claim --release--> no context entry, caches empty, waited for
//! ```
//!
//! A vector is the index of its entry in the interrupt table, so an entry has one owner as a vector has. Faults are told by
//! [`FAULT_VECTOR`]; after each it is held back for a while that doubles as long as faults go on, which bounds both the
//! interrupts and the lines in the log.

mod faults;
mod tables;

pub use faults::{
    FAULT_VECTOR, dma_faults, event, hold_is_over, interrupt_faults, look, slot, tell_refusals,
};

use crate::arch::{processors, tlb};
use crate::error::Error;
use crate::machine::{IO_APICS, KernelMemory, TABLES};
use crate::memory::PhysicalAddress;
use crate::object::account::Account;
use crate::sync::Lock;
use crate::time;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use platform::acpi::{InterruptRemapping, PlatformTables};
use platform::io_apic::Line;
use platform::local_apic::Mode;
use platform::pci::{Function, InterruptMessage};
use platform::vtd::{
    self, Coverage, Extended, InterruptSource, Interrupts, Route, Table, TableMemory, Unit, UnitError,
};
use platform::{ApicId, Vector};
use spin::Once;
use tables::{ChargedTables, KernelTables};

/// Name of the mode in which functions reach their domains alone.
const ISOLATED: &str = "vt-d";
/// Name of the mode without an IOMMU.
const DIRECT: &str = "direct";
/// Names of what becomes of interrupt messages.
const REMAPPED: &str = "remapped";

/// The units, in the tables' order; `None` for those that cannot be used.
static UNITS: Lock<Vec<Option<Unit<KernelTables>>>> = Lock::new(Vec::new());
static INTERRUPTS: Once<InterruptTable> = Once::new();
static IS_ON: AtomicBool = AtomicBool::new(false);

/// The interrupt remapping table, which all units share.
struct InterruptTable {
    table: Table,
    extended: Extended,
    /// The requester id of each I/O APIC, by its id.
    io_apics: Vec<(u8, InterruptSource)>,
}

/// A function's domain.
pub type Domain = vtd::Domain<ChargedTables>;

/// What of a claimed function's DMA gets through.
pub enum Isolation {
    /// All: no unit is between it and memory.
    Direct,
    /// What its domain holds.
    Domain(Domain),
    /// Nothing: a bridge speaks for it, so that a domain would be its neighbours' too.
    Blocked,
}

/// A function that cannot be told from others.
const SHARED: Error = Error::failed("the IOMMU cannot tell the function from others behind its bridge");
const NOT_ANSWERING: Error = Error::failed("the IOMMU does not answer");

/// Now, for waits that may be for a processor that waits for this one.
fn clock() -> u64 {
    tlb::answer();
    time::now()
}

/// Brings up the units that the tables name, so that no function reaches anything. All are silent at this time.
pub fn init(tables: &PlatformTables, mode: Mode, functions: &[Function]) {
    let remapping = &tables.dma_remapping;
    let mut units = UNITS.lock();
    for description in &remapping.units {
        // SAFETY: the unit belongs to the kernel, which opens each one once.
        let opened = unsafe { Unit::open(description, &KernelMemory, KernelTables, clock) };
        let message = InterruptMessage::new(ApicId(processors::own_id()), Vector(FAULT_VECTOR));
        let enabled = opened.and_then(|mut unit| match message {
            Some(message) => unit.enable(message).map(|()| unit),
            None => Err(UnitError::Timeout),
        });
        if let Err(error) = &enabled {
            log::error!("iommu: the unit at {}: {error}; not used", description.address);
        }
        units.push(enabled.ok());
    }
    let used = units.iter().flatten().count();
    IS_ON.store(used > 0, Ordering::Relaxed);
    if used == 0 {
        log::info!("iommu: none; DMA is direct: a driver that may start it reaches all memory");
        return;
    }
    if remapping.reserved_regions > 0 {
        log::info!(
            "iommu: {} regions that firmware reserves for its devices are not mapped",
            remapping.reserved_regions
        );
    }
    let interrupts = set_up_interrupts(tables, mode, functions, &mut units);
    if let Err(reason) = interrupts {
        log::error!("iommu: interrupts are not remapped: {reason}");
    }
    drop(units);
    let is_isolated = |function: &&Function| matches!(coverage(functions, function), Coverage::Unit(_));
    let covered = functions.iter().filter(is_isolated).count();
    log::info!(
        "iommu: DMA mode {ISOLATED}, {used} units, {covered} of {} functions isolated, interrupts {}",
        functions.len(),
        interrupt_mode(),
    );
}

/// Switches interrupt remapping on, in all units or in none.
fn set_up_interrupts(
    tables: &PlatformTables,
    mode: Mode,
    functions: &[Function],
    units: &mut [Option<Unit<KernelTables>>],
) -> Result<(), &'static str> {
    let remapping = &tables.dma_remapping;
    if remapping.interrupts == InterruptRemapping::Unsupported {
        return Err("firmware does not allow it");
    }
    let all = |able: fn(Interrupts) -> bool| {
        units.iter().all(|unit| unit.as_ref().is_some_and(|unit| able(unit.capability().interrupts)))
    };
    if !all(|able| able != Interrupts::PassedOn) {
        return Err("not all units can");
    }
    let extended = match mode {
        Mode::XApic => Extended::Off,
        Mode::X2Apic if all(|able| able == Interrupts::RemappedExtended) => Extended::On,
        Mode::X2Apic => return Err("not all units know the processors' identifiers"),
    };
    let mut io_apics = Vec::new();
    for io_apic in &tables.io_apics {
        let source = vtd::io_apic_source(remapping, functions, io_apic.id);
        let (_, requester) = source.ok_or("an I/O APIC is behind no unit")?;
        io_apics.push((io_apic.id, InterruptSource(requester)));
    }
    let table = KernelTables.allocate().ok_or("no memory")?;
    for unit in units.iter_mut().flatten() {
        unit.enable_interrupts(table, extended).map_err(|_| "a unit does not answer")?;
    }
    INTERRUPTS.call_once(|| InterruptTable { table, extended, io_apics });
    Ok(())
}

/// The mode of functions that a unit isolates, if there are any.
pub fn mode() -> &'static str {
    if IS_ON.load(Ordering::Relaxed) { ISOLATED } else { DIRECT }
}

/// What becomes of interrupt messages.
pub fn interrupt_mode() -> &'static str {
    if INTERRUPTS.get().is_some() { REMAPPED } else { DIRECT }
}

/// What is between one of the machine's functions and memory.
pub fn coverage(functions: &[Function], function: &Function) -> Coverage {
    let Some(tables) = TABLES.get().filter(|_| IS_ON.load(Ordering::Relaxed)) else {
        return Coverage::Direct;
    };
    let coverage = vtd::coverage(&tables.dma_remapping, functions, function);
    let unit = match coverage {
        Coverage::Direct => return Coverage::Direct,
        Coverage::Unit(unit) | Coverage::Shared(unit) => unit,
    };
    let is_used = UNITS.lock().get(unit).is_some_and(Option::is_some);
    if is_used { coverage } else { Coverage::Direct }
}

fn with_unit<R>(
    index: usize,
    operation: impl FnOnce(&mut Unit<KernelTables>) -> Result<R, UnitError>,
) -> Result<R, Error> {
    let mut units = UNITS.lock();
    let unit = units.get_mut(index).and_then(Option::as_mut).ok_or(NOT_ANSWERING)?;
    operation(unit).map_err(|error| match error {
        UnitError::OutOfMemory => Error::overloaded("no memory for the IOMMU's tables"),
        UnitError::Refused(_) | UnitError::Timeout => NOT_ANSWERING,
    })
}

impl Isolation {
    /// Puts a function that reaches nothing into a new domain, whose tables `account` pays. `index` is the function's place in
    /// the inventory: each has one domain id.
    pub fn new(
        coverage: Coverage,
        function: &Function,
        index: u16,
        account: &Arc<Account>,
    ) -> Result<Self, Error> {
        let unit = match coverage {
            Coverage::Direct => return Ok(Self::Direct),
            Coverage::Shared(_) => return Ok(Self::Blocked),
            Coverage::Unit(unit) => unit,
        };
        let capability = with_unit(unit, |unit| Ok(*unit.capability()))?;
        // Id 0 is the units' own where they cache what is not present. [VT-d-4.1 6.1]
        let id = index + 1;
        if u32::from(id) >= capability.domains {
            return Err(Error::failed("the IOMMU has no domain for the function"));
        }
        let tables = ChargedTables::new(account)?;
        let domain =
            Domain::new(tables, &capability, id).map_err(|error| Error::overloaded(error.reason()))?;
        with_unit(unit, |unit| unit.attach(function.address.requester(), &domain))?;
        Ok(Self::Domain(domain))
    }

    /// Lets the function reach contiguous memory, and says where. The memory must be kept until [`Isolation::release`] is done.
    pub fn map(&mut self, coverage: Coverage, start: PhysicalAddress, pages: u32) -> Result<u64, Error> {
        match self {
            Self::Direct => Ok(start.0),
            Self::Blocked => Err(SHARED),
            Self::Domain(domain) => {
                let bus = domain.map(platform::PhysicalAddress(start.0), pages);
                let bus = bus.map_err(|error| Error::overloaded(error.reason()))?;
                if let Coverage::Unit(unit) = coverage {
                    with_unit(unit, |unit| unit.grown(domain))?;
                }
                Ok(bus.0)
            }
        }
    }

    /// Takes everything from the function, and waits until nothing is remembered of it. On an error its memory must stay out of
    /// use for ever.
    pub fn release(&self, coverage: Coverage, function: &Function) -> Result<(), Error> {
        match (self, coverage) {
            (Self::Domain(domain), Coverage::Unit(unit)) => {
                with_unit(unit, |unit| unit.detach(function.address.requester(), domain))
            }
            _ => Ok(()),
        }
    }

    /// Errors when the function cannot start DMA at all.
    pub const fn check(&self) -> Result<(), Error> {
        match self {
            Self::Blocked => Err(SHARED),
            Self::Direct | Self::Domain(_) => Ok(()),
        }
    }

    /// The mode's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Direct => DIRECT,
            Self::Domain(_) | Self::Blocked => ISOLATED,
        }
    }
}

impl InterruptTable {
    fn write(&self, index: u8, entry: [u64; 2]) -> Result<(), Error> {
        let place = usize::from(index) * 2;
        let [low, high] = entry;
        let mut units = UNITS.lock();
        let mut memory = KernelTables;
        // The first word says whether the entry is there: last when it comes, first when it goes.
        memory.write(self.table, place, 0);
        memory.write(self.table, place + 1, high);
        memory.write(self.table, place, low);
        for unit in units.iter_mut().flatten() {
            unit.interrupt_changed(index).map_err(|_| NOT_ANSWERING)?;
        }
        Ok(())
    }
}

/// The message by which a function raises a vector on a processor, and no other function does.
pub fn message_route(
    function: &Function,
    coverage: Coverage,
    route: Route,
) -> Result<InterruptMessage, Error> {
    let Some(interrupts) = INTERRUPTS.get() else {
        return InterruptMessage::new(route.destination, route.vector)
            .ok_or(Error::failed("no processor can take message interrupts"));
    };
    if let Coverage::Shared(_) = coverage {
        return Err(SHARED);
    }
    let source = InterruptSource(function.address.requester());
    interrupts.write(route.vector.0, vtd::interrupt_entry(source, route, interrupts.extended))?;
    Ok(InterruptMessage::remapped(u16::from(route.vector.0)))
}

/// Directs an I/O APIC's line to a vector on a processor, and masks it.
pub fn line_route(line: Line, vector: u8, destination: ApicId) -> Result<(), Error> {
    let no_line = Error::failed("no I/O APIC has this line");
    let route = Route { destination, vector: Vector(vector), trigger: line.trigger };
    let Some(interrupts) = INTERRUPTS.get() else {
        return IO_APICS.lock().set(line, route.vector, destination).map_err(|_| no_line);
    };
    let id = IO_APICS.lock().unit_id(line.gsi).ok_or(no_line)?;
    let source = interrupts.io_apics.iter().find(|(known, _)| *known == id).map(|(_, source)| *source);
    let source = source.ok_or(no_line)?;
    interrupts.write(vector, vtd::interrupt_entry(source, route, interrupts.extended))?;
    IO_APICS.lock().set_remapped(line, route.vector, u16::from(vector)).map_err(|_| no_line)
}

/// Takes a vector from whoever raised it.
pub fn end_route(vector: u8) {
    if let Some(interrupts) = INTERRUPTS.get()
        && let Err(error) = interrupts.write(vector, [0; 2])
    {
        log::error!("iommu: vector {vector} cannot be taken back: {}", error.reason);
    }
}
