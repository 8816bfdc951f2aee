//! The executor of this process's thread.
use core::{future::Future, time::Duration};

/// The time given to [`timeout`] ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `future` as a task of its own.
pub fn spawn(_future: impl Future<Output = ()> + 'static) {
    unimplemented!()
}

/// Monotonic time since the kernel started its clock; no system call.
pub fn now() -> Duration {
    unimplemented!()
}

/// Waits for `duration`.
pub async fn sleep(_duration: Duration) {
    unimplemented!()
}

/// Waits until the monotonic clock shows `time`.
pub async fn sleep_until(_time: Duration) {
    unimplemented!()
}

/// Runs `future` for at most `duration`.
pub async fn timeout<F: Future>(_duration: Duration, _future: F) -> Result<F::Output, Elapsed> {
    unimplemented!()
}

/// Lets every other ready task run once.
pub async fn yield_now() {
    unimplemented!()
}
