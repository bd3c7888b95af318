//! The replicated clock.
//!
//! Sessions (and leases) must expire by a time that every member agrees on, so the leader writes
//! its clock into each command. That clock is no wall clock: it counts milliseconds since the
//! cluster began, advances with the node's monotonic clock, and is pulled forward by what other
//! leaders wrote. A wall clock that jumps therefore expires nothing, and time that passes while
//! the whole cluster is down does not count.
//!
//! # What must stay true
//! - [`now_ms`](ReplicatedClock::now_ms) never runs back.
//! - It never lies behind a time it has observed.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One node's reading of the replicated clock.
pub(super) struct ReplicatedClock {
    anchor: Mutex<Anchor>,
}

/// At `at` on the monotonic clock it was `time_ms`.
struct Anchor {
    time_ms: u64,
    at: Instant,
}

impl ReplicatedClock {
    /// A clock that reads `time_ms` now.
    pub(super) fn new(time_ms: u64, now: Instant) -> Self {
        Self { anchor: Mutex::new(Anchor { time_ms, at: now }) }
    }

    /// The time, after `observed_ms` was seen in an applied command.
    pub(super) fn now_ms(&self, observed_ms: u64, now: Instant) -> u64 {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(anchor.at).as_millis();
        let time_ms = anchor.time_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        if observed_ms <= time_ms {
            return time_ms;
        }
        *anchor = Anchor { time_ms: observed_ms, at: now };
        observed_ms
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_advances_with_the_monotonic_clock_and_never_lies_behind_what_it_saw() {
        let start = crate::clock::monotonic();
        let clock = ReplicatedClock::new(1_000, start);
        assert_eq!(clock.now_ms(0, start), 1_000);
        assert_eq!(clock.now_ms(0, start + Duration::from_millis(5)), 1_005);
        assert_eq!(clock.now_ms(9_000, start + Duration::from_millis(6)), 9_000);
        assert_eq!(clock.now_ms(0, start + Duration::from_millis(8)), 9_002);
    }
}
