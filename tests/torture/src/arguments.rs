//! The command line.

use std::path::PathBuf;

/// Wrong on purpose, in the clients: the checks must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFault {
    /// A local read that claims to be linearizable.
    StaleRead,
    /// An unknown put is sent again as a new request.
    Resend,
    /// A sum put together from two reads.
    SplitRead,
}

/// Wrong on purpose, below the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// A majority's directories go back to what they were a moment ago.
    Rollback,
    /// Every sync returns before anything is on the disk, and then the power goes.
    NoSync,
}

#[derive(Clone, Debug)]
pub struct Arguments {
    pub command: String,
    pub seed: u64,
    pub seconds: u64,
    /// How many, where a command counts.
    pub count: u64,
    pub bin: PathBuf,
    /// `all`, or one workload's name.
    pub workload: String,
    pub client_fault: Option<ClientFault>,
    pub disk_fault: Option<DiskFault>,
    /// A fault that the binary was built with: `CHAINFIRE_PLANTED_FAULT` of every node.
    pub planted: Option<String>,
    /// Falsify the recorded history and see that each falsification is flagged.
    pub mutate: bool,
    /// Keep logs and data.
    pub keep: bool,
    /// Per cent of the usual rate of requests.
    pub load: u64,
    /// Print faults as they happen.
    pub trace: bool,
}

const USAGE: &str = "usage: torture list
       torture NEMESIS [options]       one nemesis
       torture mix [options]           nemeses in turn, drawn from the seed, for --seconds
       torture plan [options]          what `mix` would do
       torture flips [options]         --count single-bit flips in what a node has on its disk
       torture planted [options]       each fault the binary was built with, and the same without
       torture sessions|sessions-client [options]
       torture etcd                    distances and outages for etcd (ETCD_BIN: its folder)
options: --seed N  --seconds N  --count N  --bin PATH  --workload all|register|set|bank|skew
         --load PERCENT  --plant stale|resend|split|rollback|no-sync  --fault NAME
         --mutate  --keep  --trace";

impl Arguments {
    pub fn parse(given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            command: String::new(),
            seed: 20_261_127,
            seconds: 30,
            count: 300,
            bin: std::env::var_os("CHAINFIRE_BIN").unwrap_or_else(|| "chainfire".into()).into(),
            workload: "all".into(),
            client_fault: None,
            disk_fault: None,
            planted: None,
            mutate: false,
            keep: false,
            load: 100,
            trace: false,
        };
        let mut given = given;
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(format!("{argument} wants a value\n{USAGE}"));
            match argument.as_str() {
                "--seed" => parsed.seed = number(&value()?)?,
                "--seconds" => parsed.seconds = number(&value()?)?,
                "--count" => parsed.count = number(&value()?)?,
                "--load" => parsed.load = number(&value()?)?.max(1),
                "--bin" => parsed.bin = value()?.into(),
                "--workload" => parsed.workload = value()?,
                "--fault" => parsed.planted = Some(value()?),
                "--plant" => parsed.plant(&value()?)?,
                "--mutate" => parsed.mutate = true,
                "--keep" => parsed.keep = true,
                "--trace" => parsed.trace = true,
                name if parsed.command.is_empty() && !name.starts_with('-') => {
                    parsed.command = name.into();
                }
                other => return Err(format!("{other} is not known\n{USAGE}")),
            }
        }
        if parsed.command.is_empty() {
            return Err(USAGE.into());
        }
        Ok(parsed)
    }

    fn plant(&mut self, name: &str) -> Result<(), String> {
        match name {
            "stale" => self.client_fault = Some(ClientFault::StaleRead),
            "resend" => self.client_fault = Some(ClientFault::Resend),
            "split" => self.client_fault = Some(ClientFault::SplitRead),
            "rollback" => self.disk_fault = Some(DiskFault::Rollback),
            "no-sync" => self.disk_fault = Some(DiskFault::NoSync),
            other => return Err(format!("--plant {other} is not known\n{USAGE}")),
        }
        Ok(())
    }

    /// Whether a workload is asked for.
    pub fn wants(&self, workload: &str) -> bool {
        self.workload == "all" || self.workload == workload
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number\n{USAGE}"))
}
