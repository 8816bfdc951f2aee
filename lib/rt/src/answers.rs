//! Answers on their way from the method that wrote them to the call that waits for them.
//!
//! A method is done with its results before it says that it is done, so the two ends need a place between them. Most
//! methods are done when they are polled the first time: one place is enough for all of these.
use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};

use crate::message::Message;

/// Names one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AnswerNumber(u64);

/// All answers that were begun and not taken.
pub(crate) struct Answers {
    /// The number of the newest one, as long as its method was not polled to the end of a first time.
    newest: Cell<AnswerNumber>,
    /// That answer, if it was left.
    left: Cell<Option<Message>>,
    /// Those that methods still work on, and what was left.
    waiting: RefCell<BTreeMap<AnswerNumber, Option<Message>>>,
}

impl Answers {
    pub(crate) const fn new() -> Self {
        Self {
            newest: Cell::new(AnswerNumber(0)),
            left: Cell::new(None),
            waiting: RefCell::new(BTreeMap::new()),
        }
    }

    /// Begins an answer. Before the next one begins, [`Self::wait`] or [`Self::end`] is to be called.
    #[inline]
    pub(crate) fn begin(&self) -> AnswerNumber {
        self.pass();
        self.newest.get()
    }

    /// Leaves an answer for its call. Nobody waits for it when the call is over: then it is dropped.
    #[inline]
    pub(crate) fn leave(&self, number: AnswerNumber, message: Message) {
        if number == self.newest.get() {
            self.left.set(Some(message));
        } else {
            self.leave_waiting(number, message);
        }
    }

    #[cold]
    fn leave_waiting(&self, number: AnswerNumber, message: Message) {
        if let Some(left) = self.waiting.borrow_mut().get_mut(&number) {
            *left = Some(message);
        }
    }

    /// Keeps a place for an answer for as long as its method works on it.
    #[cold]
    pub(crate) fn wait(&self, number: AnswerNumber) {
        if number == self.newest.get() {
            self.waiting.borrow_mut().insert(number, self.left.take());
            // From now on it is left there.
            self.pass();
        }
    }

    /// Takes an answer, if it was left.
    #[inline]
    pub(crate) fn take(&self, number: AnswerNumber) -> Option<Message> {
        if number == self.newest.get() { self.left.take() } else { self.take_waiting(number) }
    }

    #[cold]
    fn take_waiting(&self, number: AnswerNumber) -> Option<Message> {
        self.waiting.borrow_mut().get_mut(&number)?.take()
    }

    /// Ends the wait for an answer, taken or not. What is left from now on is dropped.
    #[inline]
    pub(crate) fn end(&self, number: AnswerNumber) {
        if number == self.newest.get() {
            self.pass();
            drop(self.left.take());
        } else {
            self.end_waiting(number);
        }
    }

    #[cold]
    fn end_waiting(&self, number: AnswerNumber) {
        let left = self.waiting.borrow_mut().remove(&number);
        drop(left);
    }

    /// Makes the newest one an older one.
    #[inline]
    fn pass(&self) {
        self.newest.set(AnswerNumber(self.newest.get().0.wrapping_add(1)));
    }
}
