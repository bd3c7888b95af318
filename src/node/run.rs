//! A node as a process: from its configuration to an exit code.

use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread::available_parallelism;

use tokio::signal::unix::{SignalKind, signal};

use super::{Node, StartError, joining};
use crate::actors::ExitReason;
use crate::config::NodeConfig;
use crate::telemetry::NodeMetrics;

/// Runs a node until it is asked to stop (SIGTERM, SIGINT) or fails.
///
/// When the node is ready to serve, one line starting with `ready` is printed to standard output.
/// A node that cannot start, or fails, says why in one line on standard error.
pub fn run(config: NodeConfig) -> ExitCode {
    let workers = worker_threads(&config);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&StartError::Runtime(error)),
    };
    runtime.block_on(async {
        match run_to_the_end(config).await {
            Ok(reason) => {
                if reason != ExitReason::Requested {
                    say(&reason.to_string());
                }
                ExitCode::from(&reason)
            }
            Err(error) => cannot_start(&error),
        }
    })
}

fn worker_threads(config: &NodeConfig) -> usize {
    let half = || available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
    config.worker_threads.map_or_else(half, NonZeroUsize::get)
}

async fn run_to_the_end(config: NodeConfig) -> Result<ExitReason, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Runtime)?;
    let data_dir = config.data_dir.clone();
    let (mut config, metrics) = (config, NodeMetrics::new());
    let mut announced = false;
    let reason = loop {
        let node = tokio::select! {
            node = Node::start_counting(config.clone(), metrics.clone()) => node?,
            _ = terminate.recv() => return Ok(ExitReason::Requested),
            _ = interrupt.recv() => return Ok(ExitReason::Requested),
        };
        // Started again it is found where it was.
        config.listen_client = node.client_addr();
        config.listen_peer = node.peer_addr();
        config.listen_http = node.http_addr();
        let reason = tokio::select! {
            () = announce_once(&node, &mut announced) => unreachable!("announcing never ends"),
            () = reload_when_told(&node) => unreachable!("this never ends either"),
            reason = node.failed() => reason,
            _ = terminate.recv() => ExitReason::Requested,
            _ = interrupt.recv() => ExitReason::Requested,
        };
        tracing::info!(%reason, "stopping");
        // The process goes on when the next start repairs the state before it serves.
        if matches!(reason, ExitReason::Distrusted(_)) {
            node.shutdown().await;
        } else {
            node.stop().await;
            break reason;
        }
    };
    if matches!(reason, ExitReason::JoinFailed(_))
        && let Err(error) = joining::discard(&data_dir)
    {
        tracing::error!(%error, "what the join left behind is removed at the next start");
    }
    Ok(reason)
}

/// Says once in the life of the process that the node is ready. Never returns.
async fn announce_once(node: &Node, announced: &mut bool) {
    // A failure is what `failed` returns as well.
    if !*announced && node.ready().await.is_ok() {
        announce(node);
        *announced = true;
    }
    std::future::pending().await
}

/// SIGHUP reads the certificates again. Without any it ends the process, as it would any other.
async fn reload_when_told(node: &Node) {
    if node.has_certificates() {
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    node.reload_certificates();
                }
            }
            Err(error) => tracing::warn!(%error, "SIGHUP does not reload certificates"),
        }
    }
    std::future::pending().await
}

fn announce(node: &Node) {
    let raft = &node.handles().raft;
    let mut out = std::io::stdout().lock();
    // Nobody reading the line is no reason not to serve.
    let _ = writeln!(
        out,
        "ready node={} name={} client={} peer={} http={}",
        raft.node().node_id,
        raft.node().name,
        node.client_addr(),
        node.peer_addr(),
        node.http_addr(),
    );
    let _ = out.flush();
}

fn cannot_start(error: &StartError) -> ExitCode {
    say(&error.to_string());
    ExitCode::from(error.code())
}

fn say(message: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "chainfire: {message}");
}
