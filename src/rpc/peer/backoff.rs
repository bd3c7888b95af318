//! How long to leave a peer alone that could not be reached.

use std::time::Duration;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(20);

/// The longest pause: a peer that is reached again is found within that.
const LONGEST: Duration = Duration::from_millis(300);

/// Doubling pauses with jitter, so that nodes which lost each other at one moment do not all come
/// back at another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after another failure: between half and the whole of a pause that doubles with
    /// each. `chance` lies in 0..1 and is drawn by the caller.
    pub(super) fn after_failure(&mut self, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.after_failure(1.0).as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 300, 300, 300, 300]);
        for _ in 0..100 {
            assert_eq!(backoff.after_failure(1.0), LONGEST);
        }
    }

    #[test]
    fn jitter_takes_up_to_half() {
        assert_eq!(Backoff::default().after_failure(0.0), FIRST / 2);
        assert_eq!(Backoff::default().after_failure(0.5), FIRST * 3 / 4);
    }
}
