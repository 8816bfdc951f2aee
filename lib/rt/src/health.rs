//! How this process shows its supervisor that it lives: its executor answers, so one that hangs does not.
//!
//! The supervisor signals when it wants to hear from the process, and the answer is a call. Between two of them nothing happens, and
//! no other call costs more for it.
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use core::{cell::RefCell, future::Future, pin::Pin};

use schema::supervisor_capnp::supervisor;

use crate::{Environment, Signal, executor, runtime::runtime, syscall};

type Check = Rc<dyn Fn() -> Result<(), String>>;

type Last = Pin<Box<dyn Future<Output = ()>>>;

/// What the program has to say about its life.
pub(crate) struct Health {
    checks: RefCell<Vec<Check>>,
    last: RefCell<Option<Last>>,
}

impl Health {
    pub(crate) const fn new() -> Self {
        Self { checks: RefCell::new(Vec::new()), last: RefCell::new(None) }
    }
}

/// Adds a condition without which this process is not well, although its executor runs: it is looked at when the supervisor
/// asks. A process that is not well several times in a row is ended and started again.
pub fn check(condition: impl Fn() -> Result<(), String> + 'static) {
    runtime().health.checks.borrow_mut().push(Rc::new(condition));
}

/// Sets what this process does when it is asked to end in its own time; then it exits with code 0. Without it, it exits at once.
/// Who takes too long is killed.
pub fn at_stop(last: impl Future<Output = ()> + 'static) {
    let before = runtime().health.last.borrow_mut().replace(Box::pin(last));
    drop(before);
}

/// Answers the supervisor for the life of the process.
pub(crate) async fn attend(environment: Environment) {
    let Ok(supervisor) = environment.grant::<supervisor::Client>(crate::environment::SUPERVISOR) else {
        return;
    };
    let Ok(signal) = Signal::new().await else { return };
    let mut request = supervisor.attend_request();
    request.get().set_signaller(signal.signaller());
    if request.send().promise.await.is_err() {
        return;
    }
    loop {
        signal.wait().await;
        let mut request = supervisor.alive_request();
        if let Err(problem) = look() {
            request.get().set_problem(problem.as_str());
        }
        match request.send().promise.await {
            Ok(answer) if answer.get().is_ok_and(|answer| answer.get_stop()) => return stop(),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// The first condition that does not hold.
fn look() -> Result<(), String> {
    // Copied: a condition may add another.
    let checks = runtime().health.checks.borrow().clone();
    checks.iter().try_for_each(|check| check())
}

fn stop() {
    let last = runtime().health.last.take();
    executor::spawn(async move {
        if let Some(last) = last {
            last.await;
        }
        runtime().pending.flush();
        syscall::exit(0)
    });
}
