//! One remapping unit: bringing it up, and its tables, queue and fault records. [VT-d-4.1 11]

use core::fmt;

use super::capability::{Caching, Capability, ProtectedMemory, Refusal};
use super::domain::Domain;
use super::fault::{self, Fault};
use super::interrupt::Extended;
use super::invalidation::{self, INTERRUPT_ENTRIES, Invalidation};
use super::tables::{ENTRIES, Table, TableMemory};
use crate::acpi::UnitDescription;
use crate::address::{PhysicalAddress, PhysicalMemory};
use crate::pci::InterruptMessage;
use crate::registers::Registers;

/// Nanoseconds since some time. Called over and over while a unit is waited for.
pub type Clock = fn() -> u64;

/// Nanoseconds that a unit gets for each command; real ones take some microseconds.
const PATIENCE: u64 = 100_000_000;

/// Bytes of registers that are mapped.
const WINDOW: usize = 4096;

/// Offsets of registers. [VT-d-4.1 11.4]
mod register {
    pub(super) const CAPABILITY: usize = 0x08;
    pub(super) const EXTENDED_CAPABILITY: usize = 0x10;
    pub(super) const COMMAND: usize = 0x18;
    pub(super) const STATUS: usize = 0x1c;
    pub(super) const ROOT_TABLE: usize = 0x20;
    pub(super) const FAULT_STATUS: usize = 0x34;
    pub(super) const FAULT_CONTROL: usize = 0x38;
    pub(super) const FAULT_DATA: usize = 0x3c;
    pub(super) const FAULT_ADDRESS: usize = 0x40;
    pub(super) const FAULT_UPPER_ADDRESS: usize = 0x44;
    pub(super) const PROTECTED_MEMORY: usize = 0x64;
    pub(super) const QUEUE_TAIL: usize = 0x88;
    pub(super) const QUEUE_ADDRESS: usize = 0x90;
    pub(super) const INTERRUPT_TABLE: usize = 0xb8;
}

/// Bits of the command register, and of the status register in the same places. [VT-d-4.1 11.4.4]
mod command {
    pub(super) const TRANSLATE: u32 = 1 << 31;
    pub(super) const SET_ROOT: u32 = 1 << 30;
    pub(super) const QUEUE: u32 = 1 << 26;
    pub(super) const REMAP_INTERRUPTS: u32 = 1 << 25;
    pub(super) const SET_INTERRUPT_TABLE: u32 = 1 << 24;
    /// Those that stay on; the others are done once.
    pub(super) const LASTING: u32 = TRANSLATE | 1 << 28 | QUEUE | REMAP_INTERRUPTS;
}

/// Bits of the fault status register. [VT-d-4.1 11.4.9]
const FAULT_OVERFLOW: u32 = 1 << 0;
/// The errors of the invalidation queue: of the queue, of a completion, of a time-out.
const QUEUE_ERRORS: u32 = 0b111 << 4;
/// The fault event is held back.
const FAULT_MASKED: u32 = 1 << 31;

const PROTECTED_ENABLE: u32 = 1 << 31;
const PROTECTED_STATUS: u32 = 1 << 0;

/// Bits of root and context entries.
const PRESENT: u64 = 1 << 0;
const ENTRY_ADDRESS: u64 = !0xfff;

/// Why a unit does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// It cannot be used.
    Refused(Refusal),
    /// There is no memory for its tables.
    OutOfMemory,
    /// It did not answer in time, now or before.
    Timeout,
}

impl fmt::Display for UnitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(formatter),
            Self::OutOfMemory => formatter.write_str("no memory for its tables"),
            Self::Timeout => formatter.write_str("it does not answer in time"),
        }
    }
}

/// Whether a unit has kept its deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Working,
    /// Nothing is known of its caches any more.
    Failed,
}

/// A remapping unit in use.
#[derive(Debug)]
pub struct Unit<M: TableMemory> {
    registers: Registers,
    capability: Capability,
    memory: M,
    clock: Clock,
    state: State,
    root: Table,
    queue: Table,
    /// Its first word is where wait descriptors write.
    status: Table,
    tail: usize,
    sequence: u32,
}

impl<M: TableMemory> Unit<M> {
    /// Opens a unit, without changing what it does.
    ///
    /// # Safety
    /// Nothing else uses it.
    pub unsafe fn open(
        description: &UnitDescription,
        space: &impl PhysicalMemory,
        mut memory: M,
        clock: Clock,
    ) -> Result<Self, UnitError> {
        let absent = UnitError::Refused(Refusal::Absent);
        let base = space.map_mmio(description.address, WINDOW).ok_or(absent)?;
        // SAFETY: the kernel mapped the registers for ever; no RAM is there.
        let registers = unsafe { Registers::new(base, WINDOW) };
        let capability = registers.read_u64(register::CAPABILITY);
        let extended = registers.read_u64(register::EXTENDED_CAPABILITY);
        let capability = Capability::decode(capability, extended, WINDOW).map_err(UnitError::Refused)?;
        let mut table = || memory.allocate().ok_or(UnitError::OutOfMemory);
        let (root, queue, status) = (table()?, table()?, table()?);
        let (state, tail, sequence) = (State::Working, 0, 0);
        Ok(Self { registers, capability, memory, clock, state, root, queue, status, tail, sequence })
    }

    /// What the unit can do.
    pub const fn capability(&self) -> &Capability {
        &self.capability
    }

    /// Switches translation on, with nothing that any function reaches, and lets faults be told by a message.
    pub fn enable(&mut self, faults: InterruptMessage) -> Result<(), UnitError> {
        // Firmware may have left it on, with tables of its own.
        for left in [command::TRANSLATE, command::REMAP_INTERRUPTS, command::QUEUE] {
            if self.registers.read_u32(register::STATUS) & left != 0 {
                self.command(left, 0)?;
            }
        }
        self.registers.write_u64(register::ROOT_TABLE, self.root.address().0);
        self.command(command::SET_ROOT, command::SET_ROOT)?;
        self.registers.write_u64(register::QUEUE_TAIL, 0);
        self.registers.write_u64(register::QUEUE_ADDRESS, self.queue.address().0);
        self.command(command::QUEUE, command::QUEUE)?;
        self.invalidate(&[Invalidation::Contexts, Invalidation::Translations])?;
        self.take_faults(|_| {});
        self.registers.write_u32(register::FAULT_DATA, faults.data());
        self.registers.write_u32(register::FAULT_ADDRESS, faults.address());
        self.registers.write_u32(register::FAULT_UPPER_ADDRESS, 0);
        self.registers.write_u32(register::FAULT_CONTROL, 0);
        self.command(command::TRANSLATE, command::TRANSLATE)?;
        if self.capability.protected_memory == ProtectedMemory::Present {
            let before = self.registers.read_u32(register::PROTECTED_MEMORY);
            self.registers.write_u32(register::PROTECTED_MEMORY, before & !PROTECTED_ENABLE);
            self.wait(|unit| unit.registers.read_u32(register::PROTECTED_MEMORY) & PROTECTED_STATUS == 0)?;
        }
        Ok(())
    }

    /// Switches interrupt remapping on. The table has an entry of two words for each of 256 vectors. Messages of the old
    /// format are refused from then on. [VT-d-4.1 5.1.4]
    pub fn enable_interrupts(&mut self, table: Table, extended: Extended) -> Result<(), UnitError> {
        let value = table.address().0 | invalidation::interrupt_table_bits(extended);
        self.registers.write_u64(register::INTERRUPT_TABLE, value);
        self.command(command::SET_INTERRUPT_TABLE, command::SET_INTERRUPT_TABLE)?;
        self.invalidate(&[Invalidation::Interrupts])?;
        self.command(command::REMAP_INTERRUPTS, command::REMAP_INTERRUPTS)
    }

    /// Lets a function reach what its domain holds, and nothing else. It reached nothing before, and is no bus master yet.
    pub fn attach(&mut self, requester: u16, domain: &Domain<impl TableMemory>) -> Result<(), UnitError> {
        let place = self.context(requester)?;
        let high = domain.levels().address_width() | u64::from(domain.id()) << 8;
        self.memory.write(place.table, place.index + 1, high);
        // Requests without an address space id are translated by the second-level tables: type 0. [VT-d-4.1 9.3]
        self.memory.write(place.table, place.index, domain.top().address().0 | PRESENT);
        let told = match self.capability.caching {
            Caching::OnlyPresent => Ok(()),
            Caching::All => self.invalidate(&[Invalidation::Contexts, Invalidation::Translations]),
        };
        if told.is_err() {
            // The domain will be dropped.
            self.memory.write(place.table, place.index, 0);
        }
        told
    }

    /// Takes everything from a function. When it returns without an error, nothing of the domain is reached any more.
    pub fn detach(&mut self, requester: u16, domain: &Domain<impl TableMemory>) -> Result<(), UnitError> {
        let place = self.context(requester)?;
        self.memory.write(place.table, place.index, 0);
        self.memory.write(place.table, place.index + 1, 0);
        let id = domain.id();
        self.invalidate(&[Invalidation::ContextsOf(id), Invalidation::TranslationsOf(id)])
    }

    /// To be called after a domain has grown.
    pub fn grown(&mut self, domain: &Domain<impl TableMemory>) -> Result<(), UnitError> {
        match self.capability.caching {
            Caching::OnlyPresent => Ok(()),
            Caching::All => self.invalidate(&[Invalidation::TranslationsOf(domain.id())]),
        }
    }

    /// To be called after an entry of the interrupt table was changed.
    pub fn interrupt_changed(&mut self, index: u8) -> Result<(), UnitError> {
        const { assert!(INTERRUPT_ENTRIES as usize * 2 == ENTRIES, "an entry has two words") };
        self.invalidate(&[Invalidation::Interrupt(u16::from(index))])
    }

    /// Takes the recorded faults, and makes room for more. Says whether some were lost for want of room.
    pub fn take_faults(&mut self, mut each: impl FnMut(Fault)) -> Completeness {
        for record in 0..self.capability.fault_records {
            let offset = self.capability.fault_offset + record * 16;
            let (low, high) = (self.registers.read_u64(offset), self.registers.read_u64(offset + 8));
            if let Some(fault) = Fault::decode(low, high) {
                each(fault);
                self.registers.write_u32(offset + 12, (fault::VALID >> 32) as u32);
            }
        }
        if self.registers.read_u32(register::FAULT_STATUS) & FAULT_OVERFLOW == 0 {
            return Completeness::All;
        }
        self.registers.write_u32(register::FAULT_STATUS, FAULT_OVERFLOW);
        Completeness::SomeLost
    }

    /// Holds the message about faults back; one that is due meanwhile comes with [`Unit::tell_faults`].
    pub fn hold_faults(&mut self) {
        self.registers.write_u32(register::FAULT_CONTROL, FAULT_MASKED);
    }

    /// Lets the message about faults through.
    pub fn tell_faults(&mut self) {
        self.registers.write_u32(register::FAULT_CONTROL, 0);
    }

    /// Sets one bit of the command register to what `value` has there, and waits until the status says the same. A bit that is done once
    /// shows as 1 when it is done.
    fn command(&mut self, bit: u32, value: u32) -> Result<(), UnitError> {
        let lasting = self.registers.read_u32(register::STATUS) & command::LASTING;
        self.registers.write_u32(register::COMMAND, lasting & !bit | value);
        self.wait(|unit| unit.registers.read_u32(register::STATUS) & bit == value)
    }

    /// The place of a function's context entry.
    fn context(&mut self, requester: u16) -> Result<Place, UnitError> {
        let (bus, function) = (usize::from(requester >> 8), usize::from(requester & 0xff));
        let entry = self.memory.read(self.root, bus * 2);
        let table = if entry & PRESENT != 0 {
            // SAFETY: root entries are written below alone, and name tables that belong to this unit for ever.
            unsafe { Table::new(PhysicalAddress(entry & ENTRY_ADDRESS)) }
        } else {
            let table = self.memory.allocate().ok_or(UnitError::OutOfMemory)?;
            self.memory.write(self.root, bus * 2, table.address().0 | PRESENT);
            table
        };
        Ok(Place { table, index: function * 2 })
    }

    /// Makes caches forget, and waits until they have.
    fn invalidate(&mut self, what: &[Invalidation]) -> Result<(), UnitError> {
        for invalidation in what {
            self.push(invalidation.descriptor(self.capability.drain));
        }
        // Never 0, which is what the word is at first.
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let sequence = self.sequence;
        self.push(invalidation::wait(sequence, self.status.address().0));
        self.registers.write_u64(register::QUEUE_TAIL, (self.tail as u64) << 4);
        // The word's upper half stays 0.
        self.wait(|unit| unit.memory.read(unit.status, 0) == u64::from(sequence))
    }

    /// Puts a descriptor into the queue. There is room: the unit has read all that came before the last wait.
    fn push(&mut self, descriptor: [u64; 2]) {
        for (word, value) in descriptor.into_iter().enumerate() {
            self.memory.write(self.queue, self.tail * 2 + word, value);
        }
        self.tail = (self.tail + 1) % (ENTRIES / 2);
    }

    fn wait(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), UnitError> {
        let start = (self.clock)();
        while self.state == State::Working {
            if is_done(self) {
                return Ok(());
            }
            let queue_stopped = self.registers.read_u32(register::FAULT_STATUS) & QUEUE_ERRORS != 0;
            if queue_stopped || (self.clock)().wrapping_sub(start) > PATIENCE {
                self.state = State::Failed;
            }
            core::hint::spin_loop();
        }
        Err(UnitError::Timeout)
    }
}

/// Where a context entry is: its first word.
struct Place {
    table: Table,
    index: usize,
}

/// Whether all faults were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// They were.
    All,
    /// There was no room for some.
    SomeLost,
}
