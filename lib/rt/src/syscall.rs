//! The system calls of [`abi`] as typed functions.
use abi::{Event, ExitScope, MessageInfo, Status, Syscall};

#[cfg(not(target_os = "none"))]
use crate::host as machine;
#[cfg(target_os = "none")]
use machine_x86_64 as machine;

/// Register values that a receive returned.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventRegisters {
    pub rax: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub r8: u64,
}

impl EventRegisters {
    /// The bits of the thread's notification that were set, if that is the event.
    #[inline]
    pub(crate) fn signals(&self) -> Option<u64> {
        (self.rax == Event::Signals as u64).then_some(self.rdi)
    }

    /// The call that arrived, if that is the event.
    #[inline]
    pub(crate) fn call(&self) -> Option<ReceivedCall> {
        (self.rax == Event::Call as u64).then_some(ReceivedCall {
            badge: self.rdi,
            interface: self.rsi,
            info: MessageInfo(self.rdx),
            // Handles are 32 bits wide; the kernel leaves the upper half zero.
            reply: self.r8 as u32,
        })
    }

    /// The event, if it is one of the others.
    pub(crate) fn rare(&self) -> Rare {
        match Event::from_raw(self.rax) {
            Some(Event::Released) => Rare::Released(self.rdi),
            Some(Event::Timeout) => Rare::Timeout,
            Some(Event::Error) => Rare::Refused(Status::from_raw(self.rdi)),
            Some(Event::Call | Event::Signals) | None => Rare::Refused(Status::Failed),
        }
    }
}

/// A call to one of this process's objects; its message lies in the thread's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedCall {
    /// Which object.
    pub badge: u64,
    /// Interface id.
    pub interface: u64,
    /// Method and counts of the message.
    pub info: MessageInfo,
    /// Handle of the right to answer.
    pub reply: u32,
}

/// An event that is neither a call nor a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rare {
    /// The last copy of the facet with this badge is gone.
    Released(u64),
    /// The deadline came.
    Timeout,
    /// The receive itself was refused.
    Refused(Status),
}

/// What a Call is submitted to, and with which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    /// Handle of the Call object.
    pub call: u32,
    /// Handle of the object that is called.
    pub target: u32,
    /// Interface id.
    pub interface: u64,
    /// Method and counts of the message in the Call's buffer.
    pub info: MessageInfo,
}

impl Submission {
    /// No call.
    pub(crate) const NONE: Self = Self { call: 0, target: 0, interface: 0, info: MessageInfo(0) };

    fn first_register(&self) -> u64 {
        u64::from(self.call) | u64::from(self.target) << 32
    }
}

/// The answer to one received call; its message lies in the thread's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Reply handle, or 0 for none.
    pub reply: u32,
    /// How the call ended.
    pub status: Status,
    /// Counts of the message.
    pub info: MessageInfo,
}

impl Answer {
    /// No answer: with it, `ReplyReceive` only receives.
    pub(crate) const NONE: Self = Self { reply: 0, status: Status::Ok, info: MessageInfo(0) };
}

/// Gives up one handle.
pub(crate) fn close(handle: u32) {
    // The only failure is a handle that names nothing, and then there is nothing to give up.
    machine::simple(Syscall::Close, [u64::from(handle), 0, 0, 0]);
}

/// Calls and waits for the answer, both in the thread's message buffer.
pub(crate) fn call(target: u32, interface: u64, info: MessageInfo) -> (Status, MessageInfo) {
    let (rax, rdi) = machine::simple(Syscall::Call, [u64::from(target), interface, info.0, 0]);
    (Status::from_raw(rax), MessageInfo(rdi))
}

/// What a receive waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Handle of the endpoint.
    pub endpoint: u32,
    /// Bits of the notification that need not be told again.
    pub acknowledged: u32,
    /// In nanoseconds.
    pub deadline: u64,
}

impl Wait {
    #[inline]
    fn registers(self) -> [u64; 2] {
        [u64::from(self.endpoint) | u64::from(self.acknowledged) << 32, self.deadline]
    }
}

/// Answers one call, unless it is [`Answer::NONE`], and waits for the next event.
pub(crate) fn reply_receive(answer: Answer, wait: Wait) -> EventRegisters {
    let [r8, r9] = wait.registers();
    machine::event(
        Syscall::ReplyReceive,
        [u64::from(answer.reply), answer.status as u64, answer.info.0, r8, r9],
    )
}

/// Answers one call.
pub(crate) fn reply(answer: Answer) {
    // A client that gave up makes this fail, which is its own business.
    machine::simple(Syscall::Reply, [u64::from(answer.reply), answer.status as u64, answer.info.0, 0]);
}

/// Starts a call. A failure shows where the answer would be.
pub(crate) fn submit(submission: Submission) {
    machine::simple(
        Syscall::Submit,
        [submission.first_register(), submission.interface, submission.info.0, 0],
    );
}

/// Starts a call, and lets who receives it run first. A failure shows where the answer would be.
pub(crate) fn submit_yield(submission: Submission) {
    machine::simple(
        Syscall::SubmitYield,
        [submission.first_register(), submission.interface, submission.info.0, 0],
    );
}

/// Starts a call and waits for the next event.
pub(crate) fn submit_receive(submission: Submission, wait: Wait) -> EventRegisters {
    let [r8, r9] = wait.registers();
    machine::event(
        Syscall::SubmitReceive,
        [submission.first_register(), submission.interface, submission.info.0, r8, r9],
    )
}

/// Sets the bits of a signaller and waits for the next event.
pub(crate) fn signal_receive(signaller: u32, wait: Wait) -> EventRegisters {
    let [r8, r9] = wait.registers();
    machine::event(Syscall::SignalReceive, [u64::from(signaller), 0, 0, r8, r9])
}

/// Gives up a call in flight.
pub(crate) fn cancel(call: u32) {
    machine::simple(Syscall::Cancel, [u64::from(call), 0, 0, 0]);
}

/// Sets the bits of a signaller.
pub(crate) fn signal(signaller: u32) -> Status {
    Status::from_raw(machine::simple(Syscall::Signal, [u64::from(signaller), 0, 0, 0]).0)
}

/// Ends the process.
pub(crate) fn exit(code: i64) -> ! {
    machine::simple(Syscall::Exit, [code.cast_unsigned(), ExitScope::Process as u64, 0, 0]);
    unreachable!("the process has ended")
}

/// Reads `width` bytes of a port.
pub(crate) fn port_read(ports: u32, offset: u16, width: u8) -> Result<u32, Status> {
    let location = u64::from(offset) | u64::from(width) << 16;
    let (rax, rdi) = machine::simple(Syscall::PortRead, [u64::from(ports), location, 0, 0]);
    match Status::from_raw(rax) {
        // A port is at most 4 bytes wide.
        Status::Ok => Ok(rdi as u32),
        status => Err(status),
    }
}

/// Writes `width` bytes of a port.
pub(crate) fn port_write(ports: u32, offset: u16, width: u8, value: u32) -> Result<(), Status> {
    let location = u64::from(offset) | u64::from(width) << 16;
    let (rax, _) = machine::simple(Syscall::PortWrite, [u64::from(ports), location, u64::from(value), 0]);
    match Status::from_raw(rax) {
        Status::Ok => Ok(()),
        status => Err(status),
    }
}

/// The `syscall` instruction.
#[cfg(target_os = "none")]
mod machine_x86_64 {
    use core::arch::asm;

    use abi::Syscall;

    use super::EventRegisters;

    /// A system call that returns at most rax and rdi; the arguments are rdi, rsi, rdx and r8.
    #[inline(always)]
    pub(super) fn simple(number: Syscall, arguments: [u64; 4]) -> (u64, u64) {
        let [rdi, rsi, rdx, r8] = arguments;
        let (status, value);
        // SAFETY: the kernel changes only the registers that the ABI names and memory that this
        // process handed to it (message buffers), and the compiler assumes all memory changed.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as u64 => status,
                inlateout("rdi") rdi => value,
                inlateout("rsi") rsi => _,
                inlateout("rdx") rdx => _,
                inlateout("r8") r8 => _,
                clobber_abi("sysv64"),
                options(nostack),
            );
        }
        (status, value)
    }

    /// A system call that returns an event; the arguments are rdi, rsi, rdx, r8 and r9.
    #[inline(always)]
    pub(super) fn event(number: Syscall, arguments: [u64; 5]) -> EventRegisters {
        let mut registers = EventRegisters::default();
        let [rdi, rsi, rdx, r8, r9] = arguments;
        // SAFETY: as in `simple`.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as u64 => registers.rax,
                inlateout("rdi") rdi => registers.rdi,
                inlateout("rsi") rsi => registers.rsi,
                inlateout("rdx") rdx => registers.rdx,
                inlateout("r8") r8 => registers.r8,
                inlateout("r9") r9 => _,
                clobber_abi("sysv64"),
                options(nostack),
            );
        }
        registers
    }
}
