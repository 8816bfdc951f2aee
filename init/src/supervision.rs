//! The state of every process of the manifest, and what follows from each event.
//!
//! ```text
//!              needs met          started            ended, policy: again
//!   Waiting --------------> Starting -------> Running ------------------> BackOff
//!      ^                       |  start failed                               |
//!      |                       +------------> BackOff, or Failed             |
//!      +---------------------------------------------------------------------+ its time has come
//!
//!   Running -- a provider that it goes with ended --> killed, then Waiting
//!   Waiting, BackOff -- what it needs is gone for good --> Failed
//!   Running -- ended, policy: leave it --> Stopped      -- restarted too often --> Failed
//! ```

mod stopping;

use crate::{
    devices::Address,
    ending::{Cause, Ending},
    restart::{History, Success, Verdict},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};
use log::Level;
use manifest::{Entry, Export, Fate, Manifest, Source};
use stopping::Stop;

/// Starts in a row that may fail for want of something that may come, before init gives up.
const FAILED_STARTS: u32 = 6;

/// Wait after the first of them; it doubles.
const FAILED_START_WAIT: Duration = Duration::from_millis(50);

/// Index of a process in the manifest.
pub type Unit = usize;

/// What init is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this process.
    Start(Unit),
    /// Kill this process, which runs.
    Kill(Unit),
    /// Ask this process, which runs, to end in its own time.
    Stop(Unit),
    /// Everything has ended: switch the machine off, or restart it.
    Power(Goal),
    /// Call [`Supervision::tick`] at this time.
    WakeAt(Duration),
    /// Log this line.
    Log(Level, String),
}

/// What an orderly end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The machine is restarted.
    Reboot,
    /// The machine is switched off.
    Halt,
}

/// Why the supervisor ends a process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    /// Something is wrong with it.
    Fault(String),
    /// This process ended, with which it is restarted.
    Follows(String),
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// For exports that it needs.
    Waiting,
    /// It is being built.
    Starting,
    /// It runs; the number is the kernel's.
    Running(u32),
    /// It ended and is started again at this time.
    BackOff(Duration),
    /// It ended, and its policy says to leave it.
    Stopped,
    /// Init gave up on it.
    Failed,
}

impl State {
    /// Whether it will never run again.
    fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

/// Whether a process can be given an export of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Now.
    Ready,
    /// Not yet.
    Wait,
    /// Never again.
    Gone,
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// It will not get better: a missing binary, a missing device.
    Permanent(String),
    /// It may: memory or a device that others hold.
    Temporary(String),
}

/// One process.
#[derive(Debug)]
struct Process {
    name: String,
    /// The exports that it needs.
    needs: Vec<Need>,
    /// Its own exports, and whether each is offered now.
    exports: Vec<(String, Offer)>,
    state: State,
    history: History,
    restarts: u32,
    failed_starts: u32,
    started: Duration,
    /// A kill that came while it was being built.
    doomed: bool,
    /// Why the supervisor itself ends its present life, if it does.
    reason: Option<Reason>,
    /// The processes with which it is restarted.
    follows: Vec<Unit>,
    /// The processes of which it has exports, waited for or not.
    uses: Vec<Unit>,
    stop: Stop,
    problem: String,
    /// Requests of its devices that an IOMMU refused in this life.
    refused: u64,
    last: Option<Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Absent,
    Present,
}

/// An export of another process: indexes of the process and of the export in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Need {
    process: Unit,
    export: usize,
}

/// All processes of a manifest.
#[derive(Debug)]
pub struct Supervision {
    processes: Vec<Process>,
    /// Whether the log has been told that everything runs.
    announced: bool,
    /// What the system is being stopped for, if it is.
    goal: Option<Goal>,
}

impl Supervision {
    /// The processes of a checked manifest, none of them started.
    pub fn new(manifest: &Manifest) -> Self {
        let process = |entry: &Entry| Process {
            name: entry.name.clone(),
            needs: entry.needs().filter_map(|export| need(manifest, export)).collect(),
            exports: entry.exports.iter().map(|name| (name.clone(), Offer::Absent)).collect(),
            state: State::Waiting,
            history: History::new(entry.restart),
            restarts: 0,
            failed_starts: 0,
            started: Duration::ZERO,
            doomed: false,
            reason: None,
            follows: providers(manifest, entry, |export| export.fate == Fate::WithProvider),
            uses: providers(manifest, entry, |_| true),
            stop: Stop::NotAsked,
            problem: String::new(),
            refused: 0,
            last: None,
        };
        Self { processes: manifest.entries.iter().map(process).collect(), announced: false, goal: None }
    }

    /// Starts what needs nothing.
    pub fn begin(&mut self) -> Vec<Action> {
        self.settle(Vec::new())
    }

    /// A process that was to be started runs.
    pub fn started(&mut self, unit: Unit, id: u32, now: Duration) -> Vec<Action> {
        let Some(process) = self.in_state(unit, State::Starting) else { return Vec::new() };
        process.state = State::Running(id);
        process.refused = 0;
        process.started = now;
        process.failed_starts = 0;
        let actions =
            if core::mem::take(&mut process.doomed) { alloc::vec![Action::Kill(unit)] } else { Vec::new() };
        self.go_on(actions, now)
    }

    /// A process could not be started.
    pub fn start_failed(&mut self, unit: Unit, failure: StartFailure, now: Duration) -> Vec<Action> {
        let Some(process) = self.in_state(unit, State::Starting) else { return Vec::new() };
        process.doomed = false;
        process.reason = None;
        process.withdraw();
        let name = &process.name;
        let action = match failure {
            StartFailure::Temporary(problem) if process.failed_starts < FAILED_STARTS => {
                let wait = FAILED_START_WAIT * (1 << process.failed_starts);
                process.failed_starts += 1;
                process.state = State::BackOff(now + wait);
                let line = format!("process {name}: {problem}, trying again in {} ms", wait.as_millis());
                process.problem = problem;
                alloc::vec![Action::Log(Level::Warn, line), Action::WakeAt(now + wait)]
            }
            StartFailure::Permanent(problem) | StartFailure::Temporary(problem) => {
                process.state = State::Failed;
                let line = format!("process {name}: {problem}, failed");
                process.problem = problem;
                alloc::vec![Action::Log(Level::Error, line)]
            }
        };
        self.go_on(action, now)
    }

    /// A process offers one of its exports.
    pub fn exported(&mut self, unit: Unit, export: usize) -> Vec<Action> {
        let process = self.processes.get_mut(unit);
        // A process may call before init has heard that it runs.
        let live = process.filter(|process| matches!(process.state, State::Starting | State::Running(_)));
        if let Some((_, offer)) = live.and_then(|process| process.exports.get_mut(export)) {
            *offer = Offer::Present;
        }
        self.settle(Vec::new())
    }

    /// A process ended, and all that it had has been taken back.
    pub fn ended(&mut self, unit: Unit, ending: Ending, now: Duration) -> Vec<Action> {
        let goal = self.goal;
        let Some(process) = self.in_state(unit, State::Running(ending.id)) else { return Vec::new() };
        process.withdraw();
        process.last = Some(ending);
        let reason = process.reason.take();
        if let (Some(Reason::Follows(provider)), Cause::Killed) = (&reason, ending.cause) {
            let line = format!(
                "process {} ({}): ended with {provider}, restarting with it",
                process.name, ending.id
            );
            process.restarts = process.restarts.saturating_add(1);
            process.problem.clear();
            process.state = State::Waiting;
            return self.end_followers(unit, alloc::vec![Action::Log(Level::Info, line)], now);
        }
        let cause = crate::crashes::cause(&ending, reason.as_ref().and_then(Reason::fault));
        let words = format!("process {} ({}): {cause}", process.name, ending.id);
        process.problem = if ending.is_success() { String::new() } else { cause.clone() };
        if goal.is_some() {
            process.state = State::Stopped;
            let told = (!ending.is_success()).then(|| Action::Log(level(&ending), words));
            return self.go_on(told.into_iter().collect(), now);
        }
        let success = if ending.is_success() { Success::Yes } else { Success::No };
        let verdict = process.history.ended(process.started, now, success);
        let actions = match verdict {
            Verdict::Restart(wait) => {
                process.restarts = process.restarts.saturating_add(1);
                process.state = State::BackOff(now + wait);
                let line = format!("{words}, restarting ({} time)", Ordinal(process.restarts));
                alloc::vec![Action::Log(level(&ending), line), Action::WakeAt(now + wait)]
            }
            Verdict::Leave => {
                process.state = State::Stopped;
                alloc::vec![Action::Log(level(&ending), format!("{words}, not restarted"))]
            }
            Verdict::GiveUp => {
                process.state = State::Failed;
                let policy = process.history.policy();
                let why = format!("gave up after {} restarts in {} s", policy.maximum, policy.window_seconds);
                process.problem = format!("{cause}, {why}");
                alloc::vec![Action::Log(Level::Error, format!("{words}, {why}"))]
            }
        };
        self.end_followers(unit, actions, now)
    }

    /// Ends those that are restarted with a process that has just ended.
    fn end_followers(&mut self, unit: Unit, mut actions: Vec<Action>, now: Duration) -> Vec<Action> {
        let provider = self.processes.get(unit).map(|process| process.name.clone()).unwrap_or_default();
        for (follower, process) in self.processes.iter_mut().enumerate() {
            if !process.follows.contains(&unit) || process.reason.is_some() {
                continue;
            }
            match process.state {
                State::Running(_) => actions.push(Action::Kill(follower)),
                State::Starting => process.doomed = true,
                _ => continue,
            }
            process.reason = Some(Reason::Follows(provider.clone()));
        }
        self.go_on(actions, now)
    }

    /// Starts what has waited long enough.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        for process in &mut self.processes {
            if matches!(process.state, State::BackOff(time) if time <= now) {
                process.state = State::Waiting;
            }
        }
        self.go_on(Vec::new(), now)
    }

    /// Somebody wants a process killed; one that does not run stays as it is.
    pub fn kill(&mut self, unit: Unit) -> Vec<Action> {
        match self.processes.get_mut(unit) {
            Some(Process { state: State::Running(_), .. }) => alloc::vec![Action::Kill(unit)],
            Some(process @ Process { state: State::Starting, .. }) => {
                process.doomed = true;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// An IOMMU refused `count` requests of a function that the process with this number holds.
    pub fn refused(&mut self, owner: u32, address: Address, count: u64) -> Vec<Action> {
        let process = self.processes.iter_mut().find(|process| process.state == State::Running(owner));
        let Some(process) = process else {
            let line = format!(
                "device {address}, which no process holds, was refused {count} requests by the IOMMU"
            );
            return alloc::vec![Action::Log(Level::Warn, line)];
        };
        process.refused = process.refused.saturating_add(count);
        process.problem =
            format!("its device {address} reached for what is not its own (refused: {})", process.refused);
        let line = format!("process {}: {}", process.name, process.problem);
        alloc::vec![Action::Log(Level::Warn, line)]
    }

    /// Whether an export can be had.
    pub fn availability(&self, unit: Unit, export: usize) -> Availability {
        match self.processes.get(unit) {
            Some(process) if process.state.is_final() => Availability::Gone,
            Some(process) => match process.exports.get(export) {
                Some((_, Offer::Present)) => Availability::Ready,
                Some((_, Offer::Absent)) => Availability::Wait,
                None => Availability::Gone,
            },
            None => Availability::Gone,
        }
    }

    /// Whether every process has once come as far as it will.
    pub fn is_settled(&self) -> bool {
        self.announced
    }

    /// Where a process stands.
    pub fn state(&self, unit: Unit) -> Option<State> {
        self.processes.get(unit).map(|process| process.state)
    }

    /// How often a process was started again.
    pub fn restarts(&self, unit: Unit) -> u32 {
        self.processes.get(unit).map_or(0, |process| process.restarts)
    }

    /// When the present life of a process began.
    pub fn started_at(&self, unit: Unit) -> Option<Duration> {
        self.processes.get(unit).map(|process| process.started)
    }

    /// Why the supervisor itself ends the present life of a process, if it does.
    pub fn reason(&self, unit: Unit) -> Option<&str> {
        self.processes.get(unit)?.reason.as_ref().and_then(Reason::fault)
    }

    /// Whether an end is one of which evidence is wanted: neither a success, nor the supervisor's wish.
    pub fn is_crash(&self, unit: Unit, ending: &Ending) -> bool {
        let reason = self.processes.get(unit).and_then(|process| process.reason.as_ref());
        let wanted = ending.cause == Cause::Killed && matches!(reason, Some(Reason::Follows(_)));
        !ending.is_success() && !wanted
    }

    /// A process hangs: it is ended.
    pub fn hangs(&mut self, unit: Unit, reason: String) -> Vec<Action> {
        match self.processes.get_mut(unit) {
            Some(process @ Process { state: State::Running(_), reason: None, .. }) => {
                process.reason = Some(Reason::Fault(reason));
                alloc::vec![Action::Kill(unit)]
            }
            _ => Vec::new(),
        }
    }

    /// The last thing that went wrong with a process, or nothing.
    pub fn problem(&self, unit: Unit) -> &str {
        self.processes.get(unit).map_or("", |process| &process.problem)
    }

    /// How a process ended last.
    pub fn last_ending(&self, unit: Unit) -> Option<Ending> {
        self.processes.get(unit).and_then(|process| process.last)
    }

    fn in_state(&mut self, unit: Unit, state: State) -> Option<&mut Process> {
        self.processes.get_mut(unit).filter(|process| process.state == state)
    }

    /// What follows from an event: starts, or while the system is being stopped, further stops.
    fn go_on(&mut self, actions: Vec<Action>, now: Duration) -> Vec<Action> {
        if self.goal.is_some() { self.wind_down(actions, now) } else { self.settle(actions) }
    }

    /// Draws all conclusions from the states as they are now.
    fn settle(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        if self.goal.is_some() {
            return actions;
        }
        // A failure can make others fail, at most once each.
        while let Some((unit, problem)) = self.hopeless() {
            let Some(process) = self.processes.get_mut(unit) else { break };
            process.state = State::Failed;
            actions.push(Action::Log(Level::Error, format!("process {}: {problem}, failed", process.name)));
            process.problem = problem;
        }
        for unit in 0..self.processes.len() {
            if self.can_start(unit)
                && let Some(process) = self.processes.get_mut(unit)
            {
                process.state = State::Starting;
                actions.push(Action::Start(unit));
            }
        }
        if !self.announced && self.processes.iter().all(Process::is_settled) {
            self.announced = true;
            actions.push(self.announcement());
        }
        actions
    }

    /// A process that can never start, and why.
    fn hopeless(&self) -> Option<(Unit, String)> {
        self.processes.iter().enumerate().find_map(|(unit, process)| {
            if !matches!(process.state, State::Waiting | State::BackOff(_)) {
                return None;
            }
            process.needs.iter().find_map(|need| {
                let provider =
                    self.processes.get(need.process).filter(|provider| provider.state.is_final())?;
                let (export, _) = provider.exports.get(need.export)?;
                let what = if provider.state == State::Stopped { "stopped" } else { "failed" };
                Some((unit, format!("needs {export} of {}, which {what}", provider.name)))
            })
        })
    }

    fn can_start(&self, unit: Unit) -> bool {
        let ready = |need: &Need| self.availability(need.process, need.export) == Availability::Ready;
        self.processes
            .get(unit)
            .is_some_and(|process| process.state == State::Waiting && process.needs.iter().all(ready))
    }

    /// The line that says how far the processes have come. It is not the last of a boot: whether the system can be reached is
    /// for its services to say.
    fn announcement(&self) -> Action {
        let named = |wanted: fn(State) -> bool| {
            let names = self.processes.iter().filter(|process| wanted(process.state));
            names.map(|process| process.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let running = named(|state| matches!(state, State::Running(_)));
        let stopped = named(|state| state == State::Stopped);
        let failed = named(|state| state == State::Failed);
        let mut parts = Vec::new();
        let level = if failed.is_empty() {
            Level::Info
        } else {
            parts.push("capos: incomplete".to_string());
            Level::Error
        };
        for (what, names) in [("running", running), ("ended", stopped), ("failed", failed)] {
            if !names.is_empty() {
                parts.push(format!("{what}: {names}"));
            }
        }
        Action::Log(level, parts.join("; "))
    }
}

impl Reason {
    /// What is wrong with the process, in words.
    fn fault(&self) -> Option<&str> {
        match self {
            Self::Fault(words) => Some(words),
            Self::Follows(_) => None,
        }
    }
}

impl Process {
    /// Takes back all that it offered.
    fn withdraw(&mut self) {
        for (_, offer) in &mut self.exports {
            *offer = Offer::Absent;
        }
    }

    /// Whether it has come as far as it will: it runs and offers all it is to, or will never run.
    fn is_settled(&self) -> bool {
        match self.state {
            State::Running(_) => self.exports.iter().all(|(_, offer)| *offer == Offer::Present),
            State::Waiting | State::Starting | State::BackOff(_) => false,
            State::Stopped | State::Failed => true,
        }
    }
}

/// The processes whose exports an entry is granted, of those that are wanted.
fn providers(manifest: &Manifest, entry: &Entry, wanted: impl Fn(&Export) -> bool) -> Vec<Unit> {
    let exports = entry.grants.iter().filter_map(|grant| match &grant.source {
        Source::Export(export) if wanted(export) => manifest.position(&export.process),
        _ => None,
    });
    exports.collect()
}

fn need(manifest: &Manifest, export: &manifest::Export) -> Option<Need> {
    let process = manifest.position(&export.process)?;
    let exports = &manifest.entries.get(process)?.exports;
    Some(Need { process, export: exports.iter().position(|name| *name == export.name)? })
}

/// A process that was killed was killed on purpose.
fn level(ending: &Ending) -> Level {
    match ending.cause {
        Cause::Exited(0) => Level::Info,
        Cause::Killed => Level::Warn,
        Cause::Exited(_) | Cause::Fault { .. } => Level::Error,
    }
}

/// A number in words: 1st, 2nd, 3rd, 4th.
struct Ordinal(u32);

impl fmt::Display for Ordinal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match (self.0 % 10, self.0 % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        write!(formatter, "{}{ending}", self.0)
    }
}

#[cfg(test)]
mod tests;
