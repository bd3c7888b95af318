//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use super::error::{Error, Failure};
use super::{Client, DEFAULT_ENDPOINT};
use crate::auth::{CLIENT_SERVICE, Credentials, Signer};
use crate::rpc::transport::TlsClient;
use crate::types::limits::{ADDRESS_BYTES_MAX, RETRY_WINDOW_MS};

/// How long a request may take in all, unless told.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long one attempt may take before the next endpoint is tried, unless told.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long opening a connection may take, unless told.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most connections to one endpoint. More would slow both sides down.
const CONNECTIONS_MAX: usize = 1_024;

/// Sets up a [`Client`]. Made by [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) attempt_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) connections: usize,
    pub(super) follow_leader: bool,
    pub(super) credentials: Option<Arc<Signer>>,
    pub(super) tls: Option<TlsClient>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            endpoints: vec![DEFAULT_ENDPOINT.to_owned()],
            timeout: TIMEOUT,
            attempt_timeout: ATTEMPT_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            connections: 1,
            follow_leader: true,
            credentials: None,
            tls: None,
        }
    }
}

impl ClientBuilder {
    /// The client listeners of the cluster's nodes, each `HOST:PORT`. Any subset does; the client
    /// talks to no other address. Default: [`DEFAULT_ENDPOINT`].
    pub fn endpoints<E: Into<String>>(mut self, endpoints: impl IntoIterator<Item = E>) -> Self {
        self.endpoints.clear();
        for endpoint in endpoints {
            let endpoint = endpoint.into();
            if !self.endpoints.contains(&endpoint) {
                self.endpoints.push(endpoint);
            }
        }
        self
    }

    /// What requests are signed with. Without credentials only nodes that run without
    /// authentication take them.
    pub fn credentials(mut self, credentials: &Credentials) -> Self {
        self.credentials = Some(Arc::new(credentials.signer(CLIENT_SERVICE)));
        self
    }

    /// What to speak TLS with. Without it only nodes whose client listeners do not speak TLS are
    /// reached, and with it only those that do. The host of each endpoint must be one that its
    /// node's certificate is for.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long a request may take in all, retries included, unless the request says otherwise.
    /// Default 10 s; at most 10 minutes, beyond which retries would not be recognised.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long one attempt may go unanswered before another endpoint is tried. Doubles with
    /// each attempt of a request that runs into it. Default 2 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long opening one connection may take. Default 2 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Connections to each endpoint in use, 1 to 1,024. Default 1, which serves thousands of
    /// tasks best; more help only where large values share the connection with small ones.
    pub fn connections_per_endpoint(mut self, connections: usize) -> Self {
        self.connections = connections.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// Whether to move to the leader's endpoint when it is among the endpoints. Saves the way
    /// from a follower to the leader. Default true; false stays with the first endpoint that
    /// works.
    pub fn follow_leader(mut self, follow: bool) -> Self {
        self.follow_leader = follow;
        self
    }

    /// Connects to the first endpoint that can be reached; fails when none can.
    pub async fn connect(self) -> Result<Client, Error> {
        let client = self.connect_lazy()?;
        client.reach_any().await?;
        client.follow();
        Ok(client)
    }

    /// A client that connects with its first request.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn build(self) -> Result<Client, Error> {
        let client = self.connect_lazy()?;
        client.follow();
        Ok(client)
    }

    fn connect_lazy(mut self) -> Result<Client, Error> {
        let endpoints = std::mem::take(&mut self.endpoints);
        if endpoints.is_empty() {
            return Err(Failure::NoEndpoint.into());
        }
        for endpoint in &endpoints {
            if !is_endpoint(endpoint) {
                return Err(Failure::InvalidEndpoint { endpoint: endpoint.clone() }.into());
            }
        }
        Ok(Client::new(endpoints, &self))
    }

    /// The timeout of a request that asked for `own`, within what retries are recognised for.
    pub(super) fn request_timeout(default: Duration, own: Option<Duration>) -> Duration {
        own.unwrap_or(default).min(Duration::from_millis(RETRY_WINDOW_MS))
    }
}

/// Whether `text` is `HOST:PORT`, `[IPV6]:PORT` included. The host is not resolved.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '[', ']']);
    let in_host = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '@' | ',' | '?' | '#');
    text.len() <= ADDRESS_BYTES_MAX
        && !host.is_empty()
        && (bracketed || plain)
        && host.chars().all(in_host)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for good in ["127.0.0.1:4601", "localhost:1", "[::1]:65535", "node-1.example.org:80"] {
            assert!(is_endpoint(good), "{good}");
        }
        let bad = [
            "",
            ":",
            "host",
            "host:",
            ":4601",
            "host:0",
            "host:65536",
            "host:+1",
            "a b:1",
            "http://host:1",
            "::1:4601",
            "host:1/path",
            "a,b:1",
            "höst:1",
        ];
        for bad in bad {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }

    #[test]
    fn a_client_without_a_usable_endpoint_is_refused() {
        let none: [&str; 0] = [];
        let error = Client::builder().endpoints(none).build().expect_err("no endpoint");
        assert_eq!(error, Failure::NoEndpoint.into());
        let error = Client::builder().endpoints(["nonsense"]).build().expect_err("no port");
        assert!(error.to_string().contains("'nonsense' is no endpoint"), "{error}");
    }

    #[test]
    fn no_request_retries_longer_than_its_retries_are_recognised() {
        let window = Duration::from_millis(RETRY_WINDOW_MS);
        assert_eq!(ClientBuilder::request_timeout(TIMEOUT, None), TIMEOUT);
        assert_eq!(ClientBuilder::request_timeout(TIMEOUT, Some(Duration::MAX)), window);
    }
}
