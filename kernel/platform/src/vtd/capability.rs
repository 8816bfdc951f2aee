//! What a unit can do: its capability registers. [VT-d-4.1 11.4.2, 11.4.3]

use core::fmt;

use super::tables::Levels;

/// Why a unit is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing answers at its address.
    Absent,
    /// It needs write buffers flushed by hand, as chipsets before 2010 do.
    WriteBuffers,
    /// It walks neither three nor four levels of tables.
    Levels,
    /// It has no invalidation queue.
    NoQueue,
    /// Its fault registers are outside of its register window.
    FaultRegisters,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "it does not answer",
            Self::WriteBuffers => "it needs write buffers flushed by hand",
            Self::Levels => "it walks neither three nor four levels of tables",
            Self::NoQueue => "it has no invalidation queue",
            Self::FaultRegisters => "its fault registers are out of reach",
        })
    }
}

/// The parts of the two capability registers that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Levels of second-level tables.
    pub levels: Levels,
    /// Bits of a bus address.
    pub address_bits: u8,
    /// Domain ids: those below.
    pub domains: u32,
    /// Where the fault recording registers are.
    pub fault_offset: usize,
    /// Number of fault recording registers.
    pub fault_records: usize,
    /// Whether entries that were not present are cached, as virtual machines' units say.
    pub caching: Caching,
    /// Bits of an IOTLB invalidation that let reads and writes on their way finish first, as far as the unit has them.
    pub drain: u64,
    /// Whether there are protected memory regions that firmware may have switched on.
    pub protected_memory: ProtectedMemory,
    /// Whether it remaps interrupts.
    pub interrupts: Interrupts,
}

/// Whether a unit remembers entries that were not present. [VT-d-4.1 6.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// It does not: what becomes present needs no invalidation.
    OnlyPresent,
    /// It may.
    All,
}

/// Whether a unit has protected memory regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectedMemory {
    /// It has none.
    Absent,
    /// It has.
    Present,
}

/// What a unit can do with interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// Nothing.
    PassedOn,
    /// It remaps them to processors with 8-bit identifiers.
    Remapped,
    /// It remaps them to all processors.
    RemappedExtended,
}

/// Bits of an IOTLB invalidation descriptor. [VT-d-4.1 6.5.2.3]
const DRAIN_WRITES: u64 = 1 << 6;
const DRAIN_READS: u64 = 1 << 7;

const fn field(register: u64, first: u32, bits: u32) -> u64 {
    register >> first & ((1 << bits) - 1)
}

impl Capability {
    /// Decodes the two registers of a unit whose window has `window` bytes.
    pub fn decode(capability: u64, extended: u64, window: usize) -> Result<Self, Refusal> {
        if capability == u64::MAX || capability == 0 {
            return Err(Refusal::Absent);
        }
        if field(capability, 4, 1) != 0 {
            return Err(Refusal::WriteBuffers);
        }
        if field(extended, 1, 1) == 0 {
            return Err(Refusal::NoQueue);
        }
        // Four levels cover more, three take fewer accesses: DMA memory is below 4 GiB, so three are enough.
        let supported = field(capability, 8, 5);
        let levels = match supported {
            _ if supported & 0b00010 != 0 => Levels::Three,
            _ if supported & 0b00100 != 0 => Levels::Four,
            _ => return Err(Refusal::Levels),
        };
        // The fields below have at most 10 bits, and the address width 6, so nothing is cut off.
        let fault_offset = field(capability, 24, 10) as usize * 16;
        let fault_records = field(capability, 40, 8) as usize + 1;
        if fault_offset + fault_records * 16 > window {
            return Err(Refusal::FaultRegisters);
        }
        let mut drain = 0;
        if field(capability, 54, 1) != 0 {
            drain |= DRAIN_WRITES;
        }
        if field(capability, 55, 1) != 0 {
            drain |= DRAIN_READS;
        }
        Ok(Self {
            levels,
            address_bits: (field(capability, 16, 6) as u8 + 1).min(levels.address_bits()),
            domains: 1 << (4 + 2 * field(capability, 0, 3)).min(16),
            fault_offset,
            fault_records,
            caching: if field(capability, 7, 1) != 0 { Caching::All } else { Caching::OnlyPresent },
            drain,
            protected_memory: match field(capability, 5, 2) {
                0 => ProtectedMemory::Absent,
                _ => ProtectedMemory::Present,
            },
            interrupts: match (field(extended, 3, 1), field(extended, 4, 1)) {
                (0, _) => Interrupts::PassedOn,
                (_, 0) => Interrupts::Remapped,
                _ => Interrupts::RemappedExtended,
            },
        })
    }
}
