//! The supervision together with the capabilities that it is about.

use crate::{binaries::Binaries, event::Event};
use alloc::{rc::Rc, string::String, vec::Vec};
use capnp::{Error, capability::Client};
use core::{cell::RefCell, time::Duration};
use manifest::{Entry, Manifest};
use rt::{FirstProcess, Signal};
use schema::{ipc_capnp::signaller, process_capnp::process};
use supervision::{
    Action, Availability, Ending, Goal, State, Supervision, Unit,
    crashes::Crashes,
    heartbeat::{Activity, Beat, Heart},
    status::GrantRow,
};

/// What init must know about the machine.
pub(crate) struct Machine {
    /// Frames of 4 KiB.
    pub(crate) frames: u64,
}

impl Machine {
    /// Asks the kernel.
    ///
    /// # Errors
    /// Those of `SystemInfo.summary`.
    pub(crate) async fn read(first: &FirstProcess) -> Result<Self, Error> {
        let answer = first.system_info.summary_request().send().promise.await?;
        Ok(Self { frames: answer.get()?.get_memory_frames() })
    }
}

/// One life of a process: a restart begins the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

/// A process that runs.
pub(crate) struct Running {
    /// Full control over it.
    pub(crate) process: process::Client,
    /// What it holds, in words.
    pub(crate) grants: Vec<GrantRow>,
}

/// What init holds of one process.
struct Held {
    incarnation: Incarnation,
    running: Option<Running>,
    /// The capabilities behind its exports, in the manifest's order.
    exports: Vec<Option<Client>>,
    /// Where it wants to be signalled.
    signaller: Option<signaller::Client>,
    /// It is to end in its own time.
    stop: bool,
    /// Its signs of life, when its entry asks for them.
    heart: Option<Heart>,
}

/// The running system.
pub(crate) struct System {
    pub(crate) first: FirstProcess,
    pub(crate) manifest: Manifest,
    pub(crate) binaries: Binaries,
    /// Signalled when any process has been reaped.
    pub(crate) exits: Signal,
    /// Something about a process changed.
    pub(crate) changes: Event,
    /// What is known of processes that crashed.
    pub(crate) crashes: RefCell<Crashes>,
    supervision: RefCell<Supervision>,
    held: RefCell<Vec<Held>>,
}

impl System {
    /// A system of which nothing is started.
    ///
    /// # Errors
    /// When the boot package is malformed, or the kernel gives no signal.
    pub(crate) async fn new(first: FirstProcess, manifest: Manifest) -> Result<Rc<Self>, Error> {
        let binaries = Binaries::new(first.boot_package, first.boot_package_memory.clone())?;
        let held = manifest.entries.iter().map(|entry| Held {
            incarnation: Incarnation(0),
            running: None,
            exports: alloc::vec![None; entry.exports.len()],
            signaller: None,
            stop: false,
            heart: None,
        });
        Ok(Rc::new(Self {
            binaries,
            exits: Signal::new().await?,
            changes: Event::default(),
            crashes: RefCell::default(),
            supervision: RefCell::new(Supervision::new(&manifest)),
            held: RefCell::new(held.collect()),
            first,
            manifest,
        }))
    }

    /// Starts what needs nothing; the rest follows from events.
    pub(crate) fn begin(self: &Rc<Self>) {
        self.dispatch(|supervision, _| supervision.begin());
    }

    /// Tells the supervision of an event, and does what it says.
    pub(crate) fn dispatch(self: &Rc<Self>, event: impl FnOnce(&mut Supervision, Duration) -> Vec<Action>) {
        let actions = event(&mut self.supervision.borrow_mut(), rt::now());
        actions.into_iter().for_each(|action| self.perform(action));
        self.changes.happened();
    }

    fn perform(self: &Rc<Self>, action: Action) {
        let system = Rc::clone(self);
        match action {
            Action::Start(unit) => rt::spawn(system.launch(unit)),
            Action::Kill(unit) => rt::spawn(system.kill(unit)),
            Action::Stop(unit) => rt::spawn(system.ask_to_stop(unit)),
            Action::Power(goal) => rt::spawn(system.end_machine(goal)),
            Action::WakeAt(time) => rt::spawn(async move {
                rt::sleep_until(time).await;
                system.dispatch(Supervision::tick);
            }),
            Action::Log(level, line) => log::log!(level, "{line}"),
        }
    }

    /// Looks at the supervision.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Supervision) -> R) -> R {
        look(&self.supervision.borrow())
    }

    /// Begins the next life of a process.
    pub(crate) fn next_incarnation(&self, unit: Unit) -> Incarnation {
        let period = self.manifest.entries.get(unit).and_then(period);
        self.with_held(unit, |held| {
            held.incarnation = Incarnation(held.incarnation.0.wrapping_add(1));
            held.heart = period.map(Heart::new);
            held.stop = false;
            held.incarnation
        })
        .unwrap_or(Incarnation(0))
    }

    /// Whether this is the present life of a process.
    pub(crate) fn is_current(&self, unit: Unit, incarnation: Incarnation) -> bool {
        self.with_held(unit, |held| held.incarnation == incarnation).unwrap_or(false)
    }

    /// Takes control over a process that was started.
    pub(crate) fn set_running(&self, unit: Unit, running: Running) {
        self.with_held(unit, |held| held.running = Some(running));
    }

    /// Lets go of all that belongs to the present life of a process, which is over.
    pub(crate) fn forget(&self, unit: Unit) {
        let gone = self.with_held(unit, |held| {
            held.incarnation = Incarnation(held.incarnation.0.wrapping_add(1));
            let exports = held.exports.iter_mut().map(Option::take).collect::<Vec<_>>();
            held.heart = None;
            (held.running.take(), exports, held.signaller.take())
        });
        // Dropped here, after the table is free again: a drop can make calls.
        drop(gone);
    }

    /// What a process that runs holds.
    pub(crate) fn grant_rows(&self, unit: Unit) -> Vec<GrantRow> {
        self.with_held(unit, |held| held.running.as_ref().map(|running| running.grants.clone()))
            .flatten()
            .unwrap_or_default()
    }

    /// Keeps a capability that a process exports.
    pub(crate) fn keep_export(self: &Rc<Self>, unit: Unit, export: usize, capability: Client) {
        let before =
            self.with_held(unit, |held| held.exports.get_mut(export).map(|slot| slot.replace(capability)));
        drop(before);
        self.dispatch(|supervision, _| supervision.exported(unit, export));
    }

    /// The capability behind an export, if its process offers it now.
    pub(crate) fn exported(&self, process: &str, export: &str) -> Option<Client> {
        let (unit, index) = self.find_export(process, export)?;
        self.with_held(unit, |held| held.exports.get(index).cloned().flatten()).flatten()
    }

    /// Indexes of a process and of one of its exports.
    pub(crate) fn find_export(&self, process: &str, export: &str) -> Option<(Unit, usize)> {
        let unit = self.manifest.position(process)?;
        let exports = &self.manifest.entries.get(unit)?.exports;
        Some((unit, exports.iter().position(|name| name == export)?))
    }

    /// Waits until an export can be had.
    ///
    /// # Errors
    /// `disconnected` when its process will never run again.
    pub(crate) async fn acquire(&self, unit: Unit, export: usize) -> Result<Client, Error> {
        loop {
            let seen = self.changes.count();
            match self.look(|supervision| supervision.availability(unit, export)) {
                Availability::Gone => {
                    return Err(Error::disconnected("init has given up on its process".into()));
                }
                Availability::Ready if self.is_alive(unit).await => {
                    let client = self.with_held(unit, |held| held.exports.get(export).cloned().flatten());
                    if let Some(client) = client.flatten() {
                        return Ok(client);
                    }
                }
                // A process that has just died is not known to be dead before it is reaped.
                Availability::Ready | Availability::Wait => {}
            }
            self.changes.after(seen).await;
        }
    }

    async fn is_alive(&self, unit: Unit) -> bool {
        let Some(process) = self.process(unit) else { return false };
        match status(&process).await {
            Ok(status) => status.ending.is_none(),
            Err(_) => false,
        }
    }

    /// Asks a process to end, by the signal that it answers. One that cannot be asked is killed: it has nothing to put in order.
    async fn ask_to_stop(self: Rc<Self>, unit: Unit) {
        let signaller = self.with_held(unit, |held| {
            held.stop = true;
            held.signaller.clone()
        });
        match signaller.flatten() {
            Some(signaller) => rt::ring_doorbell(&signaller),
            None => self.kill(unit).await,
        }
    }

    async fn end_machine(self: Rc<Self>, goal: Goal) {
        let power = &self.first.power;
        let ended = match goal {
            Goal::Reboot => power.reboot_request().send().promise.await.map(drop),
            Goal::Halt => power.halt_request().send().promise.await.map(drop),
        };
        if let Err(error) = ended {
            log::error!("the machine does not end: {}", error.extra);
        }
    }

    async fn kill(self: Rc<Self>, unit: Unit) {
        if let Some(process) = self.process(unit)
            && let Err(error) = process.kill_request().send().promise.await
        {
            log::error!("a process could not be killed: {}", error.extra);
        }
    }

    /// Notices every process that has been reaped, for ever.
    ///
    /// # Errors
    /// None: it does not end.
    pub(crate) async fn watch_exits(self: Rc<Self>) -> Result<(), Error> {
        loop {
            self.exits.wait().await;
            for unit in 0..self.manifest.entries.len() {
                self.reap(unit).await;
            }
        }
    }

    /// Notices the end of a process, if it has been reaped.
    pub(crate) async fn reap(self: &Rc<Self>, unit: Unit) {
        let Some(process) = self.process(unit) else { return };
        match status(&process).await {
            Ok(Status { reaped: true, ending: Some(ending) }) => {
                self.keep_evidence(unit, &process, ending).await;
                // Another task may have noticed the same end meanwhile, and a next life begun.
                if self.look(|supervision| supervision.state(unit)) != Some(State::Running(ending.id)) {
                    return;
                }
                self.forget(unit);
                self.dispatch(|supervision, now| supervision.ended(unit, ending, now));
            }
            Ok(_) => {}
            Err(error) => log::error!("a process does not say how it is: {}", error.extra),
        }
    }

    /// A process that runs.
    pub(crate) fn process(&self, unit: Unit) -> Option<process::Client> {
        self.with_held(unit, |held| held.running.as_ref().map(|running| running.process.clone())).flatten()
    }

    /// Keeps where a process wants to be signalled.
    pub(crate) fn keep_signaller(&self, unit: Unit, signaller: signaller::Client) {
        let before = self.with_held(unit, |held| {
            held.heart.iter_mut().for_each(|heart| heart.answered(String::new()));
            held.signaller.replace(signaller)
        });
        drop(before);
    }

    /// A process gave a sign of life; whether it is to end.
    pub(crate) fn lives(&self, unit: Unit, problem: String) -> bool {
        let stop = self.with_held(unit, |held| {
            if let Some(heart) = &mut held.heart {
                heart.answered(problem);
            }
            held.stop
        });
        stop.unwrap_or(false)
    }

    /// Looks for the signs of life of a process, as long as its present life lasts. Processes with the same period are
    /// looked at together, so that init wakes once for all.
    pub(crate) async fn watch_heart(self: Rc<Self>, unit: Unit) {
        let Some(period) = self.manifest.entries.get(unit).and_then(period) else { return };
        let Some(incarnation) = self.with_held(unit, |held| held.incarnation) else { return };
        loop {
            let due = next_multiple(rt::now(), period);
            rt::sleep_until(due).await;
            let Some(process) = self.process(unit).filter(|_| self.is_current(unit, incarnation)) else {
                return;
            };
            let late = rt::now().saturating_sub(due);
            let activity = match activity(&process).await {
                Ok(activity) => activity,
                Err(error) => return log::error!("a process does not say how it is: {}", error.extra),
            };
            let beat = self.with_held(unit, |held| {
                let beat = held.heart.as_mut().map(|heart| heart.tick(activity, late));
                (beat, held.signaller.clone())
            });
            match beat {
                Some((Some(Beat::Hangs(reason)), _)) => {
                    self.dispatch(|supervision, _| supervision.hangs(unit, reason));
                    return;
                }
                Some((Some(Beat::Ask), Some(signaller))) => rt::ring_doorbell(&signaller),
                Some(_) | None => {}
            }
        }
    }

    fn with_held<R>(&self, unit: Unit, change: impl FnOnce(&mut Held) -> R) -> Option<R> {
        self.held.borrow_mut().get_mut(unit).map(change)
    }
}

/// How often an entry is to show that it lives.
fn period(entry: &Entry) -> Option<Duration> {
    let period = Duration::from_millis(entry.heartbeat_milliseconds.into());
    Some(period).filter(|period| !period.is_zero())
}

/// The first multiple of a period that is at least half of it away.
fn next_multiple(now: Duration, period: Duration) -> Duration {
    let after = now + period / 2;
    // The period is not zero, and nanoseconds of 64 bits last for centuries.
    let nanoseconds = (after.as_nanos() as u64).next_multiple_of(period.as_nanos() as u64);
    Duration::from_nanos(nanoseconds)
}

async fn activity(process: &process::Client) -> Result<Activity, Error> {
    let answer = process.status_request().send().promise.await?;
    let answer = answer.get()?;
    Ok(Activity {
        paused: answer.get_paused(),
        running: answer.get_running(),
        ready: answer.get_ready(),
        time: Duration::from_nanos(answer.get_usage()?.get_processor_nanoseconds()),
    })
}

/// What the kernel says about a process.
struct Status {
    reaped: bool,
    /// How it ended, if it has.
    ending: Option<Ending>,
}

async fn status(process: &process::Client) -> Result<Status, Error> {
    let answer = process.status_request().send().promise.await?;
    let answer = answer.get()?;
    let report = answer.get_report()?;
    let runs = matches!(report.get_cause(), Ok(schema::process_capnp::ExitCause::Running));
    let ending = (!runs).then(|| Ending::from_report(answer.get_id(), report));
    Ok(Status { reaped: answer.get_reaped(), ending })
}
