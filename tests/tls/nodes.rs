//! Nodes in this process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use chainfire::auth::Credentials;
use chainfire::auth::credentials::ROOT_CREDENTIALS_FILE;
use chainfire::client::{Client, ClientBuilder};
use chainfire::config::{NodeConfig, TlsConfig};
use chainfire::node::Node;

use super::{PATIENCE, soon};

/// A configuration with small maps and any ports.
pub fn config(data_dir: &Path, tls: TlsConfig) -> NodeConfig {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut config = NodeConfig {
        data_dir: data_dir.to_owned(),
        listen_client: any,
        listen_peer: any,
        listen_http: any,
        tls,
        ..NodeConfig::default()
    };
    config.storage.log_map_bytes = 1 << 30;
    config.storage.state_map_bytes = 1 << 30;
    config
}

/// A node that is a cluster of its own.
pub struct Alone {
    pub node: Node,
    credentials: PathBuf,
    _directory: tempfile::TempDir,
}

impl Alone {
    /// One that serves whoever gets as far as its handshake.
    pub async fn start(tls: TlsConfig) -> Self {
        Self::start_with(tls, |config| config.auth.insecure_no_auth = true).await
    }

    /// One that serves, and checks signatures.
    pub async fn signed(tls: TlsConfig) -> Self {
        Self::start_with(tls, |_| {}).await
    }

    /// One whose configuration is edited.
    pub async fn start_with(tls: TlsConfig, edit: impl FnOnce(&mut NodeConfig)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        let mut config = config(&data_dir, tls);
        edit(&mut config);
        let node = soon(Node::start(config)).await.expect("the node starts");
        soon(node.ready()).await.expect("ready");
        Self { node, credentials: data_dir.join(ROOT_CREDENTIALS_FILE), _directory: directory }
    }

    /// A client of it, without TLS.
    pub fn client(&self) -> ClientBuilder {
        self.client_at(&self.node.client_addr().to_string())
    }

    /// The same, by another name of its address.
    pub fn client_at(&self, address: &str) -> ClientBuilder {
        Client::builder().endpoints([address]).timeout(PATIENCE)
    }

    /// What the first user of one that checks signatures signs with.
    pub fn credentials(&self) -> Credentials {
        Credentials::load(&self.credentials).expect("the node made them")
    }

    /// Waits until a line stands in its metrics.
    pub async fn counted(&self, line: &str) {
        super::eventually(line, async || {
            self.node.metrics().render().lines().any(|found| found == line)
        })
        .await;
    }

    /// How often the client's listener refused somebody for this reason.
    pub async fn refused(&self, listener: &str, reason: &str) {
        let labels = format!("listener=\"{listener}\",reason=\"{reason}\"");
        self.counted(&format!("chainfire_refused_connections_total{{{labels}}} 1")).await;
    }
}

/// Free addresses on loopback.
pub fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let bound = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    bound.map(|listener| listener.local_addr().expect("bound"))
}
