//! The ways into the kernel and out of it.
//!
//! ```text
//! user --syscall--> syscall_entry --> syscall::dispatch --+
//! user --vector---> trap_entry ----> traps::from_user ----+--> resume(context) --> user
//! boot, idle, death of a thread ---> scheduler::run ------+
//! idle --vector---> trap_entry ----> traps::from_kernel --> back to the idle loop
//! ```

use super::context::{Context, Registers, Results};
use super::cpu::Cpu;
use core::arch::global_asm;
use core::mem::offset_of;

const _: () = assert!(offset_of!(Context, registers) == 0);

/// Where a result lies in a [`Context`].
const RESULTS: usize = offset_of!(Context, results);

global_asm!(
    r#"
    .section .text
    .global syscall_entry
    .balign 16
syscall_entry:
    swapgs
    mov gs:[{user_stack}], rsp
    mov rsp, gs:[{context}]
    mov [rsp + {rbx}], rbx
    mov [rsp + {rbp}], rbp
    mov [rsp + {r12}], r12
    mov [rsp + {r13}], r13
    mov [rsp + {r14}], r14
    mov [rsp + {r15}], r15
    mov [rsp + {rip}], rcx
    mov [rsp + {rflags}], r11
    mov qword ptr [rsp + {entered}], 0
    mov rcx, gs:[{user_stack}]
    mov [rsp + {rsp_}], rcx
    mov rsp, gs:[{kernel_stack}]
    mov rcx, rax
    call {syscall}

    /* rax: the context to go on with. */
    .global resume
resume:
    mov rbx, [rax + {rbx}]
    mov rbp, [rax + {rbp}]
    mov r12, [rax + {r12}]
    mov r13, [rax + {r13}]
    mov r14, [rax + {r14}]
    mov r15, [rax + {r15}]
    cmp qword ptr [rax + {entered}], 0
    jne 1f
    mov rdi, [rax + {result_rdi}]
    mov rsi, [rax + {result_rsi}]
    mov rdx, [rax + {result_rdx}]
    mov r8, [rax + {result_r8}]
    mov rcx, [rax + {rip}]
    mov r11, [rax + {rflags}]
    mov rsp, [rax + {rsp_}]
    mov rax, [rax + {result_rax}]
    xor r9d, r9d
    xor r10d, r10d
    swapgs
    sysretq
1:
    push {user_data}
    push [rax + {rsp_}]
    push [rax + {rflags}]
    push {user_code}
    push [rax + {rip}]
    mov rdi, [rax + {rdi}]
    mov rsi, [rax + {rsi}]
    mov rdx, [rax + {rdx}]
    mov rcx, [rax + {rcx}]
    mov r8, [rax + {r8}]
    mov r9, [rax + {r9}]
    mov r10, [rax + {r10}]
    mov r11, [rax + {r11}]
    mov rax, [rax + {rax}]
    swapgs
    iretq

    /* Stack: vector, error code, rip, cs, rflags, rsp, ss. */
    .balign 16
trap_common:
    test byte ptr [rsp + 24], 3
    jz 2f
    swapgs
    push rax
    mov rax, gs:[{context}]
    mov [rax + {rbx}], rbx
    mov [rax + {rcx}], rcx
    mov [rax + {rdx}], rdx
    mov [rax + {rsi}], rsi
    mov [rax + {rdi}], rdi
    mov [rax + {rbp}], rbp
    mov [rax + {r8}], r8
    mov [rax + {r9}], r9
    mov [rax + {r10}], r10
    mov [rax + {r11}], r11
    mov [rax + {r12}], r12
    mov [rax + {r13}], r13
    mov [rax + {r14}], r14
    mov [rax + {r15}], r15
    mov qword ptr [rax + {entered}], 1
    pop rcx
    mov [rax + {rax}], rcx
    pop rdi
    pop rsi
    pop rcx
    mov [rax + {rip}], rcx
    pop rcx
    pop rcx
    mov [rax + {rflags}], rcx
    pop rcx
    mov [rax + {rsp_}], rcx
    mov rsp, gs:[{kernel_stack}]
    /* User code chose the flags. Without AC the kernel cannot touch user pages (SMAP), without DF strings go up. */
    push 2
    popfq
    call {trap_from_user}
    jmp resume

2:  /* From the kernel: the idle loop, or a bug. */
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rbp
    push rdi
    push rsi
    push rdx
    push rcx
    push rbx
    push rax
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    cld
    call {trap_from_kernel}
    mov rsp, rbp
    pop rax
    pop rbx
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    pop rbp
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    add rsp, 16
    iretq

    /* One stub a vector, 16 bytes apart: a page of them, apart from what each system call runs. */
    .pushsection .text.trap_stubs, "ax"
    .balign 16
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    .byte 0x6a, 0       /* push 0 */
    .endif
    .byte 0x68          /* push vector */
    .long vector
    jmp trap_common
    .set vector, vector + 1
    .endr
    .popsection

    /* fn run_on_stack(stack: rdi, function: rsi) -> ! */
    .global run_on_stack
run_on_stack:
    mov rsp, rdi
    xor ebp, ebp
    call rsi
    jmp resume
    "#,
    user_stack = const offset_of!(Cpu, user_stack),
    kernel_stack = const offset_of!(Cpu, kernel_stack),
    context = const offset_of!(Cpu, context),
    rax = const offset_of!(Registers, rax),
    rbx = const offset_of!(Registers, rbx),
    rcx = const offset_of!(Registers, rcx),
    rdx = const offset_of!(Registers, rdx),
    rsi = const offset_of!(Registers, rsi),
    rdi = const offset_of!(Registers, rdi),
    rbp = const offset_of!(Registers, rbp),
    rsp_ = const offset_of!(Registers, rsp),
    r8 = const offset_of!(Registers, r8),
    r9 = const offset_of!(Registers, r9),
    r10 = const offset_of!(Registers, r10),
    r11 = const offset_of!(Registers, r11),
    r12 = const offset_of!(Registers, r12),
    r13 = const offset_of!(Registers, r13),
    r14 = const offset_of!(Registers, r14),
    r15 = const offset_of!(Registers, r15),
    rip = const offset_of!(Registers, rip),
    rflags = const offset_of!(Registers, rflags),
    entered = const offset_of!(Registers, entered),
    result_rax = const RESULTS + offset_of!(Results, rax),
    result_rdi = const RESULTS + offset_of!(Results, rdi),
    result_rsi = const RESULTS + offset_of!(Results, rsi),
    result_rdx = const RESULTS + offset_of!(Results, rdx),
    result_r8 = const RESULTS + offset_of!(Results, r8),
    user_code = const super::descriptors::USER_CODE,
    user_data = const super::descriptors::USER_DATA,
    syscall = sym crate::syscall::dispatch,
    trap_from_user = sym super::traps::from_user,
    trap_from_kernel = sym super::traps::from_kernel,
);

unsafe extern "C" {
    /// Where `syscall` enters the kernel.
    pub(super) fn syscall_entry();
    /// The first of 256 vector stubs, 16 bytes apart.
    pub(super) fn trap_stubs();
    /// Runs `function` on the stack whose top is `stack`, then resumes the context that it returns.
    pub(super) fn run_on_stack(stack: u64, function: extern "C" fn() -> *mut Context) -> !;
}
