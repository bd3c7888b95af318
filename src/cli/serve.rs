//! `serve`: runs a node until it is asked to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::logging::{self, FILTER_VARIABLE, LogFormat};
use crate::config::{ConfigOverrides, InitialCluster, NodeConfig};
use crate::node;

/// Exit code of a wrong configuration.
const USAGE: u8 = 2;

/// `serve`. What is not given comes from the configuration file, then from the defaults.
#[derive(Clone, Debug, Args)]
pub(super) struct ServeArguments {
    /// Read the configuration from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the data in this directory [default: ./chainfire-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The node's name, unique in its cluster [default: default]
    #[arg(long)]
    name: Option<String>,
    /// Where clients connect [default: 127.0.0.1:4601]
    #[arg(long, value_name = "ADDR")]
    listen_client: Option<SocketAddr>,
    /// Where the other nodes connect [default: 127.0.0.1:4602]
    #[arg(long, value_name = "ADDR")]
    listen_peer: Option<SocketAddr>,
    /// Where the HTTP gateway, metrics and probes are served [default: 127.0.0.1:4603]
    #[arg(long, value_name = "ADDR")]
    listen_http: Option<SocketAddr>,
    /// What clients are told to connect to [default: the client listener's address]
    #[arg(long, value_name = "ADDR")]
    advertise_client: Option<String>,
    /// What the other nodes are told to connect to [default: the peer listener's address]
    #[arg(long, value_name = "ADDR")]
    advertise_peer: Option<String>,
    /// What clients of the HTTP gateway connect to, and so sign as the host header, beside the
    /// listener's address
    #[arg(long, value_name = "ADDR")]
    advertise_http: Option<String>,
    /// The members a new cluster starts with, this node among them [default: this node alone]
    #[arg(long, value_name = "NAME=PEERADDR,...")]
    initial_cluster: Option<InitialCluster>,
    /// Join the cluster of these members: take a snapshot, then the log, then vote
    #[arg(
        long,
        value_name = "CLIENTADDR,...",
        value_delimiter = ',',
        conflicts_with = "initial_cluster"
    )]
    join: Option<Vec<String>>,
    /// Take a snapshot from these members and wait for 'chainfire member add'
    #[arg(long, value_name = "CLIENTADDR,...", value_delimiter = ',', conflicts_with_all = ["initial_cluster", "join"])]
    bootstrap_from: Option<Vec<String>>,
    /// Join as a learner, which receives the log and does not vote
    #[arg(long)]
    learner: bool,
    /// The file with the cluster's keys, the same on every node: see 'chainfire keygen'
    /// [default: cluster-key.toml in the data directory; a single node makes it]
    #[arg(long, value_name = "FILE")]
    cluster_key: Option<PathBuf>,
    /// Serve whoever connects, without authentication; only on loopback addresses
    #[arg(long, conflicts_with = "cluster_key")]
    insecure_no_auth: bool,
    /// How to write log lines to standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

/// Runs the node; its exit code says why it ended.
pub(super) fn run(arguments: ServeArguments) -> ExitCode {
    let filter = std::env::var(FILTER_VARIABLE).ok();
    if let Err(error) = logging::init(filter.as_deref(), arguments.log_format) {
        return wrong_usage(&error.to_string());
    }
    let overrides = ConfigOverrides {
        name: arguments.name,
        data_dir: arguments.data_dir,
        listen_client: arguments.listen_client,
        listen_peer: arguments.listen_peer,
        listen_http: arguments.listen_http,
        advertise_client: arguments.advertise_client,
        advertise_peer: arguments.advertise_peer,
        advertise_http: arguments.advertise_http,
        initial_cluster: arguments.initial_cluster,
        join: arguments.join,
        bootstrap_from: arguments.bootstrap_from,
        learner: arguments.learner.then_some(true),
        cluster_key: arguments.cluster_key,
        insecure_no_auth: arguments.insecure_no_auth.then_some(true),
    };
    match NodeConfig::load(arguments.config.as_deref(), overrides) {
        Ok(config) => node::run(config),
        Err(error) => wrong_usage(&error.to_string()),
    }
}

fn wrong_usage(message: &str) -> ExitCode {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "chainfire: {message}");
    ExitCode::from(USAGE)
}
