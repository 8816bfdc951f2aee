//! The orderly end of the system: who is used by nobody any more is asked to end, until nothing runs.
//!
//! ```text
//!   NotAsked --nobody uses it--> Asked, until its deadline --ends--> Stopped
//!                                     \--deadline--> Killed --ends--> Stopped
//! ```

use super::{Action, Goal, Reason, State, Supervision, Unit};
use alloc::{format, vec::Vec};
use core::time::Duration;

/// How long one process may take to end.
const DEADLINE: Duration = Duration::from_secs(3);

/// How far a process has come with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is still used.
    NotAsked,
    /// It is to end by this time.
    Asked(Duration),
    /// It did not.
    Killed,
}

impl Supervision {
    /// Ends all processes in order, and then the machine. A second wish changes nothing.
    pub fn stop(&mut self, goal: Goal, now: Duration) -> Vec<Action> {
        if self.goal.is_some() {
            return Vec::new();
        }
        self.goal = Some(goal);
        for process in &mut self.processes {
            match process.state {
                State::Waiting | State::BackOff(_) => process.state = State::Stopped,
                State::Starting => process.doomed = true,
                State::Running(_) | State::Stopped | State::Failed => {}
            }
        }
        self.wind_down(Vec::new(), now)
    }

    /// Asks who is used by nobody that lives; kills who is late; ends the machine when nobody is left.
    pub(super) fn wind_down(&mut self, mut actions: Vec<Action>, now: Duration) -> Vec<Action> {
        let mut next: Vec<Unit> =
            self.living().filter(|unit| !self.living().any(|user| self.uses(user, *unit))).collect();
        let waits = |unit: &Unit| self.processes.get(*unit).is_some_and(|it| it.stop != Stop::NotAsked);
        if next.is_empty() && !self.living().any(|unit| waits(&unit)) {
            // They use each other in a circle: no order is better than another.
            next = self.living().collect();
        }
        for unit in next {
            let Some(process) = self.processes.get_mut(unit) else { continue };
            if process.stop == Stop::NotAsked && matches!(process.state, State::Running(_)) {
                process.stop = Stop::Asked(now + DEADLINE);
                actions.extend([Action::Stop(unit), Action::WakeAt(now + DEADLINE)]);
            }
        }
        for (unit, process) in self.processes.iter_mut().enumerate() {
            if let (Stop::Asked(deadline), State::Running(_)) = (process.stop, process.state)
                && deadline <= now
            {
                process.stop = Stop::Killed;
                let late = format!("did not end within {} s when it was asked to", DEADLINE.as_secs());
                process.reason = Some(Reason::Fault(late));
                actions.push(Action::Kill(unit));
            }
        }
        if let (None, Some(goal)) = (self.living().next(), self.goal) {
            actions.push(Action::Power(goal));
        }
        actions
    }

    /// Processes that have not ended.
    fn living(&self) -> impl Iterator<Item = Unit> {
        let lives = |state| matches!(state, State::Running(_) | State::Starting);
        self.processes
            .iter()
            .enumerate()
            .filter(move |(_, process)| lives(process.state))
            .map(|(unit, _)| unit)
    }

    fn uses(&self, user: Unit, used: Unit) -> bool {
        user != used && self.processes.get(user).is_some_and(|process| process.uses.contains(&used))
    }
}
