//! How often an actor may fail: a pure decision.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Failures allowed within [`WINDOW`] before the node gives up.
pub(super) const FAILURES_MAX: usize = 5;
/// A failure older than this is forgotten.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// The pause before the first restart; each further failure in the window doubles it.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What to do about a failed actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start it anew after a pause.
    RestartAfter(Duration),
    /// It failed too often: stop the node.
    GiveUp,
}

/// The failures of one actor that still count.
#[derive(Debug, Default)]
pub(super) struct RestartBudget {
    failures: VecDeque<Instant>,
}

impl RestartBudget {
    /// Records a failure and decides.
    pub(super) fn failed(&mut self, now: Instant) -> Decision {
        while self.failures.front().is_some_and(|at| now.duration_since(*at) > WINDOW) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        if self.failures.len() > FAILURES_MAX {
            return Decision::GiveUp;
        }
        let doublings = u32::try_from(self.failures.len() - 1).unwrap_or(u32::MAX).min(16);
        Decision::RestartAfter((BACKOFF_FIRST * 2_u32.pow(doublings)).min(BACKOFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_then_the_budget_ends() {
        let mut budget = RestartBudget::default();
        let now = crate::clock::monotonic();
        let pauses: Vec<_> = (0..FAILURES_MAX).map(|_| budget.failed(now)).collect();
        assert_eq!(pauses[0], Decision::RestartAfter(BACKOFF_FIRST));
        assert_eq!(pauses[1], Decision::RestartAfter(BACKOFF_FIRST * 2));
        assert!(pauses.iter().all(|pause| *pause != Decision::GiveUp));
        assert_eq!(budget.failed(now), Decision::GiveUp);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut budget = RestartBudget::default();
        let mut now = crate::clock::monotonic();
        for _ in 0..10 * FAILURES_MAX {
            now += WINDOW / 2;
            assert_ne!(budget.failed(now), Decision::GiveUp);
        }
    }
}
