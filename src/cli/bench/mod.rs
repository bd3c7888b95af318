//! `bench`: how many operations a second, and how long each takes.
//!
//! Closed loop by default: each of `--clients` tasks sends its next operation when the last one
//! was answered. With `--rate` the load is open: operations are due at fixed times, and each is
//! measured from when it was due, so that a store that stalls cannot hide the operations that
//! would have come meanwhile (no coordinated omission).
//!
//! Only acknowledged operations are counted: a counted write is one revision. Connections are
//! opened, and the leader found, before the clock starts.

mod keys;
mod plan;
mod report;
mod run;
mod tally;
mod workload;

pub(super) use plan::BenchArguments;

use super::arguments::Global;
use super::failure::CommandError;
use super::terminal::Terminal;
use plan::Plan;
use report::{print, to_json};

pub(super) async fn run(
    global: &Global,
    arguments: BenchArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let plan = Plan::from_arguments(arguments).map_err(CommandError::Usage)?;
    let client = global.client()?.connections_per_endpoint(plan.connections).connect().await?;
    run::prepare(&client, &plan).await?;
    let tally = run::measure(&client, &plan).await?;
    if global.json() {
        terminal.json(&to_json(&tally))?;
    } else {
        print(terminal, &plan, &tally)?;
    }
    terminal.flush()?;
    match tally.most_frequent_error() {
        Some(reason) if tally.operations() == 0 => {
            Err(CommandError::NothingMeasured { reason: reason.to_owned() })
        }
        _ => Ok(()),
    }
}
