//! System calls as they are: messages that no generated code would send.

use abi::{CallState, Event, MAXIMUM_CAPABILITIES, MessageBuffer, MessageInfo, Status, Syscall};
use alloc::{string::String, vec::Vec};
use capnp::Error;
use core::{
    arch::asm,
    ptr::{self, NonNull},
    sync::atomic::{Ordering, compiler_fence},
};
use schema::process_capnp::own_process;

extern crate alloc;

/// The handle behind a client of an object that is not this process's own.
pub fn handle(client: &impl capnp::capability::FromClientHook) -> u32 {
    // A handle is 32 bits; `rt` shows it as the client's pointer.
    client.as_client_hook().get_ptr() as u32
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How the call ended.
    pub status: Status,
    /// The reason, for an error.
    pub reason: String,
    /// The words, for a success.
    pub words: Vec<u64>,
}

/// A Call of this program's own.
pub struct Call {
    handle: u32,
    buffer: NonNull<MessageBuffer>,
}

impl Call {
    /// Makes one with its buffer at `address`, which nothing else uses.
    pub async fn new(own: &own_process::Client, address: u64) -> Result<Self, Error> {
        let mut request = own.call_request();
        request.get().set_buffer(address);
        let answer = request.send().promise.await?;
        let client = answer.get()?.get_call()?;
        let handle = handle(&client);
        // The handle is this program's for its whole life.
        core::mem::forget(client);
        let buffer = NonNull::new(ptr::with_exposed_provenance_mut(address as usize))
            .ok_or_else(|| Error::failed("a buffer does not lie at 0".into()))?;
        Ok(Self { handle, buffer })
    }

    /// Starts a call. `info` is sent as it is, whatever `words` and `capabilities` are.
    pub fn submit(
        &self,
        target: u32,
        interface: u64,
        info: MessageInfo,
        words: &[u64],
        capabilities: &[u32],
    ) {
        let buffer = self.buffer.as_ptr();
        for (index, word) in words.iter().enumerate().take(abi::MAXIMUM_WORDS) {
            // SAFETY: the kernel mapped the page for the Call's life, and the index is inside it.
            unsafe { (&raw mut (*buffer).segment[index]).write_volatile(*word) };
        }
        for (index, name) in capabilities.iter().enumerate().take(MAXIMUM_CAPABILITIES) {
            // SAFETY: as above.
            unsafe { (&raw mut (*buffer).capabilities[index]).write_volatile(*name) };
        }
        // SAFETY: as above.
        unsafe { (&raw mut (*buffer).state).write_volatile(CallState::InFlight as u32) };
        compiler_fence(Ordering::SeqCst);
        let both = u64::from(self.handle) | u64::from(target) << 32;
        system_call(Syscall::Submit as u64, [both, interface, info.0, 0, 0]);
    }

    /// The answer, once it is there.
    pub fn answer(&self) -> Option<Answer> {
        let buffer = self.buffer.as_ptr();
        // SAFETY: as in `submit`.
        let (state, status, info) = unsafe {
            (
                (&raw const (*buffer).state).read_volatile(),
                (&raw const (*buffer).status).read_volatile(),
                MessageInfo((&raw const (*buffer).info).read_volatile()),
            )
        };
        if state != CallState::Done as u32 {
            return None;
        }
        let words: Vec<u64> = (0..info.words().min(abi::MAXIMUM_WORDS))
            // SAFETY: as in `submit`.
            .map(|index| unsafe { (&raw const (*buffer).segment[index]).read_volatile() })
            .collect();
        let status = Status::from_raw(u64::from(status));
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = String::from_utf8_lossy(&bytes);
        let reason = if status == Status::Ok { String::new() } else { text.trim_end_matches('\0').into() };
        Some(Answer { status, reason, words })
    }

    /// Calls and waits for the answer.
    pub async fn call(
        &self,
        target: u32,
        interface: u64,
        info: MessageInfo,
        words: &[u64],
        capabilities: &[u32],
    ) -> Answer {
        self.submit(target, interface, info, words, capabilities);
        loop {
            match self.answer() {
                Some(answer) => return answer,
                None => rt::sleep(core::time::Duration::from_millis(1)).await,
            }
        }
    }
}

/// What a receive returned: its kind, and `rdi`.
pub type Received = (Option<Event>, u64);

/// Completions of calls, which the runtime knows of already: [`poll`] does not tell of them.
const COMPLETIONS: u64 = 0xffff_ffff;

/// Looks whether something arrived at `endpoint`, without waiting.
pub fn poll(endpoint: u32) -> Received {
    receive(Syscall::ReplyReceive, [0, 0], endpoint, 0)
}

/// Sets the bits of the signaller that `handle` names, and waits until the deadline.
pub fn signal_receive(handle: u32, deadline: u64) -> Received {
    receive(Syscall::SignalReceive, [handle.into(), 0], 0, deadline)
}

fn receive(number: Syscall, [rdi, rsi]: [u64; 2], endpoint: u32, deadline: u64) -> Received {
    let (event, value): (u64, u64);
    // SAFETY: the kernel writes only the thread's message buffer, which `rt` does not use meanwhile.
    unsafe {
        asm!("syscall", inlateout("rax") number as u64 => event,
            inlateout("rdi") rdi => value, inlateout("rsi") rsi => _, inlateout("rdx") 0_u64 => _,
            inlateout("r8") u64::from(endpoint) | COMPLETIONS << 32 => _, inlateout("r9") deadline => _,
            clobber_abi("sysv64"), options(nostack));
    }
    (Event::from_raw(event), value)
}

/// Gives up a handle.
pub fn close(handle: u32) -> Status {
    Status::from_raw(system_call(Syscall::Close as u64, [u64::from(handle), 0, 0, 0, 0]))
}

/// Lets other threads run.
pub fn yield_now() {
    system_call(Syscall::Yield as u64, [0; 5]);
}

/// Sets bits of what `handle` names.
pub fn signal(handle: u32, bits: u64) -> Status {
    Status::from_raw(system_call(Syscall::Signal as u64, [u64::from(handle), bits, 0, 0, 0]))
}

/// Any system call, by its number: what it leaves in `rax`.
pub fn system_call(number: u64, arguments: [u64; 5]) -> u64 {
    let [rdi, rsi, rdx, r8, r9] = arguments;
    let status;
    // SAFETY: the kernel changes only the registers that the ABI names, and message buffers, which are only read
    // through raw pointers.
    unsafe {
        asm!("syscall", inlateout("rax") number => status, inlateout("rdi") rdi => _, inlateout("rsi") rsi => _,
            inlateout("rdx") rdx => _, inlateout("r8") r8 => _, inlateout("r9") r9 => _,
            clobber_abi("sysv64"), options(nostack));
    }
    status
}
