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

/// The progress of a load, as `Load` of schema/test.capnp shows it. A load may move in several ways, as a stream does in
/// both directions; it has a pause when any of them stands still.
pub struct Progress<const WAYS: usize> {
    moved: Cell<u64>,
    sessions: Cell<u32>,
    /// When each way last moved.
    last: [Cell<Duration>; WAYS],
    longest: Cell<Duration>,
    failure: RefCell<String>,
}

impl<const WAYS: usize> Progress<WAYS> {
    /// Nothing moved so far.
    pub fn new() -> Rc<Self> {
        let now = rt::now();
        Rc::new(Self {
            moved: Cell::default(),
            sessions: Cell::default(),
            last: core::array::from_fn(|_| Cell::new(now)),
            longest: Cell::default(),
            failure: RefCell::default(),
        })
    }

    /// Offers it, where the manifest exports it.
    pub async fn export(self: &Rc<Self>, environment: &rt::Environment) {
        let client = rt::serve::<load::Client, _>(Rc::clone(self));
        if let Err(error) = environment.export("load", client).await {
            log::debug!("the load is not watched: {error}");
        }
    }

    /// So much was moved just now in each of the ways, and is right.
    pub fn add(&self, amounts: [u64; WAYS]) {
        let now = rt::now();
        for (last, amount) in self.last.iter().zip(amounts).filter(|(_, amount)| *amount != 0) {
            let pause = now.saturating_sub(last.replace(now));
            self.longest.set(self.longest.get().max(pause));
            self.moved.set(self.moved.get().saturating_add(amount));
        }
    }

    /// How long the way that has waited longest stands still.
    fn present(&self) -> Duration {
        let earliest = self.last.iter().map(Cell::get).min();
        earliest.map_or(Duration::ZERO, |last| rt::now().saturating_sub(last))
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

impl<const WAYS: usize> load::Server for Progress<WAYS> {
    async fn mark(self: Rc<Self>, _: load::MarkParams, _: load::MarkResults) -> Result<(), Error> {
        self.longest.set(Duration::ZERO);
        for last in &self.last {
            last.set(rt::now());
        }
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
        state.set_present_pause(nanoseconds(self.present()));
        state.set_failure(self.failure.borrow().as_str());
        Ok(())
    }
}
