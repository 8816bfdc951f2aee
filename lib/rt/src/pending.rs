//! The one submit or reply that is held back until the thread would sleep.
//!
//! Together with the receive that follows it is then a single system call, so that a call costs two
//! system calls in all, one on each side. A further operation sends what is held back first: the order is kept.
use core::cell::Cell;

use crate::syscall::{self, Answer, Received, Submission};

#[derive(Clone, Copy)]
enum Operation {
    None,
    Submit(Submission),
    /// Its message lies in the thread's buffer.
    Reply(Answer),
}

/// The operation that is held back.
pub(crate) struct Pending {
    operation: Cell<Operation>,
}

impl Pending {
    pub(crate) const fn new() -> Self {
        Self { operation: Cell::new(Operation::None) }
    }

    /// Holds a submit back.
    pub(crate) fn submit(&self, submission: Submission) {
        self.flush();
        self.operation.set(Operation::Submit(submission));
    }

    /// Holds a reply back. The caller called [`Self::flush`] before it wrote the message into the thread's
    /// buffer, and the message carries no capabilities: nothing keeps them open.
    pub(crate) fn reply(&self, answer: Answer) {
        self.operation.set(Operation::Reply(answer));
    }

    /// Forgets the submit of this Call, if it is held back; whether it was.
    pub(crate) fn withdraw(&self, call: u32) -> bool {
        let held = matches!(self.operation.get(), Operation::Submit(submission) if submission.call == call);
        if held {
            self.operation.set(Operation::None);
        }
        held
    }

    /// Performs what is held back.
    pub(crate) fn flush(&self) {
        match self.operation.replace(Operation::None) {
            Operation::None => {}
            Operation::Submit(submission) => syscall::submit(submission),
            Operation::Reply(answer) => syscall::reply(answer),
        }
    }

    /// Performs what is held back and waits for the next event, until `deadline`.
    pub(crate) fn receive(&self, endpoint: u32, deadline: u64) -> Received {
        match self.operation.replace(Operation::None) {
            Operation::None => syscall::reply_receive(Answer::NONE, endpoint, deadline),
            Operation::Submit(submission) => syscall::submit_receive(submission, endpoint, deadline),
            Operation::Reply(answer) => syscall::reply_receive(answer, endpoint, deadline),
        }
    }
}
