//! What was measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::{Error, Failure};

/// The longest latency told apart, in microseconds: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Latencies of what succeeded, counts of what did not.
#[derive(Debug)]
pub(super) struct Tally {
    latencies_us: Histogram<u64>,
    errors: BTreeMap<&'static str, u64>,
    /// From the first operation begun to the last one answered.
    pub(super) elapsed: Duration,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latencies_us = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
            .expect("the bounds are in order and three digits are allowed");
        Self { latencies_us, errors: BTreeMap::new(), elapsed: Duration::ZERO }
    }

    /// One operation succeeded.
    pub(super) fn succeeded(&mut self, latency: Duration) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.saturating_record(latency_us.max(1));
    }

    /// One operation did not.
    pub(super) fn failed(&mut self, error: &Error) {
        *self.errors.entry(kind(error)).or_default() += 1;
    }

    /// How many succeeded.
    pub(super) fn operations(&self) -> u64 {
        self.latencies_us.len()
    }

    /// How many did not, by kind.
    pub(super) fn errors(&self) -> &BTreeMap<&'static str, u64> {
        &self.errors
    }

    /// The kind of error seen most.
    pub(super) fn most_frequent_error(&self) -> Option<&'static str> {
        self.errors.iter().max_by_key(|(_, count)| **count).map(|(kind, _)| *kind)
    }

    /// Successes a second.
    pub(super) fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.operations() as f64 / seconds } else { 0.0 }
    }

    /// The latency that this share of the operations did not exceed, in microseconds.
    pub(super) fn quantile_us(&self, share: f64) -> u64 {
        self.latencies_us.value_at_quantile(share)
    }

    /// The longest latency, in microseconds.
    pub(super) fn max_us(&self) -> u64 {
        self.latencies_us.max()
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Unknown { .. } => "outcome unknown",
        Error::Applied { .. } => "answer lost",
        Error::Failed(failure) => match failure {
            Failure::Unavailable { .. } => "unavailable",
            Failure::Overloaded => "overloaded",
            Failure::NoSpace(_) => "no space",
            Failure::PermissionDenied { .. } => "permission denied",
            Failure::Operation(_) | Failure::Refused { .. } => "refused by the store",
            Failure::Invalid { .. } | Failure::NoEndpoint | Failure::InvalidEndpoint { .. } => {
                "invalid"
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_successes_and_errors_apart() {
        let mut tally = Tally::new();
        for latency_us in 1..=1_000 {
            tally.succeeded(Duration::from_micros(latency_us));
        }
        tally.failed(&Failure::Overloaded.into());
        tally.failed(&Failure::Overloaded.into());
        tally.failed(&Error::Unknown { reason: "cut".into() });
        tally.elapsed = Duration::from_secs(2);
        assert_eq!((tally.operations(), tally.rate()), (1_000, 500.0));
        assert_eq!((tally.quantile_us(0.5), tally.quantile_us(0.99)), (500, 990));
        assert_eq!(tally.errors(), &BTreeMap::from([("outcome unknown", 1), ("overloaded", 2)]));
        assert_eq!(tally.most_frequent_error(), Some("overloaded"));
    }

    #[test]
    fn a_latency_beyond_all_bounds_is_still_counted() {
        let mut tally = Tally::new();
        tally.succeeded(Duration::ZERO);
        tally.succeeded(Duration::MAX);
        assert_eq!(tally.operations(), 2);
    }
}
