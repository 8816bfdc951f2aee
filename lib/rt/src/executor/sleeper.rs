//! A task that other tasks wake.
use core::{
    cell::RefCell,
    task::{Context, Waker},
};

/// One task that waits for what others of its process do.
#[derive(Default)]
pub struct Sleeper {
    task: RefCell<Option<Waker>>,
}

impl Sleeper {
    /// Has this task woken by the next [`Self::wake`], instead of the one before.
    pub fn register(&self, context: &Context<'_>) {
        match &mut *self.task.borrow_mut() {
            // Mostly it is the same one, which costs nothing.
            Some(task) => task.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Wakes it.
    pub fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}
