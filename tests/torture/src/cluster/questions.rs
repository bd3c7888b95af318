//! What nodes are asked: who leads, who lives.

use std::time::Duration;

use chainfire::types::{NodeRole, NodeStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Cluster;
use crate::random::Rng;

impl Cluster {
    /// What every node that answers says of itself.
    pub async fn statuses(&self) -> Vec<(usize, NodeStatus)> {
        let admin = self.admin.clone().unwrap_or_else(|| self.client_of_all(800, 400, false));
        let each = admin.status_of_each().await;
        each.into_iter().enumerate().filter_map(|(slot, (_, s))| Some((slot, s.ok()?))).collect()
    }

    /// The slot of the leader, by the highest term.
    pub async fn leader(&self) -> Option<usize> {
        let statuses = self.statuses().await;
        let leaders = statuses.iter().filter(|(_, status)| status.role == NodeRole::Leader);
        leaders.max_by_key(|(_, status)| status.term).map(|(slot, _)| *slot)
    }

    /// A slot that leads, or any that lives.
    pub async fn leader_or_any(&self, rng: &mut Rng) -> usize {
        let any = self.any(rng);
        for _ in 0..10 {
            if let Some(slot) = self.leader().await {
                return slot;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        any
    }

    /// With that chance the leader, else any that lives.
    pub async fn mostly_leader(&self, rng: &mut Rng, percent: u64) -> usize {
        let any = self.any(rng);
        if rng.chance(percent) { self.leader().await.unwrap_or(any) } else { any }
    }

    pub async fn follower(&self, rng: &mut Rng) -> usize {
        let leader = self.leader().await;
        let others: Vec<usize> =
            self.live().into_iter().filter(|slot| Some(*slot) != leader).collect();
        others.get(rng.index(others.len())).copied().unwrap_or(0)
    }

    /// The slots with a process.
    pub fn live(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|slot| self.slots[*slot].child.is_some()).collect()
    }

    pub fn any(&self, rng: &mut Rng) -> usize {
        let live = self.live();
        live.get(rng.index(live.len())).copied().unwrap_or(0)
    }

    /// One number of a node's metrics.
    pub async fn metric(&self, slot: usize, name: &str) -> Option<f64> {
        let text = self.metrics(slot).await?;
        text.lines().find(|line| line.starts_with(name))?.rsplit(' ').next()?.parse().ok()
    }

    /// A node's metrics as it shows them.
    pub async fn metrics(&self, slot: usize) -> Option<String> {
        let address = self.http_addr(slot);
        let ask = async {
            let mut stream = tokio::net::TcpStream::connect(&address).await.ok()?;
            let request =
                format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.ok()?;
            Some(text)
        };
        tokio::time::timeout(Duration::from_secs(1), ask).await.ok()?
    }
}
