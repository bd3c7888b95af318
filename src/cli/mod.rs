//! The command line: arguments in, exit code out.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 outcome unknown. Answers go to standard output,
//! everything else to standard error; an error is one line there that says what to do next.
//!
//! Each command is a file: it takes its arguments and a `Terminal`, and
//! answers a `CommandError` at worst. Only [`main`] knows the process.
//!
//! Commands other than `serve` run on one thread: they wait for the network most of the time, and
//! a load generator that takes no more than one core leaves the others to the nodes it measures.

mod access;
mod alarms;
mod arguments;
mod bench;
mod bytes;
mod cluster;
mod completion;
mod delete;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
mod get;
mod json;
#[cfg(feature = "server")]
mod keygen;
pub mod logging;
mod members;
mod presign;
mod put;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod snapshot;
mod terminal;
mod tls;
mod transfer;
mod txn;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::{AlarmCommand, Arguments, Command, JoinCommand};
use failure::CommandError;
use terminal::Terminal;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            // With standard output gone there is nobody to help.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return report(&CommandError::usage_of(&error)),
    };
    let outcome = match arguments.command {
        #[cfg(feature = "server")]
        Command::Serve(serve) => return serve::run(*serve),
        Command::Completion { shell } => completion::run(shell, &mut Terminal::standard()),
        #[cfg(feature = "server")]
        Command::Keygen(keygen) => keygen::run(&keygen, &mut Terminal::standard()),
        Command::Presign(presign) => {
            presign::run(&arguments.global, presign, &mut Terminal::standard())
        }
        _ => run_on_the_network(arguments),
    };
    outcome.map_or_else(|error| report(&error), |()| ExitCode::SUCCESS)
}

fn run_on_the_network(arguments: Arguments) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(dispatch(arguments));
    // A thread may still wait for a line of standard input: it must not hold the process.
    runtime.shutdown_background();
    done
}

async fn dispatch(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { global, command } = arguments;
    let terminal = &mut Terminal::standard();
    match command {
        #[cfg(feature = "server")]
        Command::Serve(_) => unreachable!("a node runs on a runtime of its own"),
        #[cfg(feature = "server")]
        Command::Keygen(_) => unreachable!("keys are made without a network"),
        Command::Presign(_) => unreachable!("links are made without a network"),
        Command::Put(put) => put::run(&global, put, terminal).await,
        Command::Get(get) => get::run(&global, get, terminal).await,
        Command::Del(delete) => delete::run(&global, delete, terminal).await,
        Command::Txn(txn) => txn::run(&global, txn, terminal).await,
        Command::Compact(compact) => cluster::compact(&global, compact, terminal).await,
        Command::Export(export) => transfer::export(&global, export, terminal).await,
        Command::Import(import) => transfer::import(&global, import, terminal).await,
        Command::Status => cluster::status(&global, terminal).await,
        Command::Alarm { command: AlarmCommand::List } => alarms::list(&global, terminal).await,
        Command::Member { command } => members::run(&global, command, terminal).await,
        Command::Join { command: JoinCommand::Status } => {
            members::join_status(&global, terminal).await
        }
        Command::User { command } => access::user(&global, command, terminal).await,
        Command::Role { command } => access::role(&global, command, terminal).await,
        Command::Key { command } => access::key(&global, command, terminal).await,
        Command::Whoami => access::whoami(&global, terminal).await,
        #[cfg(feature = "server")]
        Command::Snapshot { command } => snapshot::run(&global, command, terminal).await,
        Command::MoveLeader { to } => members::move_leader(&global, to, terminal).await,
        Command::Bench(bench) => bench::run(&global, bench, terminal).await,
        Command::Completion { shell } => completion::run(shell, terminal),
    }
}

/// One line on standard error, and the exit code.
fn report(error: &CommandError) -> ExitCode {
    if !error.is_silent() {
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(std::io::stderr().lock(), "chainfire: {}", error.line());
    }
    ExitCode::from(error.code())
}
