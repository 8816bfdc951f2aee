//! Threads that compute, without the runtime: it belongs to the process's first thread.

use abi::{ExitScope, Syscall};
use capnp::Error;
use core::{
    arch::{asm, naked_asm},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use rt::memory::Mapping;
use schema::process_capnp::{own_process, thread};

/// Where the message buffers of these threads are mapped, a page each.
const BUFFERS: u64 = 0x2800_0000_0000;

/// Which of these a thread has that rings.
const RINGING_BUFFER: usize = 100;

/// What a thread writes at the start of its stack's memory when it has ended well.
const GOOD: u64 = 1;

/// A thread that checks its own floating point registers over and over.
pub struct Computing {
    stack: Mapping,
    _thread: thread::Client,
}

impl Computing {
    /// Starts one with the registers made from `seed`, which no other has, that looks `rounds` times.
    pub async fn start(
        own: &own_process::Client,
        stack: Mapping,
        seed: u64,
        rounds: u64,
    ) -> Result<Self, Error> {
        let result = stack.as_ptr().addr().get() as u64;
        let thread = start(own, &stack, seed as usize, compute, [seed << 32 | seed, result, rounds]).await?;
        Ok(Self { stack, _thread: thread })
    }

    /// Whether all it saw was right; `None` while it runs.
    pub fn result(&self) -> Option<bool> {
        // SAFETY: the mapping is larger than a word and aligned; the thread writes the word once, at its end.
        let word = unsafe { self.stack.as_ptr().cast::<u64>().read_volatile() };
        (word != 0).then_some(word == GOOD)
    }
}

/// Tells a thread that rings to end; it answers with 0.
const END: u64 = 1;

/// A thread that rings a doorbell and then counts, without ever waiting. The first words of its stack's memory are: whether
/// it may begin, its count, and whether it must end.
pub struct Ringing {
    stack: Mapping,
    /// The thread itself.
    pub thread: thread::Client,
}

impl Ringing {
    /// Starts one that rings the signaller of this handle.
    pub async fn start(own: &own_process::Client, stack: Mapping, bell: u32) -> Result<Self, Error> {
        let words = stack.as_ptr().addr().get() as u64;
        let thread = start(own, &stack, RINGING_BUFFER, ring, [bell.into(), words, 0]).await?;
        Ok(Self { stack, thread })
    }

    /// Lets it ring.
    pub fn begin(&self) {
        self.word(0).store(1, Ordering::SeqCst);
    }

    /// How far it has counted since it rang.
    pub fn count(&self) -> u64 {
        self.word(1).load(Ordering::SeqCst)
    }

    /// Lets it end; when this is done, it uses its memory no more.
    pub async fn end(&self) {
        self.word(2).store(END, Ordering::SeqCst);
        while self.word(2).load(Ordering::SeqCst) == END {
            rt::sleep(Duration::from_millis(1)).await;
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the mapping is larger than three words and aligned; both sides use them as atomics only.
        unsafe { &*self.stack.as_ptr().cast::<AtomicU64>().add(index).as_ptr() }
    }
}

/// Starts a thread that does nothing for ever.
pub async fn start_waiting(
    own: &own_process::Client,
    stack: &Mapping,
    index: usize,
) -> Result<thread::Client, Error> {
    start(own, stack, index, wait, [0; 3]).await
}

async fn start(
    own: &own_process::Client,
    stack: &Mapping,
    index: usize,
    entry: extern "C" fn() -> !,
    arguments: [u64; 3],
) -> Result<thread::Client, Error> {
    let mut request = own.start_thread_request();
    let mut fields = request.get();
    fields.set_entry(entry as *const () as u64);
    fields.set_stack_top((stack.as_ptr().addr().get() + stack.len()) as u64);
    fields.set_message_buffer(BUFFERS + (index * abi::PAGE_SIZE) as u64);
    let mut list = fields.init_arguments(3);
    for (place, argument) in (0..).zip(arguments) {
        list.set(place, argument);
    }
    request.send().promise.await?.get()?.get_thread()
}

/// Receives without an endpoint and without an end.
#[unsafe(naked)]
extern "C" fn wait() -> ! {
    naked_asm!(
        "2: mov eax, {receive}", "xor edi, edi", "xor esi, esi", "xor edx, edx", "xor r8d, r8d", "mov r9, -1",
        "syscall", "jmp 2b",
        receive = const Syscall::ReplyReceive as u64,
    )
}

/// `rdi`: a signaller; `rsi`: three words, see [`Ringing`].
#[unsafe(naked)]
extern "C" fn ring() -> ! {
    naked_asm!(
        "2: pause", "cmp qword ptr [rsi], 0", "je 2b",
        "mov r12, rsi", "mov eax, {signal}", "xor esi, esi", "syscall",
        "3: lock inc qword ptr [r12 + 8]", "cmp qword ptr [r12 + 16], 0", "je 3b",
        "mov qword ptr [r12 + 16], 0",
        "mov eax, {exit}", "xor edi, edi", "mov esi, {scope}", "syscall", "ud2",
        signal = const Syscall::Signal as u64,
        exit = const Syscall::Exit as u64,
        scope = const ExitScope::Thread as u64,
    )
}

/// `rdi`: seed; `rsi`: where the result goes; `rdx`: rounds. Puts the seed plus its number into each SSE register, one
/// of four rounding modes into MXCSR and the seed onto the x87 stack, and looks again and again whether all is still there.
#[unsafe(naked)]
extern "C" fn compute() -> ! {
    naked_asm!(
        ".macro capos_fill number",
        "lea rax, [rdi + \\number]", "movq xmm\\number, rax", "punpcklqdq xmm\\number, xmm\\number",
        ".endm",
        ".macro capos_look number",
        "movq rax, xmm\\number", "sub rax, \\number", "cmp rax, rdi", "jne 4f",
        ".endm",
        ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15", "capos_fill \\number", ".endr",
        "sub rsp, 32",
        "mov eax, edi", "and eax, 3", "shl eax, 13", "or eax, 0x1f80", "mov r10d, eax", "mov [rsp], eax",
        "ldmxcsr [rsp]",
        "mov [rsp + 8], rdi", "fild qword ptr [rsp + 8]",
        "3:",
        ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15", "capos_look \\number", ".endr",
        "stmxcsr [rsp]", "cmp [rsp], r10d", "jne 4f",
        "fld st(0)", "fistp qword ptr [rsp + 16]", "cmp [rsp + 16], rdi", "jne 4f",
        "dec rdx", "jnz 3b",
        "mov eax, {good}", "jmp 5f",
        "4: mov eax, 2",
        "5: mov [rsi], rax",
        "mov eax, {exit}", "xor edi, edi", "mov esi, {scope}", "syscall", "ud2",
        ".purgem capos_fill", ".purgem capos_look",
        good = const GOOD,
        exit = const Syscall::Exit as u64,
        scope = const ExitScope::Thread as u64,
    )
}

/// How SSE and x87 instructions round: bits 13 and 14 of MXCSR, 10 and 11 of the control word [Intel SDM 1, 10.2.3, 8.1.5.3].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest number.
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Another one, or the two units round in different ways.
    Other,
}

impl Rounding {
    const MASK: u32 = 3;

    fn from_bits(bits: u32) -> Self {
        match bits & Self::MASK {
            0 => Self::Nearest,
            1 => Self::Down,
            _ => Self::Other,
        }
    }
}

/// Sets the rounding of this thread; returns the one before. What is computed meanwhile must not care.
pub fn set_rounding(rounding: Rounding) -> Rounding {
    let bits = u32::from(rounding == Rounding::Down);
    let mut sse = 0_u32;
    let mut x87 = 0_u16;
    // SAFETY: stores two registers to memory of this function's own.
    unsafe {
        asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut sse, in(reg) &raw mut x87, options(nostack))
    };
    let new_sse = sse & !(Rounding::MASK << 13) | bits << 13;
    // The bits are the lower two.
    let new_x87 = x87 & !((Rounding::MASK as u16) << 10) | (bits as u16) << 10;
    // SAFETY: only the rounding changes: no exception is unmasked, no reserved bit set.
    unsafe {
        asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const new_sse, in(reg) &raw const new_x87, options(nostack));
    }
    let (sse, x87) = (Rounding::from_bits(sse >> 13), Rounding::from_bits(u32::from(x87) >> 10));
    if sse == x87 { sse } else { Rounding::Other }
}
