//! What to measure, from the arguments.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::keys::{KEY_BYTES_DEFAULT, KeySpace};
use crate::types::limits::{KEY_BYTES_MAX, REQUEST_BYTES_MAX};

/// How long to measure when nothing is said.
const SECONDS_DEFAULT: u64 = 10;

/// Most tasks and connections; more would measure the load generator.
const CLIENTS_MAX: u64 = 100_000;
const CONNECTIONS_MAX: u64 = 1_024;

/// `bench`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct BenchArguments {
    /// What to measure
    #[arg(value_enum)]
    workload: Workload,
    /// Operations in flight at one time
    #[arg(long, default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=CLIENTS_MAX))]
    clients: u64,
    /// Connections they share
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    conns: u64,
    /// Measure for so long [default: 10]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Measure so many operations; for load, the number of keys
    #[arg(long, value_name = "N", conflicts_with = "seconds",
        value_parser = clap::value_parser!(u64).range(1..))]
    total: Option<u64>,
    /// Different keys in use
    #[arg(long, default_value_t = 10_000, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..))]
    key_space: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = KEY_BYTES_DEFAULT as u64, value_name = "B",
        value_parser = clap::value_parser!(u64).range(1..=KEY_BYTES_MAX as u64))]
    key_size: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "B",
        value_parser = clap::value_parser!(u64).range(0..=REQUEST_BYTES_MAX as u64))]
    value_size: u64,
    /// Operations due each second, whether or not earlier ones were answered
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// Read what the asked node knows, without asking the leader
    #[arg(long)]
    serializable: bool,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Put a value under a random key
    Put,
    /// Read a random key
    Get,
    /// Read 100 keys from a random one on
    Range,
    /// Put under a random key if a compare holds, which it does, and read it back
    Txn,
    /// Four gets to one put
    Mixed,
    /// Put --total different keys, once each
    Load,
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// No operation is begun after this long.
    Time(Duration),
    /// So many operations were begun.
    Operations(u64),
}

/// What to measure, checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) clients: u64,
    pub(super) connections: usize,
    pub(super) until: Until,
    pub(super) keys: KeySpace,
    pub(super) value_bytes: usize,
    /// Operations due each second; none = a closed loop.
    pub(super) rate: Option<u64>,
    pub(super) serializable: bool,
}

impl Plan {
    /// Checks what clap cannot.
    pub(super) fn from_arguments(arguments: BenchArguments) -> Result<Self, String> {
        let until = match (arguments.total, arguments.seconds) {
            (Some(total), _) => Until::Operations(total),
            (None, Some(_)) if arguments.workload == Workload::Load => {
                return Err("bench load takes --total, the number of keys, not --seconds".into());
            }
            (None, None) if arguments.workload == Workload::Load => {
                return Err("bench load needs the number of keys; give --total".into());
            }
            (None, seconds) => Until::Time(Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT))),
        };
        let count = match (arguments.workload, until) {
            (Workload::Load, Until::Operations(total)) => total,
            _ => arguments.key_space,
        };
        let in_memory = |size: u64| usize::try_from(size).map_err(|error| error.to_string());
        let keys = KeySpace::new(count, in_memory(arguments.key_size)?)?;
        Ok(Self {
            workload: arguments.workload,
            clients: arguments.clients,
            connections: in_memory(arguments.conns)?,
            until,
            keys,
            value_bytes: in_memory(arguments.value_size)?,
            rate: arguments.rate,
            serializable: arguments.serializable,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArguments,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Plan::from_arguments(line.bench)
    }

    #[test]
    fn a_plan_ends_after_some_time_or_some_operations() {
        let ten = Until::Time(Duration::from_secs(10));
        assert_eq!(plan("put").expect("valid").until, ten);
        assert_eq!(plan("get --total 5").expect("valid").until, Until::Operations(5));
        let load = plan("load --total 70000 --clients 3").expect("valid");
        assert_eq!((load.until, load.keys.count()), (Until::Operations(70_000), 70_000));
        assert_eq!((load.clients, load.connections), (3, 1));
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let lines = [
            "load",
            "load --seconds 3",
            "put --seconds 3 --total 3",
            "put --clients 0",
            "put --key-size 7",
            "put --key-size 2000",
            "watch",
            "put --rate 0",
            "",
        ];
        for line in lines {
            plan(line).expect_err(line);
        }
    }
}
