//! The only door to the machine's clocks.
//!
//! Nothing that decides what is in the store reads a clock: leases and sessions run on the
//! leader's replicated time, which is carried in log entries. What is left is deadlines, timings
//! for metrics, and dates for people.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock: for deadlines and durations.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Time since 1970 by the wall clock: for log lines and file names, never for a decision.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
