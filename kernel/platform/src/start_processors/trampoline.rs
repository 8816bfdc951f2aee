//! The code that a started processor runs until it enters the kernel, and its parameters.

use core::arch::global_asm;

use super::TrampolineMemory;
use crate::address::{ApicId, PhysicalAddress};

// The first page of the trampoline's memory. It is entered in real mode with CS = page / 16 and IP = 0, so all of its own
// addresses are relative to the page's start; Rust puts in those that must be linear.
//
// CR0, CR4 and EFER go straight from real mode to long mode: setting PE and PG together is allowed once
// PAE and LME are set. [SDM vol. 3A, 10.8.5]
global_asm!(
    r#"
    .section .rodata.capos_trampoline, "a", @progbits
    .balign 16
    .global capos_trampoline_start
    .hidden capos_trampoline_start
capos_trampoline_start:
    .code16
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movl $0x20, %eax                    # PAE
    movl %eax, %cr4
    movl (capos_trampoline_root - capos_trampoline_start), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # EFER
    movl (capos_trampoline_efer - capos_trampoline_start), %eax
    xorl %edx, %edx
    wrmsr
    lgdtl (capos_trampoline_gdt_pointer - capos_trampoline_start)
    movl $0x80010033, %eax              # PG, WP, NE, ET, MP, PE; caches on
    movl %eax, %cr0
    ljmpl *(capos_trampoline_far_pointer - capos_trampoline_start)

    .code64
    .global capos_trampoline_long_mode
    .hidden capos_trampoline_long_mode
capos_trampoline_long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl $1, %eax
    cpuid
    shrl $24, %ebx                      # initial APIC id
    cmpl %ebx, capos_trampoline_target(%rip)
    jne 2f
    movl $1, %eax
    xchgl %eax, capos_trampoline_taken(%rip)
    testl %eax, %eax
    jnz 2f
    movq capos_trampoline_kernel_root(%rip), %rcx
    movq capos_trampoline_stack(%rip), %rdx
    movq capos_trampoline_argument(%rip), %rdi
    movq capos_trampoline_acknowledge(%rip), %r8
    movq capos_trampoline_entry(%rip), %rax
    jmpq *capos_trampoline_stub(%rip)
2:  cli
    hlt
    jmp 2b

    .balign 16
capos_trampoline_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            # 64-bit code
    .quad 0x00cf92000000ffff            # data
capos_trampoline_gdt_pointer:
    .short 23
    .long 0                             # + 2: linear address of the table
capos_trampoline_far_pointer:
    .long 0                             # + 0: linear address of the 64-bit code
    .short 8
    .balign 16
    .global capos_trampoline_parameters
    .hidden capos_trampoline_parameters
capos_trampoline_parameters:
capos_trampoline_root:          .long 0
capos_trampoline_efer:          .long 0
capos_trampoline_target:        .long 0
capos_trampoline_taken:         .long 0
capos_trampoline_kernel_root:   .quad 0
capos_trampoline_stack:         .quad 0
capos_trampoline_argument:      .quad 0
capos_trampoline_acknowledge:   .quad 0
capos_trampoline_entry:         .quad 0
capos_trampoline_stub:          .quad 0
    .global capos_trampoline_end
    .hidden capos_trampoline_end
    .global capos_trampoline_gdt
    .hidden capos_trampoline_gdt
    .global capos_trampoline_gdt_pointer
    .hidden capos_trampoline_gdt_pointer
    .global capos_trampoline_far_pointer
    .hidden capos_trampoline_far_pointer
capos_trampoline_end:

    # The entry stub. It is in the kernel's text, where both the trampoline's and the kernel's page tables map it; it must not
    # cross a page.
    .section .text.capos_processor_entry, "ax", @progbits
    .balign 64
    .global capos_processor_entry
    .hidden capos_processor_entry
capos_processor_entry:
    movq %rcx, %cr3
    movq %rdx, %rsp
    xorl %ebp, %ebp
    pushq %rbp                          # no return address: the end of a backtrace
    movl $1, (%r8)
    jmpq *%rax
    "#,
    options(att_syntax)
);

unsafe extern "C" {
    static capos_trampoline_start: u8;
    static capos_trampoline_end: u8;
    static capos_trampoline_long_mode: u8;
    static capos_trampoline_gdt: u8;
    static capos_trampoline_gdt_pointer: u8;
    static capos_trampoline_far_pointer: u8;
    static capos_trampoline_parameters: u8;
    static capos_processor_entry: u8;
}

/// EFER.LME.
pub(super) const LONG_MODE_ENABLE: u32 = 1 << 8;
/// EFER.NXE.
pub(super) const NO_EXECUTE_ENABLE: u32 = 1 << 11;

/// The variable part of the trampoline, as the code reads it.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawParameters {
    root: u32,
    efer: u32,
    target: u32,
    taken: u32,
    kernel_root: u64,
    stack_top: u64,
    argument: u64,
    acknowledge: u64,
    entry: u64,
    entry_stub: u64,
}

/// What the trampoline is told.
pub(super) struct Parameters {
    pub(super) root: u32,
    pub(super) efer: u32,
    pub(super) target: ApicId,
    pub(super) page_table_root: PhysicalAddress,
    pub(super) stack_top: u64,
    pub(super) entry: u64,
    pub(super) argument: u64,
    pub(super) acknowledge: u64,
    pub(super) entry_stub: u64,
}

/// Address of the entry stub.
pub(super) fn entry_stub() -> u64 {
    (&raw const capos_processor_entry) as u64
}

/// Copies code and parameters into the first page.
pub(super) fn write(memory: &mut TrampolineMemory, parameters: &Parameters) {
    let raw = RawParameters {
        root: parameters.root,
        efer: parameters.efer,
        // The initial APIC id has 8 bits.
        target: parameters.target.0 & 0xff,
        taken: 0,
        kernel_root: parameters.page_table_root.0,
        stack_top: parameters.stack_top,
        argument: parameters.argument,
        acknowledge: parameters.acknowledge,
        entry: parameters.entry,
        entry_stub: parameters.entry_stub,
    };
    let start = &raw const capos_trampoline_start;
    let offset_of = |symbol: *const u8| symbol as usize - start as usize;
    let length = offset_of(&raw const capos_trampoline_end);
    // Linear addresses in the page, which is below 640 KiB.
    let linear = |symbol: *const u8| memory.physical as u32 + offset_of(symbol) as u32;
    let page = memory.pointer;
    // SAFETY: the code is `length` bytes, less than a page (a test holds it to that), and the page is this value's own. All offsets
    // are those of labels within the code, at which the fields have the stated types; fields need no alignment.
    unsafe {
        page.copy_from_nonoverlapping(core::ptr::NonNull::new_unchecked(start.cast_mut()), length);
        let field = |symbol: *const u8, more: usize| page.add(offset_of(symbol) + more);
        field(&raw const capos_trampoline_gdt_pointer, 2)
            .cast::<u32>()
            .write_unaligned(linear(&raw const capos_trampoline_gdt));
        field(&raw const capos_trampoline_far_pointer, 0)
            .cast::<u32>()
            .write_unaligned(linear(&raw const capos_trampoline_long_mode));
        field(&raw const capos_trampoline_parameters, 0).cast::<RawParameters>().write_unaligned(raw);
    }
    // What was written must not be moved past the interrupt that starts the processor.
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// Bytes of the trampoline's code and parameters.
#[cfg(test)]
pub(super) fn length() -> usize {
    (&raw const capos_trampoline_end) as usize - (&raw const capos_trampoline_start) as usize
}
