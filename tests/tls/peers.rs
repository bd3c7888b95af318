//! The listeners between nodes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chainfire::auth::ClusterKey;
use chainfire::client::Client;
use chainfire::config::{NodeConfig, TlsConfig};
use chainfire::node::Node;
use chainfire::rpc::peer::ForwardedWrite;
use chainfire::types::{Answer, Operation, Principal, PutRequest};
use tokio::time::Instant;

use super::certificates::{Authority, section};
use super::nodes::{config, free_addresses};
use super::{PATIENCE, soon};

/// What the nodes of one cluster share.
struct Cluster {
    directory: tempfile::TempDir,
    key: ClusterKey,
    authority: Authority,
    peers: [SocketAddr; 3],
}

impl Cluster {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let key = ClusterKey::generate("tls", &mut rand::rng());
        key.create(&directory.path().join("cluster-key.toml")).expect("written");
        let authority = Authority::new(directory.path(), "ours");
        Self { directory, key, authority, peers: free_addresses() }
    }

    fn key_file(&self) -> PathBuf {
        self.directory.path().join("cluster-key.toml")
    }

    /// A node whose clients and peers both need certificates.
    fn config(&self, name: &str) -> NodeConfig {
        let identity = self.authority.issue(name, &["127.0.0.1"]);
        let both = Some(section(&identity, Some(&self.authority.ca)));
        let tls = TlsConfig { client: both.clone(), peer: both, http: None };
        let mut config = config(&self.directory.path().join(name).join("data"), tls);
        config.name = name.to_owned();
        config.auth.cluster_key = Some(self.key_file());
        config
    }

    fn founder(&self, place: usize) -> NodeConfig {
        let mut config = self.config(&format!("n{place}"));
        config.listen_peer = self.peers[place];
        let members = self.peers.iter().enumerate();
        let members: Vec<String> = members.map(|(n, peer)| format!("n{n}={peer}")).collect();
        config.initial_cluster = Some(members.join(",").parse().expect("valid"));
        config
    }

    /// Checks that a client is let in.
    async fn lets_in(&self, node: &Node) {
        let identity = self.authority.issue("client", &["client"]);
        let client = Client::builder()
            .endpoints([node.client_addr().to_string()])
            .credentials(&self.key.root_credentials())
            .tls(self.authority.client_with(identity))
            .timeout(PATIENCE);
        soon(client.connect()).await.expect("let in");
    }
}

/// Writes through one node, which a follower does over its connection to the leader.
async fn write(node: &Node) -> u64 {
    let put = PutRequest { key: "key".into(), value: "value".into(), ..PutRequest::default() };
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation: Operation::Put(put),
    };
    match soon(node.handles().raft.propose(write, Instant::now() + PATIENCE)).await {
        Ok(Answer::Put(answer)) => answer.revision,
        other => panic!("not put: {other:?}"),
    }
}

fn refused(node: &Node, reason: &str) -> bool {
    let start =
        format!("chainfire_refused_connections_total{{listener=\"peer\",reason=\"{reason}\"}}");
    node.metrics().render().lines().any(|line| line.starts_with(&start))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_agree_over_tls_a_fourth_joins_and_a_stranger_does_not() {
    let cluster = Cluster::new();
    let mut nodes = Vec::new();
    for place in 0..3 {
        nodes.push(soon(Node::start(cluster.founder(place))).await.expect("the node starts"));
    }
    for node in &nodes {
        soon(node.ready()).await.expect("ready");
    }
    let mut revision = write(&nodes[0]).await;
    for node in &nodes[1..] {
        let next = write(node).await;
        assert_eq!(next, revision + 1);
        revision = next;
    }
    cluster.lets_in(&nodes[1]).await;

    let mut joining = cluster.config("n3");
    joining.join = nodes.iter().map(|node| node.client_addr().to_string()).collect();
    let joined = soon(Node::start(joining)).await.expect("the node starts");
    soon(joined.ready()).await.expect("ready");
    assert_eq!(write(&joined).await, revision + 1);
    cluster.lets_in(&joined).await;

    shows_up_without_a_certificate(&cluster, nodes[0].peer_addr()).await;
    super::eventually("the stranger is counted", async || refused(&nodes[0], "tls")).await;
    joined.shutdown().await;
    for node in nodes {
        node.shutdown().await;
    }
}

/// TLS to a peer's listener from somebody whom another CA vouches for.
async fn shows_up_without_a_certificate(cluster: &Cluster, peer: SocketAddr) {
    use chainfire::rpc::transport::{ConnectOptions, connect_store};
    let strangers = Authority::new(Path::new(cluster.directory.path()), "strangers");
    let identity = strangers.issue("stranger", &["127.0.0.1"]);
    let tls = Some(cluster.authority.client_with(identity));
    let options = ConnectOptions { tls, ..ConnectOptions::default() };
    let error = soon(connect_store(&peer.to_string(), &options)).await.expect_err("refused");
    assert!(error.to_string().contains("does not accept our certificate"), "{error}");
}
