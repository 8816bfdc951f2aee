//! The binary interface between the kernel and user processes: system call numbers, register
//! conventions, handles, message buffers and limits.
//!
//! # System calls
//!
//! The instruction is `syscall`; the number is in `rax`. `rcx` and `r11` are overwritten by the
//! processor; every other register that is not named as a result keeps its value if it is callee-saved (`rbx`, `rbp`,
//! `r12` to `r15`, `rsp`) and is undefined otherwise.
//!
//! | number | name | rdi | rsi | rdx | r8 | r9 | results |
//! |---|---|---|---|---|---|---|---|
//! | 0 | [`Syscall::Close`] | handle | | | | | rax = [`Status`] |
//! | 1 | [`Syscall::Call`] | target | interface id | [`MessageInfo`] | | | rax = [`Status`], rdi = [`MessageInfo`] of the answer |
//! | 2 | [`Syscall::ReplyReceive`] | reply, or 0 | [`Status`] | [`MessageInfo`] | endpoint, or 0, acknowledged << 32 | deadline | an event |
//! | 3 | [`Syscall::Reply`] | reply | [`Status`] | [`MessageInfo`] | | | rax = [`Status`] |
//! | 4 | [`Syscall::Submit`] | call, target << 32 | interface id | [`MessageInfo`] | | | rax = [`Status`] |
//! | 5 | [`Syscall::SubmitReceive`] | call, target << 32 | interface id | [`MessageInfo`] | endpoint, or 0, acknowledged << 32 | deadline | an event |
//! | 6 | [`Syscall::Cancel`] | call | | | | | rax = [`Status`] |
//! | 7 | [`Syscall::Signal`] | notification or signaller | bits | | | | rax = [`Status`] |
//! | 8 | [`Syscall::Yield`] | | | | | | rax = [`Status`] |
//! | 9 | [`Syscall::Exit`] | code | [`ExitScope`] | | | | |
//! | 10 | [`Syscall::PortRead`] | I/O port range | offset, width << 16 | | | | rax = [`Status`], rdi = value |
//! | 11 | [`Syscall::PortWrite`] | I/O port range | offset, width << 16 | value | | | rax = [`Status`] |
//! | 12 | [`Syscall::SubmitYield`] | call, target << 32 | interface id | [`MessageInfo`] | | | rax = [`Status`] |
//! | 13 | [`Syscall::SignalReceive`] | notification or signaller | bits | | endpoint, or 0, acknowledged << 32 | deadline | an event |
//!
//! An *event* is what a receive returns: rax = [`Event`], and, by kind:
//!
//! | event | rdi | rsi | rdx | r8 |
//! |---|---|---|---|---|
//! | [`Event::Call`] | badge | interface id | [`MessageInfo`] | reply handle |
//! | [`Event::Signals`] | the bits that were set, now cleared | | | |
//! | [`Event::Released`] | badge | | | |
//! | [`Event::Timeout`] | | | | |
//! | [`Event::Error`] | [`Status`] | | | |
//!
//! Signals are delivered before released badges, and those before calls. A *deadline* is in nanoseconds of
//! the kernel's monotonic clock: [`NO_DEADLINE`] waits for ever, a time in the past (0) polls. *Acknowledged* are
//! bits 0 to 31 of the notification that the thread has seen the reason of, as in the state of a Call: they are cleared before
//! anything else is done.
//! A failed [`Syscall::Submit`], [`Syscall::SubmitReceive`] or [`Syscall::SubmitYield`] completes the call with the error: it
//! is read where the answer would be.
//!
//! # Message buffers
//!
//! Each thread and each Call has one page, a [`MessageBuffer`]. A message is one Cap'n Proto segment and up to
//! [`MAXIMUM_CAPABILITIES`] handles. To send, write the segment and the handles, and give the counts in
//! [`MessageInfo`]; sending copies a capability, the sender keeps its handle. A received message lies in the receiving thread's buffer (a call) or in the
//! Call's (its answer; a thread's own synchronous call uses the thread's buffer); its handles are new entries of
//! the receiver's table and are the receiver's to close. An answer whose [`Status`] is an error carries no capabilities, and its
//! segment is the reason as UTF-8 text, padded with zero bytes to whole words.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// Bytes of a page, the unit of all mappings.
pub const PAGE_SIZE: usize = 4096;

/// Capabilities that one message can carry.
pub const MAXIMUM_CAPABILITIES: usize = 8;

/// Words (8 bytes) of segment that one message can carry.
pub const MAXIMUM_WORDS: usize = 504;

/// Lowest address that user code can map.
pub const USER_START: u64 = 0x1000;

/// End of the addresses that user code can map. The last page below the non-canonical hole stays
/// unmapped, so that a `syscall` can never return to a non-canonical address.
pub const USER_END: u64 = 0x7fff_ffff_e000;

/// The deadline that never comes.
pub const NO_DEADLINE: u64 = u64::MAX;

/// Highest priority of a thread; 0 is the lowest.
pub const MAXIMUM_PRIORITY: u8 = 31;

/// The handle that names nothing. Closing it does nothing and succeeds.
pub const NULL_HANDLE: u32 = 0;

/// System call numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Syscall {
    /// Gives up one handle.
    Close = 0,
    /// Calls and waits for the answer, in the thread's message buffer.
    Call = 1,
    /// Answers one call and waits for the next event.
    ReplyReceive = 2,
    /// Answers one call.
    Reply = 3,
    /// Starts a call whose completion sets the Call's signal bits.
    Submit = 4,
    /// [`Syscall::Submit`], then wait for the next event.
    SubmitReceive = 5,
    /// Gives up a call in flight; its Call can be used again at once. The server's reply has no effect. An answer that has
    /// come already stays.
    Cancel = 6,
    /// Sets bits of a notification. A signaller sets its own bits, whatever `rsi` says. A thread that this wakes, and that is
    /// more important, runs when the caller next waits (or looks for events), at the next interrupt, or at the end of a slice.
    Signal = 7,
    /// Lets other threads of the same priority run.
    Yield = 8,
    /// Ends the thread or the process.
    Exit = 9,
    /// Reads a port of an `IoPort` range: `width` is 1, 2 or 4.
    PortRead = 10,
    /// Writes a port of an `IoPort` range.
    PortWrite = 11,
    /// [`Syscall::Submit`], and the thread that receives the call runs before the caller goes on, with the rest of its
    /// slice: a server that answers at once has done so when this returns.
    SubmitYield = 12,
    /// [`Syscall::Signal`], then wait for the next event. If the caller waits, the thread that was woken runs in its place, unless
    /// another one as important is ready. Where the handle names neither a notification nor a signaller nothing is waited for:
    /// the event is [`Event::Error`].
    SignalReceive = 13,
}

/// What [`Syscall::Exit`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ExitScope {
    /// The whole process; `rdi` is its exit code.
    Process = 0,
    /// Only the calling thread. The process ends with its last thread.
    Thread = 1,
}

/// How a call ended: Cap'n Proto's four kinds of exceptions, and success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Status {
    /// The answer is in the message buffer.
    Ok = 0,
    /// The request was wrong, or could not be done.
    Failed = 1,
    /// A limit was reached; it may work later.
    Overloaded = 2,
    /// Who would have answered is gone, or the capability was revoked.
    Disconnected = 3,
    /// The object does not have this interface or method.
    Unimplemented = 4,
}

impl Status {
    /// The status for a register value; what is not one counts as [`Status::Failed`].
    pub const fn from_raw(raw: u64) -> Self {
        match raw {
            0 => Self::Ok,
            2 => Self::Overloaded,
            3 => Self::Disconnected,
            4 => Self::Unimplemented,
            _ => Self::Failed,
        }
    }
}

/// What a receive returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Event {
    /// A call arrived; its message is in the thread's message buffer.
    Call = 0,
    /// Bits of the thread's notification were set.
    Signals = 1,
    /// The last copy of a facet is gone.
    Released = 2,
    /// The deadline came.
    Timeout = 3,
    /// The receive itself was wrong (a bad endpoint handle), or what was to be signalled.
    Error = 4,
}

impl Event {
    /// The event for a register value; `None` for what is not one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw {
            0 => Some(Self::Call),
            1 => Some(Self::Signals),
            2 => Some(Self::Released),
            3 => Some(Self::Timeout),
            4 => Some(Self::Error),
            _ => None,
        }
    }
}

/// The counts that describe a message, packed in one register: bits 0 to 15 the method ordinal, 16 to
/// 31 the segment's length in words, 32 to 39 the number of capabilities; the rest is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct MessageInfo(pub u64);

impl MessageInfo {
    /// Packs the three counts.
    pub const fn new(method: u16, words: u16, capabilities: u8) -> Self {
        Self(method as u64 | (words as u64) << 16 | (capabilities as u64) << 32)
    }

    /// Method ordinal; 0 in answers.
    pub const fn method(self) -> u16 {
        self.0 as u16
    }

    /// Length of the segment in words of 8 bytes.
    pub const fn words(self) -> usize {
        (self.0 >> 16) as u16 as usize
    }

    /// Number of capabilities.
    pub const fn capabilities(self) -> usize {
        (self.0 >> 32) as u8 as usize
    }

    /// The same counts with method 0, as answers have it.
    pub const fn without_method(self) -> Self {
        Self(self.0 & 0xff_ffff_0000)
    }

    /// Whether the message carries no capabilities and its segment fits.
    pub const fn is_plain(self) -> bool {
        // Both counts in one comparison: a capability makes the number larger than any count of words.
        (self.0 >> 16) as u32 & 0xff_ffff <= MAXIMUM_WORDS as u32
    }

    /// Whether both counts are within what a message can carry.
    pub const fn is_valid(self) -> bool {
        self.words() <= MAXIMUM_WORDS && self.capabilities() <= MAXIMUM_CAPABILITIES
    }
}

/// Where a Call stands, in the Call's [`MessageBuffer::state`]: who submits it writes `InFlight` before, the kernel writes
/// the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CallState {
    /// Not in flight.
    Idle = 0,
    /// Submitted and not answered.
    InFlight = 1,
    /// Answered: `status` and `info` of the buffer hold.
    Done = 2,
}

/// One page through which messages are sent and received.
#[repr(C, align(4096))]
pub struct MessageBuffer {
    /// The message's capabilities: handles of the process whose buffer it is.
    pub capabilities: [u32; MAXIMUM_CAPABILITIES],
    /// [`CallState`] of the Call that owns the buffer. A thread's buffer does not use it.
    pub state: u32,
    /// [`Status`] of the answer, once `state` is [`CallState::Done`].
    pub status: u32,
    /// [`MessageInfo`] of the answer, once `state` is [`CallState::Done`].
    pub info: u64,
    reserved: [u64; 2],
    /// The Cap'n Proto segment.
    pub segment: [u64; MAXIMUM_WORDS],
}

const _: () = assert!(size_of::<MessageBuffer>() == PAGE_SIZE);
const _: () = assert!(core::mem::offset_of!(MessageBuffer, state) == 32);
const _: () = assert!(core::mem::offset_of!(MessageBuffer, info) == 40);
const _: () = assert!(core::mem::offset_of!(MessageBuffer, segment) == 64);

/// Registers at the entry of a process's first thread: `rdi` is the handle of its `OwnProcess`, `rsi`
/// the address of its `StartInfo` message (schema/supervisor.capnp), `rdx` that message's length in words, `rcx` the address of
/// the thread's message buffer, and `rsp` the stack top, 16-byte aligned.
///
/// The very first process has no parent that could write a `StartInfo`. The kernel starts it with the
/// handles of [`FirstHandles`] instead, `rsi` = address of the mapped boot package, `rdx` = its length in words,
/// `rcx` the address of the thread's message buffer, `r8` the address of a [`ClockPage`], `r9` the first free address behind its image.
pub mod first_process {
    /// Where the kernel maps the boot package, read-only.
    pub const BOOT_PACKAGE_ADDRESS: u64 = 0x4000_0000_0000;
}

/// Handles of the first process: their table indexes are fixed, their generation is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FirstHandles {
    /// `OwnProcess`.
    OwnProcess = 1,
    /// `ProcessManager`.
    ProcessManager = 2,
    /// The boot package as a sealed `MemoryObject`.
    BootPackage = 3,
    /// `PciInventory`.
    PciInventory = 4,
    /// `IoPortManager`.
    IoPortManager = 5,
    /// `LegacyInterruptManager`.
    LegacyInterruptManager = 6,
    /// `KernelLog`.
    KernelLog = 7,
    /// `LogWriter`.
    LogWriter = 8,
    /// `SystemInfo`.
    SystemInfo = 9,
    /// `Clock`.
    Clock = 10,
    /// `Power`.
    Power = 11,
}

/// How the time stamp counter becomes nanoseconds:
/// `nanoseconds = ((tsc - base) * multiplier) >> shift`, in 128-bit arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ClockPage {
    /// Multiplier, not 0.
    pub multiplier: u64,
    /// Shift in bits, at most 63.
    pub shift: u64,
    /// Time stamp at time 0.
    pub base: u64,
}

impl ClockPage {
    /// Nanoseconds since the kernel started its clock, for a time stamp.
    pub const fn nanoseconds(&self, time_stamp: u64) -> u64 {
        let ticks = time_stamp.wrapping_sub(self.base) as u128;
        ((ticks * self.multiplier as u128) >> self.shift) as u64
    }
}

/// The number in a handle: bits 0 to 15 are the index in the table, 16 to 31 a generation, so that a
/// handle that was closed does not name what came after it.
pub const fn handle_index(handle: u32) -> usize {
    (handle & 0xffff) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_without_capabilities_that_fit_are_plain() {
        let maximum = MAXIMUM_WORDS as u16;
        assert!(MessageInfo::new(u16::MAX, maximum, 0).is_plain());
        assert!(!MessageInfo::new(0, maximum + 1, 0).is_plain());
        assert!(!MessageInfo::new(0, u16::MAX, 0).is_plain());
        assert!(!MessageInfo::new(0, 0, 1).is_plain());
        assert!(!MessageInfo::new(0, 1, u8::MAX).is_plain());
    }

    #[test]
    fn time_scales_without_overflow() {
        let clock = ClockPage { multiplier: 1 << 32, shift: 32, base: 5 };
        assert_eq!(clock.nanoseconds(1_000_000_000_000_005), 1_000_000_000_000_000);
        assert_eq!(clock.nanoseconds(5), 0);
    }
}
