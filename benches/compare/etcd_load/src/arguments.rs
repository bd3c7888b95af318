//! The command line: the names and defaults of `chainfire bench`.

use std::time::Duration;

use bytes::Bytes;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// What every key begins with, as chainfire's benchmark has it.
const PREFIX: &str = "bench/";

/// How long to measure, or to wait, when nothing is said.
const SECONDS_DEFAULT: u64 = 10;

/// Loads etcd the way `chainfire bench` loads chainfire, and answers in the same JSON.
#[derive(Clone, Debug, Parser)]
pub struct Arguments {
    /// What to do
    #[arg(value_enum)]
    pub workload: Workload,
    /// Client addresses of the nodes, each HOST:PORT
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379", value_name = "A,B,C")]
    pub endpoints: Vec<String>,
    /// Operations in flight at one time
    #[arg(long, default_value_t = 64, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub clients: u64,
    /// Connections they share, all to the leader
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1_024))]
    pub conns: u64,
    /// Deal the connections out to all endpoints instead
    #[arg(long)]
    pub spread: bool,
    /// Measure, or wait to be ready, for so long [default: 10]
    #[arg(long, value_name = "S", conflicts_with = "total")]
    seconds: Option<u64>,
    /// Measure so many operations; for load, the number of keys
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub total: Option<u64>,
    /// Begin so many operations a second, whether or not earlier ones are answered, up to --clients
    /// in flight; without it each client begins one when its last was answered
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rate: Option<u64>,
    /// Different keys in use
    #[arg(long, default_value_t = 10_000, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..))]
    key_space: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 24, value_name = "B")]
    key_size: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "B")]
    pub value_size: usize,
    /// Read what the asked node knows, without asking the leader
    #[arg(long)]
    pub serializable: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Put a value under a random key
    Put,
    /// Read a random key
    Get,
    /// Put --total different keys, once each
    Load,
    /// Wait until every endpoint answers a linearizable read; measures nothing
    Ready,
}

impl Arguments {
    /// Checks what clap cannot; ends the process with a usage error.
    pub fn checked(self) -> Self {
        let needed = PREFIX.len() + (self.keys() - 1).to_string().len();
        let complaint = match self.workload {
            Workload::Load if self.total.is_none() => {
                "load needs the number of keys; give --total".to_owned()
            }
            _ if self.key_size < needed => {
                format!("the keys need {needed} bytes each; give --key-size {needed} or more")
            }
            _ => return self,
        };
        Self::command().error(ErrorKind::ValueValidation, complaint).exit()
    }

    /// How long to measure or to wait.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(SECONDS_DEFAULT))
    }

    /// How many different keys there are.
    pub fn keys(&self) -> u64 {
        match (self.workload, self.total) {
            (Workload::Load, Some(total)) => total,
            _ => self.key_space,
        }
    }

    /// The key of a number below the count: the same bytes as in chainfire's benchmark.
    pub fn key(&self, number: u64) -> Bytes {
        let digits = self.key_size - PREFIX.len();
        format!("{PREFIX}{number:0digits$}").into()
    }

    /// Any key.
    pub fn random_key(&self) -> Bytes {
        self.key(rand::random_range(0..self.keys()))
    }
}
