//! What the processor refuses a user process. Each function faults in its first instruction, so that its own address is
//! the one that a report must name.

use core::arch::naked_asm;

/// Reads the byte at `address`.
#[unsafe(naked)]
pub extern "C" fn read(address: usize) {
    naked_asm!("mov al, [rdi]", "ret")
}

/// Writes the byte at `address`.
#[unsafe(naked)]
pub extern "C" fn write(address: usize) {
    naked_asm!("mov byte ptr [rdi], 0x90", "ret")
}

/// Stops the processor, if it is allowed to.
#[unsafe(naked)]
pub extern "C" fn privileged(_: usize) {
    naked_asm!("hlt", "ret")
}

/// Uses a port that was not granted.
#[unsafe(naked)]
pub extern "C" fn port(_: usize) {
    naked_asm!("out 0x80, al", "ret")
}

/// Divides by `divisor`.
#[unsafe(naked)]
pub extern "C" fn divide(divisor: usize) {
    naked_asm!("div rdi", "ret")
}

/// Runs no instruction at all.
#[unsafe(naked)]
pub extern "C" fn invalid(_: usize) {
    naked_asm!("ud2", "ret")
}

/// Runs what lies at `address`.
#[unsafe(naked)]
pub extern "C" fn jump(address: usize) {
    naked_asm!("jmp rdi")
}

/// Pushes until the stack is used up.
#[unsafe(naked)]
pub extern "C" fn overflow(_: usize) {
    naked_asm!("2: push rax", "jmp 2b")
}
