//! etcd, as far as a load needs it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::messages::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
};

/// How long one request may take, as chainfire's client has it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a cluster that is up may take to have a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one attempt may take while a node starts, and the pause between two.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_millis(5);

/// Why nothing could be measured.
#[derive(Debug)]
pub enum EtcdError {
    /// An endpoint is no address or does not take connections.
    Connect { endpoint: String, reason: String },
    /// No endpoint is the leader's.
    NoLeader,
    /// An endpoint answers no linearizable read.
    NotReady { endpoint: String, reason: String },
    /// A request that prepares the measurement failed.
    Prepare(Status),
    /// Not one operation succeeded.
    NothingMeasured,
}

impl std::fmt::Display for EtcdError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect { endpoint, reason } => {
                write!(formatter, "cannot connect to {endpoint}: {reason}")
            }
            Self::NoLeader => write!(formatter, "none of the endpoints is the leader's"),
            Self::NotReady { endpoint, reason } => {
                write!(formatter, "{endpoint} is not ready: {reason}")
            }
            Self::Prepare(status) => write!(formatter, "cannot store the keys to read: {status}"),
            Self::NothingMeasured => write!(formatter, "no operation succeeded"),
        }
    }
}

/// Connections to one or more nodes, taken in turn.
#[derive(Debug)]
pub struct Etcd {
    connections: Vec<Channel>,
    next: AtomicUsize,
}

impl Etcd {
    /// Opens so many connections, dealt out to the endpoints.
    pub async fn connect(endpoints: &[String], connections: u64) -> Result<Self, EtcdError> {
        let mut opened = Vec::new();
        for endpoint in endpoints.iter().cycle().take(connections as usize) {
            opened.push(open(endpoint).await?);
        }
        Ok(Self { connections: opened, next: AtomicUsize::new(0) })
    }

    /// Stores a value.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<(), Status> {
        let request = PutRequest { key, value };
        self.call::<_, PutResponse>("/etcdserverpb.KV/Put", request).await.map(|_| ())
    }

    /// Reads one key: whether it is there.
    pub async fn get(&self, request: RangeRequest) -> Result<bool, Status> {
        let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
        Ok(!answer.kvs.is_empty())
    }

    async fn status(&self) -> Result<StatusResponse, Status> {
        self.call("/etcdserverpb.Maintenance/Status", StatusRequest {}).await
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let mut grpc = Grpc::new(self.connections[turn].clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        Ok(grpc.unary(Request::new(request), path, codec).await?.into_inner())
    }
}

async fn open(endpoint: &str) -> Result<Channel, EtcdError> {
    let failed = |error: tonic::transport::Error| EtcdError::Connect {
        endpoint: endpoint.to_owned(),
        reason: error.to_string(),
    };
    Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(failed)?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(failed)
}

/// The endpoint whose node says that it leads.
pub async fn find_leader(endpoints: &[String]) -> Result<String, EtcdError> {
    let until = Instant::now() + LEADER_TIMEOUT;
    while Instant::now() < until {
        for endpoint in endpoints {
            let node = Etcd::connect(std::slice::from_ref(endpoint), 1).await?;
            let Ok(status) = node.status().await else { continue };
            let member_id = status.header.map_or(0, |header| header.member_id);
            if status.leader != 0 && status.leader == member_id {
                return Ok(endpoint.clone());
            }
        }
        sleep(PROBE_PAUSE).await;
    }
    Err(EtcdError::NoLeader)
}

/// Answers when every endpoint has answered a linearizable read.
pub async fn wait_until_ready(endpoints: &[String], at_most: Duration) -> Result<(), EtcdError> {
    let until = Instant::now() + at_most;
    for endpoint in endpoints {
        while let Err(reason) = probe(endpoint).await {
            if Instant::now() >= until {
                return Err(EtcdError::NotReady { endpoint: endpoint.clone(), reason });
            }
            sleep(PROBE_PAUSE).await;
        }
    }
    Ok(())
}

/// One attempt at a linearizable read. The leader is asked for first: a read that comes to etcd 3.4
/// before there is a leader waits out the server's own timeout of seconds, and so does every read
/// behind it.
async fn probe(endpoint: &String) -> Result<(), String> {
    let read = async {
        let node = Etcd::connect(std::slice::from_ref(endpoint), 1).await;
        let node = node.map_err(|error| error.to_string())?;
        let status = node.status().await.map_err(|status| status.to_string())?;
        if status.leader == 0 {
            return Err("it knows no leader".to_owned());
        }
        let request = RangeRequest { key: "ready".into(), ..RangeRequest::default() };
        node.get(request).await.map(|_| ()).map_err(|status| status.to_string())
    };
    timeout(PROBE_TIMEOUT, read).await.unwrap_or_else(|_| Err("it gave no answer".to_owned()))
}
