//! Restarting the machine and switching it off.

use core::arch::asm;
use core::time::Duration;

use crate::acpi::{PlatformTables, RegisterLocation, ResetRegister, SoftOff};
use crate::address::PhysicalMemory;
use crate::ports;
use crate::registers::Registers;

/// What the machine offers, kept for when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct PowerControl {
    reset: Option<ResetRegister>,
    reset_memory: Option<Registers>,
    soft_off: Option<SoftOff>,
}

const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u32 = 10;
const SLEEP_TYPE_MASK: u16 = 0b111 << SLEEP_TYPE_SHIFT;

/// How long one way to restart is given before the next is tried.
const RESET_PATIENCE: Duration = Duration::from_millis(50);
/// How long the machine may take to go off. Hypervisors do it some time after the write.
const OFF_PATIENCE: Duration = Duration::from_secs(1);

impl PowerControl {
    /// Knows of no register; only what every PC has is tried.
    pub const fn unknown() -> Self {
        Self { reset: None, reset_memory: None, soft_off: None }
    }

    /// Takes over what the tables say, mapping the reset register where it is in memory.
    pub fn new(tables: &PlatformTables, memory: &impl PhysicalMemory) -> Self {
        let reset_memory = match tables.reset.map(|reset| reset.location) {
            Some(RegisterLocation::Memory(address)) => memory.map_mmio(address, 1).map(|base| {
                // SAFETY: the kernel mapped the register for ever, and `acpi` checked that it is not RAM.
                unsafe { Registers::new(base, 1) }
            }),
            _ => None,
        };
        Self { reset: tables.reset, reset_memory, soft_off: tables.soft_off }
    }

    /// Whether the machine can be switched off.
    pub const fn can_power_off(&self) -> bool {
        self.soft_off.is_some()
    }

    /// Restarts the machine: by the register of the FADT, the chip set's reset register, the keyboard controller, and at
    /// last a triple fault.
    ///
    /// # Safety
    /// The processor runs in ring 0, no other processor runs, and the system's state may be lost.
    pub unsafe fn reboot(&self) -> ! {
        const CHIP_SET_RESET: u16 = 0xcf9;
        const KEYBOARD_COMMAND: u16 = 0x64;
        const PULSE_RESET: u8 = 0xfe;
        // SAFETY: losing the system's state is what the caller asked for; a port that nobody listens at does nothing.
        unsafe {
            asm!("cli", options(nomem, nostack));
            self.write_reset_register();
            wait(RESET_PATIENCE);
            ports::write_u8(CHIP_SET_RESET, 0x02); // choose a hard reset
            ports::write_u8(CHIP_SET_RESET, 0x06); // do it
            wait(RESET_PATIENCE);
            ports::write_u8(KEYBOARD_COMMAND, PULSE_RESET);
            wait(RESET_PATIENCE);
            // An exception without any descriptor table cannot be delivered, nor the double fault that follows.
            let empty = [0u16; 5];
            asm!("lidt [{}]", "int3", in(reg) &empty, options(readonly, nostack));
        }
        stop()
    }

    /// Switches the machine off. Returns when it has no such register, or when that did nothing.
    ///
    /// # Safety
    /// As for [`PowerControl::reboot`].
    pub unsafe fn power_off(&self) {
        let Some(off) = self.soft_off else { return };
        // SAFETY: the ports are the machine's power management control registers.
        unsafe {
            enter_sleep(off.pm1a_control, off.type_a);
            if let Some(port) = off.pm1b_control {
                enter_sleep(port, off.type_b);
            }
        }
        wait(OFF_PATIENCE);
    }

    /// # Safety
    /// As for [`PowerControl::reboot`].
    unsafe fn write_reset_register(&self) {
        let Some(reset) = self.reset else { return };
        match reset.location {
            // SAFETY: the machine's own tables say that this resets it.
            RegisterLocation::Port(port) => unsafe { ports::write_u8(port, reset.value) },
            RegisterLocation::Memory(_) => {
                if let Some(register) = self.reset_memory {
                    register.write_u8(0, reset.value);
                }
            }
            RegisterLocation::Configuration { device, function, offset } => {
                let select =
                    1 << 31 | u32::from(device) << 11 | u32::from(function) << 8 | u32::from(offset & 0xfc);
                // SAFETY: as for a port; no other processor runs that could use the two ports between.
                unsafe {
                    ports::write_u32(0xcf8, select);
                    ports::write_u8(0xcfc + u16::from(offset & 3), reset.value);
                }
            }
        }
    }
}

/// # Safety
/// `port` is a PM1 control register.
unsafe fn enter_sleep(port: u16, sleep_type: u8) {
    // SAFETY: the caller's promise; the other bits of the register are kept. [ACPI-6.5 4.8.3.2.1]
    unsafe {
        let kept = ports::read_u16(port) & !(SLEEP_TYPE_MASK | SLEEP_ENABLE);
        ports::write_u16(port, kept | u16::from(sleep_type & 0b111) << SLEEP_TYPE_SHIFT | SLEEP_ENABLE);
    }
}

/// Lets at least about so much time pass without any clock: an access to port 0x80 takes about a microsecond on a
/// machine, and more under a hypervisor.
fn wait(time: Duration) {
    for _ in 0..time.as_micros() {
        // SAFETY: the port of power-on self test codes has no other effect.
        unsafe { ports::write_u8(0x80, 0) };
    }
}

/// Stops the running processor for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: with interrupts off, the processor waits for a reset (or an NMI, after which it waits again).
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
