//! What a load says of itself to a campaign of faults.

use alloc::{
    rc::Rc,
    string::{String, ToString},
};
use capnp::Error;
use core::{
    cell::{Cell, RefCell},
    time::Duration,
};
use schema::test_capnp::load;

/// The progress of a load, as `Load` of schema/test.capnp shows it.
#[derive(Default)]
pub struct Progress {
    moved: Cell<u64>,
    sessions: Cell<u32>,
    last: Cell<Duration>,
    longest: Cell<Duration>,
    failure: RefCell<String>,
}

impl Progress {
    /// Nothing moved so far.
    pub fn new() -> Rc<Self> {
        let progress = Self::default();
        progress.last.set(rt::now());
        Rc::new(progress)
    }

    /// Offers it, where the manifest exports it.
    pub async fn export(self: &Rc<Self>, environment: &rt::Environment) {
        let client = rt::serve::<load::Client, _>(Rc::clone(self));
        if let Err(error) = environment.export("load", client).await {
            log::debug!("the load is not watched: {error}");
        }
    }

    /// So much was moved just now, and is right.
    pub fn add(&self, amount: u64) {
        let now = rt::now();
        let pause = now.saturating_sub(self.last.replace(now));
        self.longest.set(self.longest.get().max(pause));
        self.moved.set(self.moved.get().saturating_add(amount));
    }

    /// A new session or connection was opened.
    pub fn begin_session(&self) {
        self.sessions.set(self.sessions.get().saturating_add(1));
    }

    /// Something was wrong; the first is kept.
    pub fn fail(&self, why: &str) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_empty() {
            *failure = why.to_string();
        }
    }
}

/// As nanoseconds; 2^64 of them are 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl load::Server for Progress {
    async fn mark(self: Rc<Self>, _: load::MarkParams, _: load::MarkResults) -> Result<(), Error> {
        self.longest.set(Duration::ZERO);
        self.last.set(rt::now());
        Ok(())
    }

    async fn state(
        self: Rc<Self>,
        _: load::StateParams,
        mut results: load::StateResults,
    ) -> Result<(), Error> {
        let mut state = results.get();
        state.set_moved(self.moved.get());
        state.set_sessions(self.sessions.get());
        state.set_longest_pause(nanoseconds(self.longest.get()));
        state.set_present_pause(nanoseconds(rt::now().saturating_sub(self.last.get())));
        state.set_failure(self.failure.borrow().as_str());
        Ok(())
    }
}
