//! Walks the kernel's own stack, by the call frame information that the compiler wrote. [DWARF 5, 6.4; LSB 5, 10.6]
//!
//! Only for panics: it looks at every entry of the tables for each frame, and uses static memory.

use crate::memory::kernel_space;
use crate::sync::Lock;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, LittleEndian, ReaderOffset, Register, RegisterRule, UnwindContext,
    UnwindContextStorage, UnwindSection, UnwindTableRow, X86_64,
};

unsafe extern "C" {
    static __eh_frame_start: u8;
    static __eh_frame_end: u8;
    static __text_start: u8;
}

/// Registers that a function keeps for its caller, and the stack pointer and return address. [System V ABI, AMD64, 3.2.1]
const KEPT: [Register; 8] =
    [X86_64::RBX, X86_64::RBP, X86_64::RSP, X86_64::R12, X86_64::R13, X86_64::R14, X86_64::R15, X86_64::RA];

/// DWARF's registers of this machine that have a number below this.
const REGISTERS: usize = 17;

/// Registers as they were in one function of the stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame([u64; REGISTERS]);

/// Room for the rules of one function. Compilers push and pop a set of rules once or twice.
struct Storage;

impl<T: ReaderOffset> UnwindContextStorage<T> for Storage {
    type Rules = [(Register, RegisterRule<T>); 16];
    type Stack = [UnwindTableRow<T, Self>; 4];
}

static CONTEXT: Lock<Option<UnwindContext<usize, Storage>>> = Lock::new(None);

impl Frame {
    /// The frame of interrupted code.
    pub fn new(instruction: u64, stack: u64, rbx: u64, rbp: u64, r12_to_r15: [u64; 4]) -> Self {
        let [r12, r13, r14, r15] = r12_to_r15;
        let mut frame = Self::default();
        for (register, value) in KEPT.into_iter().zip([rbx, rbp, stack, r12, r13, r14, r15, instruction]) {
            frame.set(register, value);
        }
        frame
    }

    /// The frame of the function that this is inlined into.
    #[inline(always)]
    pub fn here() -> Self {
        let mut values = [0_u64; 8];
        // SAFETY: writes the registers into the array, in the order of `KEPT`.
        unsafe {
            core::arch::asm!(
                "mov [{0}], rbx", "mov [{0} + 8], rbp", "mov [{0} + 16], rsp", "mov [{0} + 24], r12",
                "mov [{0} + 32], r13", "mov [{0} + 40], r14", "mov [{0} + 48], r15", "lea {1}, [rip]",
                "mov [{0} + 56], {1}",
                in(reg) &raw mut values, out(reg) _, options(nostack, preserves_flags));
        }
        let [rbx, rbp, stack, r12, r13, r14, r15, instruction] = values;
        Self::new(instruction, stack, rbx, rbp, [r12, r13, r14, r15])
    }

    fn get(&self, register: Register) -> u64 {
        self.0.get(usize::from(register.0)).copied().unwrap_or(0)
    }

    fn set(&mut self, register: Register, value: u64) {
        if let Some(place) = self.0.get_mut(usize::from(register.0)) {
            *place = value;
        }
    }

    /// The instruction, or where the called function returns to.
    pub fn instruction(&self) -> u64 {
        self.get(X86_64::RA)
    }

    /// The stack pointer.
    pub fn stack(&self) -> u64 {
        self.get(X86_64::RSP)
    }

    /// The registers that the compiler keeps over calls, as rbx, rbp, r12 to r15.
    pub fn kept(&self) -> [u64; 6] {
        [X86_64::RBX, X86_64::RBP, X86_64::R12, X86_64::R13, X86_64::R14, X86_64::R15]
            .map(|register| self.get(register))
    }

    /// The frame of the caller; `None` at the end of the stack, or where it cannot be followed. `within` is an address
    /// inside the function of this frame: a return address may lie just behind it.
    pub fn caller(&self, within: u64) -> Option<Self> {
        // SAFETY: the linker script puts the two around the tables, which are never written.
        let tables = unsafe {
            let start = &raw const __eh_frame_start;
            core::slice::from_raw_parts(start, (&raw const __eh_frame_end).offset_from(start).unsigned_abs())
        };
        let bases = BaseAddresses::default()
            .set_eh_frame(&raw const __eh_frame_start as u64)
            .set_text(&raw const __text_start as u64);
        let section = EhFrame::new(tables, LittleEndian);
        let mut context = CONTEXT.try_lock()?;
        let context = context.get_or_insert_with(UnwindContext::new_in);
        let row = section.unwind_info_for_address(&bases, context, within, EhFrame::cie_from_offset).ok()?;
        let frame = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.get(*register).wrapping_add_signed(*offset)
            }
            CfaRule::Expression(_) => return None,
        };
        let mut caller = *self;
        for register in KEPT {
            match row.register(register) {
                RegisterRule::Offset(offset) => {
                    caller.set(register, read_stack(frame.wrapping_add_signed(offset))?);
                }
                RegisterRule::ValOffset(offset) => caller.set(register, frame.wrapping_add_signed(offset)),
                RegisterRule::Register(other) => caller.set(register, self.get(other)),
                RegisterRule::Undefined | RegisterRule::SameValue if register != X86_64::RA => {}
                _ => return None,
            }
        }
        caller.set(X86_64::RSP, frame);
        // The stack grows down: a caller's frame lies above, or the tables are wrong.
        (caller.stack() > self.stack()).then_some(caller)
    }
}

/// A word of a kernel stack.
fn read_stack(address: u64) -> Option<u64> {
    if !address.is_multiple_of(8) || !kernel_space::is_stack(address) {
        return None;
    }
    // SAFETY: the address lies in mapped kernel stack memory.
    Some(unsafe { (address as *const u64).read() })
}
