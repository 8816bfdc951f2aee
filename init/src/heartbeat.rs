//! Whether a process that was asked for a sign of life gave one, or hangs.
//!
//! ```text
//!   each period: answered since? --yes--> ask again
//!                     \--no--> could it have? --no---> ask again
//!                                     \--yes--> missed; the fourth in a row: it hangs
//! ```
//!
//! A process could not have answered while others had its processor, or while nothing ran at all: neither is held against it. One
//! that is paused, waits for something else, or computes without end could have, or would have to.

use alloc::{format, string::String};
use core::time::Duration;

/// Heartbeats that a process may miss in a row; the next one ends it.
const MISSES: u32 = 4;

/// What the threads of a process do, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// It is paused.
    pub paused: bool,
    /// Threads that are on a processor.
    pub running: u16,
    /// Threads that would be if it were their turn.
    pub ready: u16,
    /// Processor time that it has used.
    pub time: Duration,
}

/// What to do about a process at the end of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Ask it again.
    Ask,
    /// End it, for this reason.
    Hangs(String),
}

/// The heartbeats of one life of a process.
#[derive(Clone, Debug)]
pub struct Heart {
    period: Duration,
    answered: bool,
    missed: u32,
    problem: String,
    /// Processor time at the last look.
    time: Duration,
}

impl Heart {
    /// Of a process that has just been started: the runtime's first word to init is its first sign of life.
    pub fn new(period: Duration) -> Self {
        Self { period, answered: false, missed: 0, problem: String::new(), time: Duration::ZERO }
    }

    /// The process answered. A problem that it names counts like no answer.
    pub fn answered(&mut self, problem: String) {
        self.answered = true;
        self.problem = problem;
    }

    /// A period is over. `late` is how long after its end init came to look: then the machine or init itself did not run.
    pub fn tick(&mut self, activity: Activity, late: Duration) -> Beat {
        let ran = activity.time.saturating_sub(self.time);
        self.time = activity.time;
        if self.answered && self.problem.is_empty() {
            self.missed = 0;
            self.answered = false;
            return Beat::Ask;
        }
        let starved =
            !activity.paused && activity.running == 0 && activity.ready > 0 && ran < self.period / 4;
        if late > self.period / 2 || (starved && !self.answered) {
            return Beat::Ask;
        }
        self.answered = false;
        self.missed += 1;
        if self.missed < MISSES {
            return Beat::Ask;
        }
        Beat::Hangs(self.reason(activity))
    }

    fn reason(&self, activity: Activity) -> String {
        if !self.problem.is_empty() {
            return format!("it says {:?}", self.problem);
        }
        let what = if activity.paused {
            "it is paused"
        } else if activity.running > 0 || activity.ready > 0 {
            "it computes"
        } else {
            "it waits"
        };
        format!("missed {MISSES} heartbeats of {} ms, {what}", self.period.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(1000);

    fn activity(running: u16, ready: u16, time: u64) -> Activity {
        Activity { paused: false, running, ready, time: Duration::from_millis(time) }
    }

    const WAITS: Activity = Activity { paused: false, running: 0, ready: 0, time: Duration::ZERO };

    /// Ticks without an answer until it is taken to hang, at most 20.
    fn misses(heart: &mut Heart, mut activity: impl FnMut(u64) -> Activity) -> Option<(u64, String)> {
        (1..=20).find_map(|tick| match heart.tick(activity(tick), Duration::ZERO) {
            Beat::Ask => None,
            Beat::Hangs(reason) => Some((tick, reason)),
        })
    }

    #[test]
    fn who_answers_lives() {
        let mut heart = Heart::new(PERIOD);
        for _ in 0..20 {
            heart.answered(String::new());
            assert_eq!(heart.tick(activity(1, 0, 0), Duration::ZERO), Beat::Ask);
        }
    }

    #[test]
    fn misses_count_in_a_row_only() {
        let mut heart = Heart::new(PERIOD);
        for tick in 1..20 {
            if tick % 4 == 0 {
                heart.answered(String::new());
            }
            assert_eq!(heart.tick(WAITS, Duration::ZERO), Beat::Ask, "{tick}");
        }
        let mut heart = Heart::new(PERIOD);
        let reason = "missed 4 heartbeats of 1000 ms, it waits";
        assert_eq!(misses(&mut heart, |_| WAITS), Some((4, reason.into())));
    }

    #[test]
    fn who_computes_without_end_hangs_and_who_gets_no_processor_does_not() {
        let computes = "missed 4 heartbeats of 1000 ms, it computes";
        let running = misses(&mut Heart::new(PERIOD), |_| activity(1, 0, 0));
        assert_eq!(running, Some((4, computes.into())));
        // Taken off its processor by who looks, it is ready; its processor time tells.
        let ready = misses(&mut Heart::new(PERIOD), |tick| activity(0, 1, tick * 900));
        assert_eq!(ready, Some((4, computes.into())));
        assert_eq!(misses(&mut Heart::new(PERIOD), |tick| activity(0, 1, tick * 200)), None);
    }

    #[test]
    fn who_is_paused_hangs_although_it_would_run() {
        let paused = Activity { paused: true, ..activity(0, 1, 0) };
        let reason = "missed 4 heartbeats of 1000 ms, it is paused";
        assert_eq!(misses(&mut Heart::new(PERIOD), |_| paused), Some((4, reason.into())));
    }

    #[test]
    fn a_late_look_is_held_against_nobody() {
        let mut heart = Heart::new(PERIOD);
        for _ in 0..20 {
            assert_eq!(heart.tick(WAITS, Duration::from_millis(501)), Beat::Ask);
        }
        assert!(misses(&mut heart, |_| WAITS).is_some());
    }

    #[test]
    fn a_problem_counts_like_no_answer() {
        let mut heart = Heart::new(PERIOD);
        for _ in 0..3 {
            heart.answered("no interrupt".into());
            assert_eq!(heart.tick(activity(0, 1, 0), Duration::ZERO), Beat::Ask);
        }
        heart.answered(String::new());
        assert_eq!(heart.tick(WAITS, Duration::ZERO), Beat::Ask);
        for _ in 0..3 {
            heart.answered("no interrupt".into());
            assert_eq!(heart.tick(WAITS, Duration::ZERO), Beat::Ask);
        }
        heart.answered("no interrupt".into());
        assert_eq!(heart.tick(WAITS, Duration::ZERO), Beat::Hangs("it says \"no interrupt\"".into()));
    }
}
