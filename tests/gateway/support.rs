//! A node, a signer, and HTTP by hand: what is sent is what a test says, byte for byte.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chainfire::auth::{AmzDate, Credentials, SecretKey, Signer};
use chainfire::clock;
use chainfire::config::NodeConfig;
use chainfire::node::Node;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Far above what any wait here takes.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// The configuration of a node that takes free ports.
pub fn config(directory: &Path) -> NodeConfig {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let mut config = NodeConfig {
        data_dir: directory.join("data"),
        listen_client: any_port,
        listen_peer: any_port,
        listen_http: any_port,
        ..NodeConfig::default()
    };
    config.storage.log_map_bytes = 1 << 30;
    config.storage.state_map_bytes = 1 << 30;
    config
}

pub struct Server {
    pub directory: TempDir,
    pub node: Node,
    /// The `host` header, and where it listens.
    pub host: String,
    pub signer: Signer,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts a node and waits until it takes writes that are signed now.
    pub async fn start_with(edit: impl FnOnce(&mut NodeConfig)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = config(directory.path());
        edit(&mut config);
        let node = start_node(config).await;
        let file = directory.path().join("data/root-credentials.toml");
        let signer = match Credentials::load(&file) {
            Ok(credentials) => credentials.signer("chainfire"),
            // A node without authentication has none.
            Err(_) => {
                Signer::new("none", SecretKey::new("none".to_owned()), "chainfire", "chainfire")
            }
        };
        Self { directory, host: node.http_addr().to_string(), node, signer }
    }

    /// A request that is complete but for its signature. No two are the same.
    pub fn draft(&self, method: &str, target: &str, body: impl Into<Vec<u8>>) -> Request {
        static NONCE: AtomicU64 = AtomicU64::new(0);
        let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
        self.bare(method, target, body).header("x-chainfire-nonce", &nonce.to_string())
    }

    /// The same without what makes it different from others.
    pub fn bare(&self, method: &str, target: &str, body: impl Into<Vec<u8>>) -> Request {
        let headers = vec![("host".to_owned(), self.host.clone())];
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: body.into(),
        };
        request.header("x-amz-date", &now().to_string())
    }

    pub fn sign(&self, request: Request) -> Request {
        self.sign_by(&self.signer, request)
    }

    /// Signs over every header there is.
    pub fn sign_by(&self, signer: &Signer, request: Request) -> Request {
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (&name[..], value.as_bytes())).collect();
        let date = request.value("x-amz-date").and_then(|text| AmzDate::parse(text.as_bytes()));
        let (method, target) = (&request.method, &request.target);
        let signed =
            signer.authorization(method, target, &headers, &request.body, date.unwrap()).unwrap();
        request.header("authorization", &signed)
    }

    pub fn signed(&self, method: &str, target: &str, body: impl Into<Vec<u8>>) -> Request {
        self.sign(self.draft(method, target, body))
    }

    pub async fn send(&self, request: &Request) -> Answer {
        self.send_bytes(&request.to_bytes()).await
    }

    pub async fn send_bytes(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.host).await.expect("it listens");
        // A node that refuses a request need not read all of it.
        let _ = stream.write_all(bytes).await;
        read_answer(&mut stream).await
    }

    pub async fn ask(&self, method: &str, target: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(&self.signed(method, target, body)).await
    }

    /// Sends JSON to one of etcd's routes.
    pub async fn post(&self, target: &str, body: &str) -> Answer {
        self.ask("POST", target, body).await
    }
}

pub async fn start_node(config: NodeConfig) -> Node {
    let node = Node::start(config).await.expect("the node starts");
    timeout(WAIT_MAX, node.ready()).await.expect("ready in time").expect("ready");
    let started = now();
    // Dates have whole seconds, and one of the node's first second may be from before.
    while now() <= started {
        sleep(Duration::from_millis(20)).await;
    }
    node
}

pub fn now() -> AmzDate {
    AmzDate::from_unix(clock::wall())
}

/// So many seconds from now.
pub fn ahead(seconds: i64) -> AmzDate {
    let now = i64::try_from(clock::wall().as_secs()).expect("a time");
    AmzDate::from_unix(Duration::from_secs(u64::try_from(now + seconds).expect("a time")))
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &value[..])
    }

    /// Replaces a header's value.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| *v = value.to_owned());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        if !self.body.is_empty() && self.value("transfer-encoding").is_none() {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &value[..])
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status with the error's code.
    pub fn refusal(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().map(str::to_owned);
        (self.status, code.unwrap_or_else(|| panic!("no refusal: {self:?}")))
    }

    pub fn done(self) -> Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// Reads one answer and leaves the connection open.
pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    timeout(WAIT_MAX, read_to_its_end(stream)).await.expect("an answer in time")
}

async fn read_to_its_end(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    let head = String::from_utf8(head).expect("text");
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let split = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    let headers: Vec<_> = lines.filter_map(split).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).await.expect("a whole body");
    Answer { status, headers, body }
}
