//! The local APIC of the running processor, in xAPIC or x2APIC mode. [SDM vol. 3A, chapter 11]

mod command;
#[cfg(test)]
mod tests;

use core::arch::asm;

use crate::acpi::LocalInput;
use crate::address::{ApicId, PhysicalAddress, PhysicalMemory, Vector};
use crate::processor::{Features, ProcessorInfo};
use crate::registers::Registers;
use command::Command;

/// Which registers the local APIC is used through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Memory-mapped registers, 8-bit identifiers.
    XApic,
    /// Model-specific registers, 32-bit identifiers.
    X2Apic,
}

/// How the timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerMode {
    /// Once, after a count at [`TIMER_DIVIDER`] bus clocks each.
    OneShot,
    /// Once, when the time stamp counter reaches a value.
    TscDeadline,
}

/// Why the local APIC cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalApicError {
    /// The processor has none.
    Absent,
    /// Its registers could not be mapped.
    NotMapped(PhysicalAddress),
}

/// Bus clocks for each count of the timer.
pub const TIMER_DIVIDER: u64 = 1;

/// The local APIC of whichever processor executes a method; one value serves all processors.
///
/// Every method affects the running processor only, or the processors that it names. None waits longer than
/// a bounded number of polls.
#[derive(Clone, Copy, Debug)]
pub struct LocalApic {
    access: Access,
}

#[derive(Clone, Copy, Debug)]
enum Access {
    Memory(Registers),
    ModelSpecific,
}

/// Registers by their index in units of 16 bytes, which is also their number after [`X2APIC_BASE`]. [SDM table 11-6]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Register {
    Id = 0x02,
    TaskPriority = 0x08,
    EndOfInterrupt = 0x0b,
    SpuriousVector = 0x0f,
    ErrorStatus = 0x28,
    CommandLow = 0x30,
    CommandHigh = 0x31,
    TimerEntry = 0x32,
    ThermalEntry = 0x33,
    PerformanceEntry = 0x34,
    Lint0Entry = 0x35,
    Lint1Entry = 0x36,
    ErrorEntry = 0x37,
    TimerInitialCount = 0x38,
    TimerCurrentCount = 0x39,
    TimerDivide = 0x3e,
    Version = 0x03,
}

const IA32_APIC_BASE: u32 = 0x1b;
const IA32_TSC_DEADLINE: u32 = 0x6e0;
const X2APIC_BASE: u32 = 0x800;
const BASE_X2APIC_ENABLE: u64 = 1 << 10;
const BASE_GLOBAL_ENABLE: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const ENTRY_MASKED: u32 = 1 << 16;
const ENTRY_NMI: u32 = 0b100 << 8;
const ENTRY_TSC_DEADLINE: u32 = 0b10 << 17;
const DIVIDE_BY_1: u32 = 0b1011;
const REGISTER_WINDOW: usize = 4096;
/// Polls of the delivery status before an interprocessor interrupt is counted as stuck. The bus accepts one in less than a
/// microsecond.
const DELIVERY_POLLS: u32 = 100_000;

impl LocalApic {
    /// Chooses x2APIC mode where the processor offers it (or firmware left it on), else xAPIC mode with its registers at
    /// the address of the processor's base register. [`LocalApic::enable`] must follow on each processor.
    ///
    /// # Safety
    /// The processor runs in ring 0, and nothing else uses the local APIC.
    pub unsafe fn new(
        processor: &ProcessorInfo,
        memory: &impl PhysicalMemory,
    ) -> Result<Self, LocalApicError> {
        if !processor.features.contains(Features::LOCAL_APIC) {
            return Err(LocalApicError::Absent);
        }
        // SAFETY: a processor with a local APIC has this register.
        let base = unsafe { read_msr(IA32_APIC_BASE) };
        if processor.features.contains(Features::X2APIC) || base & BASE_X2APIC_ENABLE != 0 {
            return Ok(Self { access: Access::ModelSpecific });
        }
        let address = PhysicalAddress(base & BASE_ADDRESS);
        let pointer = memory.map_mmio(address, REGISTER_WINDOW).ok_or(LocalApicError::NotMapped(address))?;
        // SAFETY: the kernel mapped the page for ever, and it holds the local APIC's registers.
        Ok(Self { access: Access::Memory(unsafe { Registers::new(pointer, REGISTER_WINDOW) }) })
    }

    /// The mode in use.
    pub const fn mode(&self) -> Mode {
        match self.access {
            Access::Memory(_) => Mode::XApic,
            Access::ModelSpecific => Mode::X2Apic,
        }
    }

    /// Switches the running processor's local APIC on: every local source masked, all priorities accepted, spurious
    /// interrupts sent to `spurious`. Non-maskable interrupts come from other processors only, until
    /// [`Self::accept_nmi`].
    pub fn enable(&self, spurious: Vector) {
        // SAFETY: `new` found the register; the address in it is left as it is.
        let base = unsafe { read_msr(IA32_APIC_BASE) };
        let enable = match self.access {
            Access::Memory(_) => BASE_GLOBAL_ENABLE,
            Access::ModelSpecific => BASE_GLOBAL_ENABLE | BASE_X2APIC_ENABLE,
        };
        if base & enable != enable {
            // From disabled, x2APIC mode is entered by way of xAPIC mode. [SDM 11.12.1]
            // SAFETY: only enable bits change, in an order that the processor allows.
            unsafe {
                write_msr(IA32_APIC_BASE, base | BASE_GLOBAL_ENABLE);
                write_msr(IA32_APIC_BASE, base | enable);
            }
        }
        self.write(Register::SpuriousVector, SOFTWARE_ENABLE | u32::from(spurious.0));
        for entry in [Register::TimerEntry, Register::Lint0Entry, Register::Lint1Entry, Register::ErrorEntry]
        {
            self.write(entry, ENTRY_MASKED);
        }
        // Entries past the count in the version register do not exist. [SDM 11.4.8]
        let last_entry = self.read(Register::Version) >> 16 & 0xff;
        if last_entry >= 4 {
            self.write(Register::PerformanceEntry, ENTRY_MASKED);
        }
        if last_entry >= 5 {
            self.write(Register::ThermalEntry, ENTRY_MASKED);
        }
        self.write(Register::TimerDivide, DIVIDE_BY_1);
        self.write(Register::TimerInitialCount, 0);
        self.write(Register::ErrorStatus, 0);
        self.write(Register::TaskPriority, 0);
    }

    /// Lets non-maskable interrupts in by an input of the running processor's local APIC. [SDM 3, 11.5.1]
    pub fn accept_nmi(&self, input: LocalInput) {
        let entry = match input {
            LocalInput::Lint0 => Register::Lint0Entry,
            LocalInput::Lint1 => Register::Lint1Entry,
        };
        self.write(entry, ENTRY_NMI);
    }

    /// The running processor's identifier.
    pub fn id(&self) -> ApicId {
        let raw = self.read(Register::Id);
        ApicId(match self.access {
            Access::Memory(_) => raw >> 24,
            Access::ModelSpecific => raw,
        })
    }

    /// Ends the interrupt in service, so that the next may come.
    #[inline]
    pub fn end_of_interrupt(&self) {
        self.write(Register::EndOfInterrupt, 0);
    }

    /// Whether interprocessor interrupts can name a processor.
    pub const fn reaches(&self, target: ApicId) -> bool {
        match self.access {
            Access::Memory(_) => target.0 < 0xff,
            Access::ModelSpecific => target.0 != u32::MAX,
        }
    }

    /// Interrupts one processor with `vector`.
    pub fn send_interrupt(&self, target: ApicId, vector: Vector) {
        self.send(Command::fixed(target, vector));
    }

    /// Sends a non-maskable interrupt to every other processor, to stop them.
    pub fn send_nmi_to_others(&self) {
        self.send(Command::nmi_to_others());
    }

    /// Puts a processor into its wait-for-start-up state.
    pub(crate) fn send_init(&self, target: ApicId) {
        self.send(Command::init(target));
        // The de-assert is for the discrete 82489DX and for old steppings; later ones ignore it. [SDM 11.6.1]
        self.send(Command::init_deassert(target));
    }

    /// Starts a waiting processor in real mode at `page` * 4096.
    pub(crate) fn send_startup(&self, target: ApicId, page: u8) {
        self.send(Command::startup(target, page));
    }

    /// Chooses how the timer fires and the vector it fires; stops it.
    pub fn set_up_timer(&self, mode: TimerMode, vector: Vector) {
        self.stop_timer();
        let mode_bits = match mode {
            TimerMode::OneShot => 0,
            TimerMode::TscDeadline => ENTRY_TSC_DEADLINE,
        };
        self.write(Register::TimerEntry, mode_bits | u32::from(vector.0));
        if mode == TimerMode::TscDeadline && matches!(self.access, Access::Memory(_)) {
            // The write to memory must arrive before the deadline is written to its MSR. [SDM 11.5.4.1]
            // SAFETY: a fence has no other effect.
            unsafe { asm!("mfence", options(nostack, preserves_flags)) }
        }
    }

    /// Fires once after `count` * [`TIMER_DIVIDER`] timer clocks, in one-shot mode; 0 stops the timer.
    #[inline]
    pub fn start_timer(&self, count: u32) {
        self.write(Register::TimerInitialCount, count);
    }

    /// Fires once when the time stamp counter reaches `time_stamp`, at once when it has; 0 stops the timer. Only in deadline
    /// mode.
    #[inline]
    pub fn set_timer_deadline(&self, time_stamp: u64) {
        // SAFETY: `TimerMode::TscDeadline` is set up only where the processor has the register.
        unsafe { write_msr(IA32_TSC_DEADLINE, time_stamp) }
    }

    /// Stops the timer of one-shot mode.
    pub fn stop_timer(&self) {
        self.write(Register::TimerInitialCount, 0);
    }

    /// Counts left until the timer fires in one-shot mode.
    pub fn timer_count(&self) -> u32 {
        self.read(Register::TimerCurrentCount)
    }

    /// Lets the timer count without firing, for measuring its rate.
    pub(crate) fn start_silent_timer(&self, count: u32) {
        self.write(Register::TimerEntry, ENTRY_MASKED);
        self.write(Register::TimerDivide, DIVIDE_BY_1);
        self.write(Register::TimerInitialCount, count);
    }

    fn send(&self, command: Command) {
        match self.access {
            Access::Memory(_) => {
                let Some((high, low)) = command.for_xapic() else {
                    log::error!("local APIC: {command:?} needs x2APIC mode, not sent");
                    return;
                };
                if !self.wait_until_delivered() {
                    log::error!("local APIC: the last interprocessor interrupt is stuck");
                }
                self.write(Register::CommandHigh, high);
                self.write(Register::CommandLow, low);
            }
            Access::ModelSpecific => {
                // Unlike a write to memory, one to these MSRs may pass earlier stores: what the target will
                // read must be visible first. [SDM 11.12.3]
                // SAFETY: fences have no other effect; the processor is in x2APIC mode.
                unsafe {
                    asm!("mfence", "lfence", options(nostack, preserves_flags));
                    write_msr(X2APIC_BASE + Register::CommandLow as u32, command.for_x2apic());
                }
            }
        }
    }

    fn wait_until_delivered(&self) -> bool {
        (0..DELIVERY_POLLS).any(|_| {
            let pending = command::is_pending(self.read(Register::CommandLow));
            if pending {
                core::hint::spin_loop();
            }
            !pending
        })
    }

    #[inline]
    fn read(&self, register: Register) -> u32 {
        match self.access {
            Access::Memory(registers) => registers.read_u32(register as usize * 16),
            // SAFETY: the processor is in x2APIC mode and has this register; the upper half is zero.
            Access::ModelSpecific => unsafe { read_msr(X2APIC_BASE + register as u32) as u32 },
        }
    }

    #[inline]
    fn write(&self, register: Register, value: u32) {
        match self.access {
            Access::Memory(registers) => registers.write_u32(register as usize * 16, value),
            // SAFETY: the processor is in x2APIC mode and has this register; every value that this module writes is legal for it.
            Access::ModelSpecific => unsafe { write_msr(X2APIC_BASE + register as u32, u64::from(value)) },
        }
    }
}

/// Reads a model-specific register.
///
/// # Safety
/// The processor runs in ring 0 and has the register.
unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor runs in ring 0, has the register and allows the value, which breaks nothing.
unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}
