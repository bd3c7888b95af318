//! What was measured, for people and for programs.

use std::io;

use serde::Serialize;

use super::plan::Plan;
use super::tally::Tally;
use crate::cli::terminal::Terminal;

/// The answer in JSON. Times in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct BenchJson {
    ops: u64,
    errors: u64,
    ops_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

/// The documented shape.
pub(super) fn to_json(tally: &Tally) -> BenchJson {
    BenchJson {
        ops: tally.operations(),
        errors: tally.errors().values().sum(),
        ops_per_second: (tally.rate() * 10.0).round() / 10.0,
        p50_us: tally.quantile_us(0.5),
        p99_us: tally.quantile_us(0.99),
        p999_us: tally.quantile_us(0.999),
        max_us: tally.max_us(),
    }
}

/// The same as text, with the errors by kind.
pub(super) fn print(terminal: &mut Terminal, plan: &Plan, tally: &Tally) -> io::Result<()> {
    let BenchJson { ops, errors, ops_per_second, p50_us, p99_us, p999_us, max_us } = to_json(tally);
    let workload = format!("{:?}", plan.workload).to_lowercase();
    let load = match plan.rate {
        Some(rate) => format!("{rate} due a second, at most {} in flight", plan.clients),
        None => format!("{} in flight", plan.clients),
    };
    let seconds = tally.elapsed.as_secs_f64();
    terminal.line(format!("{workload}: {load}, connections: {}", plan.connections))?;
    terminal.line(format!("operations  {ops} in {seconds:.2} s, {ops_per_second} a second"))?;
    terminal.line(format!("errors      {errors}"))?;
    for (kind, count) in tally.errors() {
        terminal.line(format!("            {count} {kind}"))?;
    }
    let latencies = [("p50", p50_us), ("p99", p99_us), ("p99.9", p999_us), ("max", max_us)];
    for (name, latency_us) in latencies {
        terminal.line(format!("{name:<11} {} ms", latency_us as f64 / 1_000.0))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_json_has_its_documented_shape() {
        let mut tally = Tally::new();
        tally.succeeded(Duration::from_micros(250));
        tally.elapsed = Duration::from_millis(300);
        let json = serde_json::to_string(&to_json(&tally)).expect("serialisable");
        let expected = concat!(
            r#"{"ops":1,"errors":0,"ops_per_second":3.3,"#,
            r#""p50_us":250,"p99_us":250,"p999_us":250,"max_us":250}"#
        );
        assert_eq!(json, expected);
    }
}
