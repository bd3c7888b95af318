//! A few nodes that know each other.

use std::path::Path;
use std::time::Duration;

use chainfire::client::{Client, Error};
use chainfire::types::NodeStatus;
use tempfile::TempDir;

use super::{Node, PATIENCE, eventually, root_credentials};

/// Nodes with their directories. Everything goes when it is dropped.
pub struct Cluster {
    pub nodes: Vec<Node>,
    // After the nodes: a directory outlives the process that writes to it.
    directory: TempDir,
}

impl Cluster {
    /// Starts `count` nodes as one cluster and waits until all of them serve.
    pub fn start(count: usize) -> Self {
        let mut cluster = Self::new(count);
        cluster.start_all();
        cluster
    }

    /// `count` nodes that know of each other and were not started.
    pub fn new(count: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut nodes: Vec<Node> =
            (1..=count).map(|n| Node::new(&format!("n{n}"), directory.path())).collect();
        let pairs: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.name, node.peer)).collect();
        for node in &mut nodes {
            node.set_initial_cluster(&pairs.join(","));
        }
        Self { nodes, directory }
    }

    /// Starts every node and waits until all of them serve.
    pub fn start_all(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        for node in &self.nodes {
            node.wait_ready();
        }
    }

    /// A cluster of one node, which founds it alone, and serves.
    pub fn of_one() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Node::new("n1", directory.path());
        node.set_initial_cluster(&format!("n1={}", node.peer));
        let mut cluster = Self { nodes: vec![node], directory };
        cluster.start_all();
        cluster
    }

    /// Nodes that were made one by one.
    pub fn of(nodes: Vec<Node>) -> Self {
        Self { nodes, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A node that will join through the nodes there are, not started yet. Answers its place.
    pub fn add_joining(&mut self, name: &str) -> usize {
        let mut node = Node::new(name, self.directory.path());
        node.set_join(&self.endpoints());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Has a new node join and waits until it serves. Answers its place.
    pub fn join(&mut self, name: &str) -> usize {
        let place = self.add_joining(name);
        self.nodes[place].start();
        self.nodes[place].wait_ready();
        place
    }

    /// Where the cluster keeps its files, for what a test wants to lay beside them.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The client addresses of all nodes, as `--endpoints` takes them.
    pub fn endpoints(&self) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| node.client.to_string()).collect();
        addresses.join(",")
    }

    /// A client of the whole cluster.
    pub fn client(&self) -> Client {
        let endpoints = self.nodes.iter().map(|node| node.client.to_string());
        let client = Client::builder()
            .endpoints(endpoints)
            .credentials(&root_credentials())
            .timeout(PATIENCE)
            .build();
        client.expect("the addresses are addresses")
    }

    /// A client of one node, which answers for itself or not at all.
    pub fn client_of(&self, place: usize) -> Client {
        client_of(&self.nodes[place], PATIENCE)
    }

    /// What the node at `place` says of itself; `None` when it does not answer soon.
    pub async fn status_of(&self, place: usize) -> Option<NodeStatus> {
        client_of(&self.nodes[place], Duration::from_secs(2)).status().await.ok()
    }

    /// Waits for a leader that a majority of the nodes agrees on, and gives its place.
    pub async fn leader(&self) -> usize {
        eventually("a leader that a majority agrees on", async || self.agreed_leader().await).await
    }

    async fn agreed_leader(&self) -> Option<usize> {
        let mut votes = vec![0; self.nodes.len()];
        let mut place_by_id = std::collections::HashMap::new();
        let mut named = Vec::new();
        for place in 0..self.nodes.len() {
            if !self.nodes[place].is_running() {
                continue;
            }
            if let Some(status) = self.status_of(place).await {
                place_by_id.insert(status.node_id, place);
                named.extend(status.leader_id);
            }
        }
        for leader_id in named {
            votes[*place_by_id.get(&leader_id)?] += 1;
        }
        votes.iter().position(|votes| votes * 2 > self.nodes.len())
    }

    /// Waits until every node has applied what the most advanced one has applied now.
    pub async fn wait_converged(&self) {
        eventually("every node has applied the same", async || {
            let mut applied = Vec::new();
            for place in 0..self.nodes.len() {
                let status = self.status_of(place).await?;
                applied.push((status.applied_index, status.revision));
            }
            applied.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        })
        .await;
    }
}

fn client_of(node: &Node, timeout: Duration) -> Client {
    let client = Client::builder()
        .endpoints([node.client.to_string()])
        .credentials(&root_credentials())
        .follow_leader(false)
        .timeout(timeout)
        .build();
    client.expect("the address is an address")
}

/// Every pair of the store, at one revision.
pub async fn dump(client: &Client) -> Result<Vec<chainfire::types::KeyValue>, Error> {
    let mut pages = client.prefix("").pages();
    let mut pairs = Vec::new();
    while let Some(page) = pages.next().await? {
        pairs.extend(page.kvs);
    }
    Ok(pairs)
}
