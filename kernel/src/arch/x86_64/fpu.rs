//! x87, SSE and AVX state, kept per thread.
//!
//! The kernel itself is compiled without floating-point registers, so user state stays in the processor until another
//! thread runs there. A thread that was interrupted gets all of it back. One that made a system call has given all but the
//! control words away, as by any other call [System V ABI 3.2.1]: it goes on with registers that are zero. Either way the
//! whole state is loaded at a switch, so nothing of one thread is ever seen by another.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use platform::processor::Features;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// Room for the XSAVE area of x87, SSE and AVX: 512 + 64 + 256 bytes [Intel SDM 1, 13.4].
const SIZE: usize = 832;

/// x87 | SSE | AVX in XCR0.
const COMPONENTS: u64 = 7;

/// Where the XSAVE header says which components are not in their initial state.
const XSTATE_BV: usize = 512;

/// The x87 control word after reset: all exceptions masked, extended precision, round to nearest.
const INITIAL_CONTROL_WORD: u16 = 0x037f;

static USE_XSAVE: AtomicBool = AtomicBool::new(false);

/// A saved state, in the format of FXSAVE or XSAVE.
#[repr(C, align(64))]
pub struct FpuState([u8; SIZE]);

impl FpuState {
    /// The state after reset: all exceptions masked, round to nearest.
    pub fn new() -> Self {
        let mut bytes = [0; SIZE];
        bytes[0..2].copy_from_slice(&INITIAL_CONTROL_WORD.to_le_bytes()); // FCW
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes()); // MXCSR
        Self(bytes)
    }

    /// Saves what a system call keeps: the control words. The registers are to be as after reset.
    #[inline(always)]
    pub fn save_control_words(&mut self) {
        let area = self.0.as_mut_ptr();
        // SAFETY: only the area is written: MXCSR and FCW, then status and tags of an x87 without values for FXRSTOR, and
        // for XRSTOR a header that says that all components are in their initial state. No instruction checks for x87
        // exceptions.
        unsafe {
            asm!(
                "stmxcsr [{0} + 24]",
                "fnstcw [{0}]",
                "mov dword ptr [{0} + 2], 0",
                "mov qword ptr [{0} + {1}], 0",
                in(reg) area, const XSTATE_BV, options(nostack)
            );
        }
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
                if u16::from_le_bytes([self.0[0], self.0[1]]) != INITIAL_CONTROL_WORD {
                    self.restore_control_word();
                }
            } else {
                asm!("fxrstor64 [{}]", in(reg) area, options(nostack));
            }
        }
    }

    /// Loads the x87 control word, if XRSTOR has put the x87 into its initial state instead. MXCSR it loads in any case
    /// [Intel SDM 1, 13.8.1].
    #[cold]
    fn restore_control_word(&self) {
        if self.0[XSTATE_BV] & 1 == 0 {
            // SAFETY: the x87 is in its initial state, so it has no exception that this could raise.
            unsafe { asm!("fldcw [{}]", in(reg) self.0.as_ptr(), options(nostack, readonly)) };
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
