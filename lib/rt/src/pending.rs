//! The one submit, reply or signal that is held back until the thread would sleep.
//!
//! Together with the receive that follows it is then a single system call, so that a call costs two
//! system calls in all, one on each side, and a doorbell one. A further operation sends what is held back first: the order is
//! kept.
use core::cell::Cell;

use crate::syscall::{self, Answer, EventRegisters, Submission, Wait};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Submit,
    /// Its message lies in the thread's buffer.
    Reply,
    /// Of this signaller.
    Signal(u32),
}

/// The operation that is held back.
pub(crate) struct Pending {
    held: Cell<Held>,
    submission: Cell<Submission>,
    answer: Cell<Answer>,
}

impl Pending {
    pub(crate) const fn new() -> Self {
        Self {
            held: Cell::new(Held::Nothing),
            submission: Cell::new(Submission::NONE),
            answer: Cell::new(Answer::NONE),
        }
    }

    /// Holds a submit back. The caller called [`Self::flush`] before.
    #[inline]
    pub(crate) fn submit(&self, submission: Submission) {
        self.submission.set(submission);
        self.held.set(Held::Submit);
    }

    /// Holds a reply back. The caller called [`Self::flush`] before it wrote the message into the thread's
    /// buffer, and the message carries no capabilities: nothing keeps them open.
    #[inline]
    pub(crate) fn reply(&self, answer: Answer) {
        self.answer.set(answer);
        self.held.set(Held::Reply);
    }

    /// Holds a signal back. The signaller is known to be one, and its handle stays open: see [`Self::let_go`].
    #[inline]
    pub(crate) fn signal(&self, signaller: u32) {
        self.flush();
        self.held.set(Held::Signal(signaller));
    }

    /// Performs a signal that is held back: other tasks are ready, and what they do takes time.
    #[inline]
    pub(crate) fn signal_now(&self) {
        if let Held::Signal(_) = self.held.get() {
            self.perform();
        }
    }

    /// Performs what is held back of this signaller, whose handle is about to be closed.
    pub(crate) fn let_go(&self, signaller: u32) {
        if self.held.get() == Held::Signal(signaller) {
            self.perform();
        }
    }

    /// Forgets the submit of this Call, if it is held back; whether it was.
    pub(crate) fn withdraw(&self, call: u32) -> bool {
        let held = self.held.get() == Held::Submit && self.submission.get().call == call;
        if held {
            self.held.set(Held::Nothing);
        }
        held
    }

    /// Performs what is held back.
    #[inline]
    pub(crate) fn flush(&self) {
        if self.held.get() != Held::Nothing {
            self.perform();
        }
    }

    #[cold]
    fn perform(&self) {
        match self.held.replace(Held::Nothing) {
            Held::Nothing => {}
            Held::Submit => syscall::submit(self.submission.get()),
            Held::Reply => syscall::reply(self.answer.get()),
            Held::Signal(signaller) => {
                // It is a signaller, and one whose thread is gone is no error.
                syscall::signal(signaller);
            }
        }
    }

    /// Performs what is held back and waits for the next event.
    #[inline]
    pub(crate) fn receive(&self, wait: Wait) -> EventRegisters {
        match self.held.replace(Held::Nothing) {
            Held::Nothing => syscall::reply_receive(Answer::NONE, wait),
            Held::Submit => syscall::submit_receive(self.submission.get(), wait),
            Held::Reply => syscall::reply_receive(self.answer.get(), wait),
            Held::Signal(signaller) => syscall::signal_receive(signaller, wait),
        }
    }
}
