//! A torture harness: real nodes, real clients, faults, and checks of what the clients saw.
//!
//! - `arguments`, `system`, `random`: the command line, the system's calls, the seed
//! - `cluster`, `network`: nodes as processes; their disks, clocks and links
//! - `workload`, `history`, `world`: the clients and what they note
//! - `nemesis`: the faults
//! - `check`: what must be true of what was noted; `mutate`: that the checks can fail
//! - `flips`: single-bit flips, counted by what became of them
//! - `run`: one run from start to verdict; `mix`: many in turn
//! - `planted`: faults that a binary was built with are found; `replicated_clock`: watched
//! - `sessions`, `rival`: two questions asked apart
//!
//! A run that panics is a failed run: `unwrap` and `expect` are welcome here.

mod arguments;
mod check;
mod cluster;
mod flips;
mod history;
mod mix;
mod mutate;
mod nemesis;
mod network;
mod planted;
mod random;
mod replicated_clock;
mod rival;
mod run;
mod sessions;
mod system;
mod workload;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use arguments::Arguments;
use nemesis::Nemesis;

/// Something was found.
const FOUND: u8 = 1;
/// It could not be run.
const CANNOT: u8 = 2;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| command(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FOUND.into(),
        Err(error) => {
            eprintln!("torture: {error}");
            CANNOT.into()
        }
    }
}

/// Does what the command line says; whether all is well.
fn command(arguments: &Arguments) -> Result<bool, String> {
    match arguments.command.as_str() {
        "list" => {
            for nemesis in nemesis::ALL {
                println!("{:18} {}", nemesis.name, nemesis.about);
            }
            return Ok(true);
        }
        "plan" => {
            mix::print(&mix::plan(arguments));
            return Ok(true);
        }
        _ => {}
    }
    prepare()?;
    match arguments.command.as_str() {
        "mix" => mix::run(arguments),
        "flips" => in_runtime(flips::run(arguments)),
        "planted" => in_runtime(planted::run(arguments)),
        "etcd" => rival::run(),
        "sessions" => in_runtime(sessions::through_protocol(arguments)),
        "sessions-client" => in_runtime(sessions::through_client(arguments)),
        name => {
            let nemesis = Nemesis::named(name).ok_or(format!("no nemesis {name}; try list"))?;
            run_one(arguments, nemesis)
        }
    }
}

/// Isolates this process, or says what is missing.
fn prepare() -> Result<(), String> {
    system::isolate()?;
    let missing = system::missing();
    if missing.is_empty() { Ok(()) } else { Err(format!("missing: {}", missing.join("; "))) }
}

/// One nemesis from start to verdict; whether nothing was found.
fn run_one(arguments: &Arguments, nemesis: &Nemesis) -> Result<bool, String> {
    let verdict = in_runtime(run::run(arguments, nemesis))?;
    Ok(verdict.good())
}

fn in_runtime<T>(task: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let result = runtime.block_on(task);
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
