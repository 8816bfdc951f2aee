//! When a process that ended is started again.

use alloc::collections::VecDeque;
use core::time::Duration;
use manifest::{RestartKind, RestartPolicy};

/// Longest wait before a restart.
const MAXIMUM_BACK_OFF: Duration = Duration::from_secs(1);

/// A process that lived longer than this starts with the shortest wait again.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// What to do about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start it again after this wait.
    Restart(Duration),
    /// The policy says to leave it.
    Leave,
    /// It was restarted as often as the policy allows.
    GiveUp,
}

/// The restarts of one process: at most as many as the policy's maximum are remembered.
#[derive(Clone, Debug)]
pub(crate) struct History {
    policy: RestartPolicy,
    restarts: VecDeque<Duration>,
    back_off: Duration,
}

impl History {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { policy, restarts: VecDeque::new(), back_off: Duration::ZERO }
    }

    /// Decides about a process that was started at `started` and ended at `now`; `success` is how.
    pub(crate) fn ended(&mut self, started: Duration, now: Duration, success: Success) -> Verdict {
        match (self.policy.kind, success) {
            (RestartKind::Never, _) | (RestartKind::OnFailure, Success::Yes) => return Verdict::Leave,
            (RestartKind::OnFailure, Success::No) | (RestartKind::Always, _) => {}
        }
        let window = Duration::from_secs(self.policy.window_seconds.into());
        let is_old = |restart: &Duration| now.saturating_sub(*restart) > window;
        while self.restarts.front().is_some_and(is_old) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= usize::from(self.policy.maximum) {
            return Verdict::GiveUp;
        }
        let first = Duration::from_millis(self.policy.back_off_milliseconds.into());
        let lived = now.saturating_sub(started);
        self.back_off = if self.back_off.is_zero() || lived > SHORT_LIFE {
            first
        } else {
            self.back_off.saturating_mul(2).min(MAXIMUM_BACK_OFF)
        };
        self.restarts.push_back(now);
        Verdict::Restart(self.back_off)
    }

    /// The policy, for who says why it gave up.
    pub(crate) fn policy(&self) -> &RestartPolicy {
        &self.policy
    }
}

/// Whether a process ended as it wanted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Success {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn milliseconds(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn history(kind: RestartKind, maximum: u16) -> History {
        History::new(RestartPolicy { kind, maximum, window_seconds: 60, back_off_milliseconds: 10 })
    }

    #[test]
    fn the_kind_says_after_which_ends() {
        let verdict = |kind, success| history(kind, 5).ended(milliseconds(0), milliseconds(5), success);
        let again = Verdict::Restart(milliseconds(10));
        assert_eq!(verdict(RestartKind::Always, Success::Yes), again);
        assert_eq!(verdict(RestartKind::Always, Success::No), again);
        assert_eq!(verdict(RestartKind::OnFailure, Success::Yes), Verdict::Leave);
        assert_eq!(verdict(RestartKind::OnFailure, Success::No), again);
        assert_eq!(verdict(RestartKind::Never, Success::No), Verdict::Leave);
    }

    #[test]
    fn the_back_off_doubles_up_to_a_second_and_starts_again_after_a_long_life() {
        let mut history = history(RestartKind::Always, 1000);
        let waits: Vec<Duration> = (0..9)
            .map(|index| match history.ended(milliseconds(index), milliseconds(index + 1), Success::No) {
                Verdict::Restart(wait) => wait,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(milliseconds));
        let verdict = history.ended(milliseconds(10), milliseconds(1011), Success::No);
        assert_eq!(verdict, Verdict::Restart(milliseconds(10)));
    }

    #[test]
    fn only_restarts_inside_the_window_count() {
        let mut history = history(RestartKind::Always, 2);
        let mut end_at =
            |second: u64| history.ended(milliseconds(0), Duration::from_secs(second), Success::No);
        assert!(matches!(end_at(10), Verdict::Restart(_)));
        assert!(matches!(end_at(20), Verdict::Restart(_)));
        assert_eq!(end_at(70), Verdict::GiveUp);
        assert!(matches!(end_at(71), Verdict::Restart(_)));
        assert_eq!(end_at(80), Verdict::GiveUp);
        assert!(matches!(end_at(81), Verdict::Restart(_)));
    }
}
