//! x87, SSE and AVX state, kept per thread.
//!
//! The kernel itself is compiled without floating-point registers, so user state stays in the processor until another
//! thread runs there; it is saved and restored whole at each switch.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use platform::processor::Features;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// Room for the XSAVE area of x87, SSE and AVX: 512 + 64 + 256 bytes [Intel SDM 1, 13.4].
const SIZE: usize = 832;

/// x87 | SSE | AVX in XCR0.
const COMPONENTS: u64 = 7;

static USE_XSAVE: AtomicBool = AtomicBool::new(false);

/// A saved state, in the format of FXSAVE or XSAVE.
#[repr(C, align(64))]
pub struct FpuState([u8; SIZE]);

impl FpuState {
    /// The state after reset: all exceptions masked, round to nearest.
    pub fn new() -> Self {
        let mut bytes = [0; SIZE];
        bytes[0..2].copy_from_slice(&0x037f_u16.to_le_bytes()); // FCW
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes()); // MXCSR
        Self(bytes)
    }

    /// Saves this processor's state here.
    #[inline]
    pub fn save(&mut self) {
        let area = self.0.as_mut_ptr();
        // SAFETY: the area is 64-byte aligned and large enough for the enabled components.
        unsafe {
            if USE_XSAVE.load(Ordering::Relaxed) {
                asm!("xsave64 [{}]", in(reg) area, in("eax") COMPONENTS as u32, in("edx") 0, options(nostack));
            } else {
                asm!("fxsave64 [{}]", in(reg) area, options(nostack));
            }
        }
    }

    /// Loads this processor's state from here.
    #[inline]
    pub fn restore(&self) {
        let area = self.0.as_ptr();
        // SAFETY: the area was written by `new` or `save`, user code cannot reach it, so its header is valid.
        unsafe {
            if USE_XSAVE.load(Ordering::Relaxed) {
                asm!("xrstor64 [{}]", in(reg) area, in("eax") COMPONENTS as u32, in("edx") 0, options(nostack));
            } else {
                asm!("fxrstor64 [{}]", in(reg) area, options(nostack));
            }
        }
    }
}

/// Switches the units on, on this processor. All processors must have the same features.
pub fn init(features: Features) {
    // SAFETY: these bits switch on units that every x86-64 processor has; user code may then use them.
    unsafe {
        Cr0::update(|flags| {
            flags.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
            flags.insert(Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR);
        });
        Cr4::update(|flags| flags.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE));
        if features.contains(Features::XSAVE) {
            Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
            let components = if features.contains(Features::AVX) { COMPONENTS } else { COMPONENTS & !4 };
            asm!("xsetbv", in("ecx") 0, in("eax") components as u32, in("edx") 0, options(nostack));
            USE_XSAVE.store(true, Ordering::Relaxed);
        }
    }
}
