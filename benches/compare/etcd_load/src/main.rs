//! `etcd_load`: loads etcd the way `chainfire bench` loads chainfire.
//!
//! Same keys, same values, same closed loop on a runtime of one thread, same figures in the same
//! JSON. Like chainfire's client it goes to the leader, over as many connections as it is told, and
//! takes these in turn. Connections are opened, the leader found and the keys to be read stored
//! before the clock starts. An operation that fails is counted as an error, never retried.

mod arguments;
mod etcd;
mod load;
mod messages;
mod tally;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use arguments::{Arguments, Workload};
use etcd::{Etcd, EtcdError};

fn main() -> ExitCode {
    let arguments = Arguments::parse().checked();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread starts");
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("etcd_load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), EtcdError> {
    if arguments.workload == Workload::Ready {
        return etcd::wait_until_ready(&arguments.endpoints, arguments.time()).await;
    }
    let places = if arguments.spread {
        arguments.endpoints.clone()
    } else {
        vec![etcd::find_leader(&arguments.endpoints).await?]
    };
    let etcd = Arc::new(Etcd::connect(&places, arguments.conns).await?);
    let arguments = Arc::new(arguments);
    load::prepare(&etcd, &arguments).await?;
    let tally = load::measure(etcd, arguments).await;
    for (kind, count) in tally.errors() {
        eprintln!("etcd_load: {count} operations failed: {kind}");
    }
    println!("{}", tally.to_json());
    if tally.operations() == 0 { Err(EtcdError::NothingMeasured) } else { Ok(()) }
}
