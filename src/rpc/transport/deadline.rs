//! Deadlines: on the wire as what is left, clamped, and never trusted.
//!
//! tarpc keeps a timer of its own for every call and, when it fires, drops the call without an
//! answer (and writes an error to the log). We want the typed answer, so tarpc's timer is set
//! [`GRACE`] later than the deadline, and the timeouts that decide are our own: the caller's
//! around the call, the server's around the handler. Only the true rest travels.

use std::time::{Duration, Instant};

use tarpc::context::Context;

use super::limits::DEADLINE_MAX;
use crate::clock;

/// How much later than the deadline tarpc's own timer fires.
const GRACE: Duration = Duration::from_secs(2);

/// The context of a call that must be answered within `timeout`, at most [`DEADLINE_MAX`].
///
/// tarpc's timer does not cover a call that waits for a connection whose other end has stopped
/// reading: the caller must wrap the call in a timeout of its own as well.
pub fn call_context(timeout: Duration) -> Context {
    let mut context = Context::current();
    context.deadline = clock::monotonic() + timeout.min(DEADLINE_MAX) + GRACE;
    context
}

/// What is left to a call, in a handler.
pub fn remaining(context: &Context) -> Duration {
    until(context.deadline)
}

/// What is left of a deadline made by [`call_context`] or [`from_wire`].
fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::monotonic()).saturating_sub(GRACE)
}

/// What travels: the rest in milliseconds, rounded up.
pub(super) fn to_wire(deadline: Instant) -> u64 {
    let micros = until(deadline).as_micros();
    u64::try_from(micros.div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// tarpc's deadline from what travelled, clamped.
pub(super) fn from_wire(remaining_ms: u64) -> Instant {
    clock::monotonic() + Duration::from_millis(remaining_ms).min(DEADLINE_MAX) + GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_deadline_is_clamped() {
        for context in [call_context(Duration::MAX), {
            let mut context = Context::current();
            context.deadline = from_wire(u64::MAX);
            context
        }] {
            let rest = remaining(&context);
            assert!(rest <= DEADLINE_MAX && rest > DEADLINE_MAX - Duration::from_secs(5));
        }
    }

    #[test]
    fn what_travels_is_the_true_rest() {
        let sent = to_wire(call_context(Duration::from_secs(5)).deadline);
        assert!((4_000..=5_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_deadline_that_passed_leaves_nothing() {
        let context = call_context(Duration::ZERO);
        assert_eq!(remaining(&context), Duration::ZERO);
        assert_eq!(to_wire(context.deadline), 0);
        assert_eq!(to_wire(clock::monotonic()), 0);
    }
}
