//! What was measured, in the shape of `chainfire bench -o json`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency told apart, in microseconds: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Latencies of what succeeded, counts of what did not.
#[derive(Debug)]
pub struct Tally {
    latencies_us: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    /// From the first operation begun to the last one answered.
    pub elapsed: Duration,
}

/// The answer in JSON. Times in microseconds.
#[derive(Serialize)]
struct Report {
    ops: u64,
    errors: u64,
    ops_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

impl Tally {
    /// Nothing measured yet.
    pub fn new() -> Self {
        let latencies_us = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
            .expect("the bounds are in order and three digits are allowed");
        Self { latencies_us, errors: BTreeMap::new(), elapsed: Duration::ZERO }
    }

    /// One operation succeeded.
    pub fn succeeded(&mut self, latency: Duration) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.saturating_record(latency_us.max(1));
    }

    /// One operation did not.
    pub fn failed(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// How many succeeded.
    pub fn operations(&self) -> u64 {
        self.latencies_us.len()
    }

    /// How many did not, by kind.
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { self.operations() as f64 / seconds } else { 0.0 };
        let report = Report {
            ops: self.operations(),
            errors: self.errors.values().sum(),
            ops_per_second: (rate * 10.0).round() / 10.0,
            p50_us: self.latencies_us.value_at_quantile(0.5),
            p99_us: self.latencies_us.value_at_quantile(0.99),
            p999_us: self.latencies_us.value_at_quantile(0.999),
            max_us: self.latencies_us.max(),
        };
        serde_json::to_string(&report).expect("numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_what_chainfire_bench_prints() {
        let mut tally = Tally::new();
        tally.succeeded(Duration::from_micros(250));
        tally.failed("Unavailable: cut".to_owned());
        tally.elapsed = Duration::from_millis(300);
        let expected = concat!(
            r#"{"ops":1,"errors":1,"ops_per_second":3.3,"#,
            r#""p50_us":250,"p99_us":250,"p999_us":250,"max_us":250}"#
        );
        assert_eq!(tally.to_json(), expected);
    }
}
