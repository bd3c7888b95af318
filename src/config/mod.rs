//! Configuration as data.
//!
//! A [`NodeConfig`] is everything that decides how one node runs. It comes from defaults, then a
//! TOML file, then the command line, each over the one before; then [`NodeConfig::validate`] says
//! what does not fit together, before a port is bound or a file is touched.
//!
//! What must stay true: the defaults alone are a valid configuration of a single node; an unknown
//! key is an error, never ignored; every error is one line and says what to change. Nothing here
//! reads a clock, an environment variable or the network.

mod error;
mod initial_cluster;
mod sections;
mod validate;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use initial_cluster::{InitialCluster, InitialClusterError};
pub use sections::{
    AuditConfig, AuthConfig, HttpConfig, LimitsConfig, RaftConfig, SnapshotConfig, StorageConfig,
    TlsConfig, TlsSection,
};

use crate::types::command::COMMAND_FORMAT_VERSION;

/// The port of the client listener, unless told.
pub const CLIENT_PORT: u16 = 4601;
/// The port of the peer listener, unless told.
pub const PEER_PORT: u16 = 4602;
/// The port of the HTTP listener, unless told.
pub const HTTP_PORT: u16 = 4603;
/// A node's name, unless told.
pub const DEFAULT_NAME: &str = "default";
/// The data directory, unless told.
pub const DEFAULT_DATA_DIR: &str = "chainfire-data";

/// Largest configuration file that is read, in bytes. A bigger one is a mistaken path.
const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How one node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name, unique in its cluster.
    pub name: String,
    /// Where the node keeps its data. Created when it does not exist.
    pub data_dir: PathBuf,
    /// Where clients connect.
    pub listen_client: SocketAddr,
    /// Where peers connect.
    pub listen_peer: SocketAddr,
    /// Where the HTTP gateway, metrics and probes are served.
    pub listen_http: SocketAddr,
    /// What clients are told to connect to, `HOST:PORT`; none = `listen_client`.
    pub advertise_client: Option<String>,
    /// What peers are told to connect to, `HOST:PORT`; none = `listen_peer`.
    pub advertise_peer: Option<String>,
    /// What clients of the HTTP gateway connect to, `HOST:PORT`, and so sign as the `host` header;
    /// none = `listen_http` alone. Its own for each node: a request is good for one of them.
    pub advertise_http: Option<String>,
    /// The members a new cluster starts with, this node among them; none = this node alone.
    /// Only a new data directory needs it; an existing one must be of the cluster it names.
    pub initial_cluster: Option<InitialCluster>,
    /// Threads that serve connections and run consensus, beside those that wait for the disk;
    /// none = half of the processors. A write is a chain of short steps: more threads wake each
    /// other for them and answer later, not earlier.
    pub worker_threads: Option<NonZeroUsize>,
    /// Members of a cluster to join, `HOST:PORT` of their clients' listeners. Only a new data
    /// directory needs it.
    pub join: Vec<String>,
    /// Members to take a snapshot from, as `join`; the node then waits to be added.
    pub bootstrap_from: Vec<String>,
    /// Whether the node joins as a learner, which receives the log and does not vote.
    pub learner: bool,
    /// Who may do what.
    pub auth: AuthConfig,
    /// Who did what.
    pub audit: AuditConfig,
    /// Timings and batch sizes of consensus.
    pub raft: RaftConfig,
    /// Sizes of what lies on the disk.
    pub storage: StorageConfig,
    /// Giving snapshots to others.
    pub snapshot: SnapshotConfig,
    /// What the listeners admit.
    pub limits: LimitsConfig,
    /// The HTTP listener.
    pub http: HttpConfig,
    /// Which listeners speak TLS.
    pub tls: TlsConfig,
    /// The newest format of commands that the node says it reads: for tests of clusters of two
    /// releases.
    #[doc(hidden)]
    #[serde(skip, default = "newest_command_format")]
    pub command_format: u8,
}

fn newest_command_format() -> u8 {
    COMMAND_FORMAT_VERSION
}

impl Default for NodeConfig {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            name: DEFAULT_NAME.to_owned(),
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            listen_client: loopback(CLIENT_PORT),
            listen_peer: loopback(PEER_PORT),
            listen_http: loopback(HTTP_PORT),
            advertise_client: None,
            advertise_peer: None,
            advertise_http: None,
            initial_cluster: None,
            worker_threads: None,
            join: Vec::new(),
            bootstrap_from: Vec::new(),
            learner: false,
            auth: AuthConfig::default(),
            audit: AuditConfig::default(),
            raft: RaftConfig::default(),
            storage: StorageConfig::default(),
            snapshot: SnapshotConfig::default(),
            limits: LimitsConfig::default(),
            http: HttpConfig::default(),
            tls: TlsConfig::default(),
            command_format: newest_command_format(),
        }
    }
}

/// What the command line says over the configuration file; none = nothing said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigOverrides {
    /// Over [`NodeConfig::name`].
    pub name: Option<String>,
    /// Over [`NodeConfig::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// Over [`NodeConfig::listen_client`].
    pub listen_client: Option<SocketAddr>,
    /// Over [`NodeConfig::listen_peer`].
    pub listen_peer: Option<SocketAddr>,
    /// Over [`NodeConfig::listen_http`].
    pub listen_http: Option<SocketAddr>,
    /// Over [`NodeConfig::advertise_client`].
    pub advertise_client: Option<String>,
    /// Over [`NodeConfig::advertise_peer`].
    pub advertise_peer: Option<String>,
    /// Over [`NodeConfig::advertise_http`].
    pub advertise_http: Option<String>,
    /// Over [`NodeConfig::initial_cluster`].
    pub initial_cluster: Option<InitialCluster>,
    /// Over [`NodeConfig::join`].
    pub join: Option<Vec<String>>,
    /// Over [`NodeConfig::bootstrap_from`].
    pub bootstrap_from: Option<Vec<String>>,
    /// Over [`NodeConfig::learner`].
    pub learner: Option<bool>,
    /// Over [`AuthConfig::cluster_key`].
    pub cluster_key: Option<PathBuf>,
    /// Over [`AuthConfig::insecure_no_auth`].
    pub insecure_no_auth: Option<bool>,
}

impl NodeConfig {
    /// The defaults, then the file, then the overrides; validated.
    pub fn load(file: Option<&Path>, overrides: ConfigOverrides) -> Result<Self, ConfigError> {
        let mut config = match file {
            Some(path) => Self::from_file(path)?,
            None => Self::default(),
        };
        config.apply(overrides);
        config.validate()?;
        Ok(config)
    }

    /// Reads a TOML file over the defaults. Not yet validated.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        // One byte beyond the limit tells "too large" from "just fits".
        let read = file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_string(&mut text);
        if read.map_err(unreadable)? as u64 > CONFIG_FILE_BYTES_MAX {
            let max = CONFIG_FILE_BYTES_MAX;
            return Err(ConfigError::FileTooLarge { path: path.to_owned(), max });
        }
        Self::from_toml(&text).map_err(|reason| ConfigError::Malformed {
            path: path.to_owned(),
            line: reason.0,
            reason: reason.1,
        })
    }

    /// Reads TOML over the defaults. The error is the line (from 1; 0 = unknown) and what is
    /// wrong there, in one line. Never panics, whatever the text.
    pub fn from_toml(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.matches('\n').count() + 1);
            (line, error.message().replace('\n', " "))
        })
    }

    /// Lays what the command line says over this configuration.
    pub fn apply(&mut self, overrides: ConfigOverrides) {
        fn set<T>(field: &mut T, said: Option<T>) {
            if let Some(value) = said {
                *field = value;
            }
        }
        set(&mut self.name, overrides.name);
        set(&mut self.data_dir, overrides.data_dir);
        set(&mut self.listen_client, overrides.listen_client);
        set(&mut self.listen_peer, overrides.listen_peer);
        set(&mut self.listen_http, overrides.listen_http);
        set(&mut self.advertise_client, overrides.advertise_client.map(Some));
        set(&mut self.advertise_peer, overrides.advertise_peer.map(Some));
        set(&mut self.advertise_http, overrides.advertise_http.map(Some));
        set(&mut self.initial_cluster, overrides.initial_cluster.map(Some));
        set(&mut self.join, overrides.join);
        set(&mut self.bootstrap_from, overrides.bootstrap_from);
        set(&mut self.learner, overrides.learner);
        set(&mut self.auth.cluster_key, overrides.cluster_key.map(Some));
        set(&mut self.auth.insecure_no_auth, overrides.insecure_no_auth);
    }

    /// What clients are told to connect to. `bound` is the client listener's address once it is
    /// bound, which names the port when port 0 was configured.
    pub fn advertised_client(&self, bound: SocketAddr) -> String {
        self.advertise_client.clone().unwrap_or_else(|| bound.to_string())
    }

    /// What peers are told to connect to; `bound` as for
    /// [`advertised_client`](Self::advertised_client).
    pub fn advertised_peer(&self, bound: SocketAddr) -> String {
        self.advertise_peer.clone().unwrap_or_else(|| bound.to_string())
    }

    /// What the `host` header of a request to the gateway may be: what is advertised, what is
    /// bound, and `localhost` where that is this machine. `bound` is the HTTP listener's address.
    pub fn http_authorities(&self, bound: SocketAddr) -> Vec<String> {
        let mut authorities = vec![bound.to_string()];
        authorities.extend(bound.ip().is_loopback().then(|| format!("localhost:{}", bound.port())));
        authorities.extend(self.advertise_http.clone());
        // Clients leave the port out where it is the scheme's own.
        let scheme_ports = [":80", ":443"];
        let short = |name: &String| {
            scheme_ports.iter().find_map(|port| name.strip_suffix(port)).map(str::to_owned)
        };
        let without_port: Vec<_> = authorities.iter().filter_map(short).collect();
        authorities.extend(without_port);
        authorities
    }

    /// Whether the node founds its cluster without others, or goes on with what it has.
    pub fn is_alone(&self) -> bool {
        self.initial_cluster.is_none() && self.contacts().is_empty()
    }

    /// The members that a node which joins asks.
    pub fn contacts(&self) -> &[String] {
        if self.join.is_empty() { &self.bootstrap_from } else { &self.join }
    }

    /// The members a new cluster starts with: those configured, or this node alone.
    pub fn founders(&self, bound_peer: SocketAddr) -> InitialCluster {
        match &self.initial_cluster {
            Some(cluster) => cluster.clone(),
            None => InitialCluster::alone(&self.name, &self.advertised_peer(bound_peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_single_node() {
        let config = NodeConfig::load(None, ConfigOverrides::default()).expect("valid");
        assert_eq!(config.listen_client.to_string(), "127.0.0.1:4601");
        assert_eq!(config.listen_peer.to_string(), "127.0.0.1:4602");
        assert_eq!(config.listen_http.to_string(), "127.0.0.1:4603");
        assert_eq!(config.data_dir, Path::new("chainfire-data"));
        let founders = config.founders(config.listen_peer);
        assert_eq!(founders.to_string(), "default=127.0.0.1:4602");
    }

    #[test]
    fn a_gateway_is_asked_under_what_it_is_bound_to_and_what_is_advertised() {
        let authorities = |bound: &str, advertised: Option<&str>| {
            let advertise_http = advertised.map(str::to_owned);
            let config = NodeConfig { advertise_http, ..NodeConfig::default() };
            config.http_authorities(bound.parse().expect("an address")).join(" ")
        };
        assert_eq!(authorities("127.0.0.1:4603", None), "127.0.0.1:4603 localhost:4603");
        assert_eq!(authorities("[::1]:7", None), "[::1]:7 localhost:7");
        assert_eq!(authorities("10.0.0.1:4603", Some("n1:443")), "10.0.0.1:4603 n1:443 n1");
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(NodeConfig::from_toml(""), Ok(NodeConfig::default()));
    }

    #[test]
    fn a_configuration_survives_the_way_through_toml() {
        let mut config = NodeConfig { name: "b".into(), ..NodeConfig::default() };
        config.initial_cluster = Some("a=h1:1,b=h2:2".parse().expect("valid"));
        config.advertise_peer = Some("h2:2".into());
        config.raft.heartbeat_ms = 7;
        let text = toml::to_string(&config).expect("serialisable");
        assert_eq!(NodeConfig::from_toml(&text), Ok(config));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        for text in ["name = 'a'\nnme = 'b'\n", "[raft]\nheartbeat = 5\n"] {
            let (line, reason) = NodeConfig::from_toml(text).expect_err("unknown key");
            assert_eq!(line, 2, "{text}");
            assert!(reason.contains("unknown field"), "{reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("node.toml");
        std::fs::write(&path, "name = 'file'\ndata_dir = '/from/file'\n").expect("written");
        let overrides = ConfigOverrides { name: Some("flag".into()), ..Default::default() };
        let config = NodeConfig::load(Some(&path), overrides).expect("valid");
        assert_eq!(config.name, "flag");
        assert_eq!(config.data_dir, Path::new("/from/file"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = Path::new("/no/such/node.toml");
        let error = NodeConfig::load(Some(missing), ConfigOverrides::default()).expect_err("gone");
        assert!(error.to_string().contains("/no/such/node.toml"), "{error}");
    }

    #[test]
    fn an_endless_file_is_refused_without_reading_it_all() {
        let error = NodeConfig::from_file(Path::new("/dev/zero")).expect_err("endless");
        assert!(matches!(error, ConfigError::FileTooLarge { .. }), "{error}");
    }
}
