//! The certificates of the listeners: read at the start, and again whenever their files change.
//!
//! The files are looked at every few seconds, and at once when asked (SIGHUP). A certificate that
//! cannot be used is said so in the log and counted, and the one before stays: a node that runs
//! never loses its listeners over a file.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::StartError;
use crate::clock;
use crate::config::{TlsConfig, TlsSection};
use crate::rpc::transport::tls::{
    FileStamp, IdentityFiles, TlsClient, TlsClientFiles, TlsFileError, TlsServer, TlsServerFiles,
};
use crate::telemetry::NodeMetrics;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The TLS of one node; none of each where nothing is configured.
pub(super) struct Certificates {
    pub(super) client: Option<TlsServer>,
    pub(super) peer: Option<TlsServer>,
    pub(super) http: Option<TlsServer>,
    /// The way to the peers' listeners.
    pub(super) to_peers: Option<TlsClient>,
    /// The way to the clients' listeners of the members that a node which joins asks.
    pub(super) to_members: Option<TlsClient>,
}

impl Certificates {
    /// Reads every file.
    pub(super) fn load(config: &TlsConfig) -> Result<Self, StartError> {
        let server = |section: &Option<TlsSection>| {
            section.as_ref().map(|section| TlsServer::load(server_files(section))).transpose()
        };
        let to_peers = config.peer.as_ref().and_then(|peer| client_files(peer, &peer.ca));
        // Members show their clients what this node will show its own.
        let to_members = config.client.as_ref().and_then(|client| {
            let peers_ca = config.peer.as_ref().and_then(|peer| peer.ca.as_ref());
            client_files(client, &client.ca.as_ref().or(peers_ca).cloned())
        });
        Ok(Self {
            client: server(&config.client)?,
            peer: server(&config.peer)?,
            http: server(&config.http)?,
            to_peers: to_peers.map(TlsClient::load).transpose()?,
            to_members: to_members.map(TlsClient::load).transpose()?,
        })
    }

    /// Follows the files from now on.
    pub(super) fn watch(self, metrics: &NodeMetrics) -> CertificateWatch {
        let watched = |listener, server: Option<TlsServer>, dialer| {
            let server = server?;
            let stamp = server.stamp();
            Some(Watched { listener, server, dialer, stamp, metrics: metrics.clone() })
        };
        let watched: Vec<Watched> = [
            watched("client", self.client, self.to_members),
            watched("peer", self.peer, self.to_peers),
            watched("http", self.http, None),
        ]
        .into_iter()
        .flatten()
        .collect();
        watched.iter().for_each(Watched::tell_end);
        let asked = Arc::new(Notify::new());
        let task = match watched.is_empty() {
            true => None,
            false => Some(tokio::spawn(follow(watched, asked.clone()))),
        };
        CertificateWatch { asked, task }
    }
}

fn identity(section: &TlsSection) -> IdentityFiles {
    IdentityFiles { certificate: section.certificate.clone(), key: section.key.clone() }
}

fn server_files(section: &TlsSection) -> TlsServerFiles {
    TlsServerFiles { identity: identity(section), client_ca: section.ca.clone() }
}

fn client_files(section: &TlsSection, ca: &Option<std::path::PathBuf>) -> Option<TlsClientFiles> {
    let ca = ca.clone()?;
    Some(TlsClientFiles { ca, identity: Some(identity(section)) })
}

/// Follows the files until it is dropped.
pub(super) struct CertificateWatch {
    asked: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl CertificateWatch {
    /// Whether there is anything to follow.
    pub(super) fn is_needed(&self) -> bool {
        self.task.is_some()
    }

    /// Reads every file again, whether or not it seems to have changed.
    pub(super) fn reload(&self) {
        self.asked.notify_one();
    }
}

impl Drop for CertificateWatch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The files of one listener.
struct Watched {
    listener: &'static str,
    server: TlsServer,
    dialer: Option<TlsClient>,
    /// The files as they were when they were last read.
    stamp: FileStamp,
    metrics: NodeMetrics,
}

async fn follow(mut watched: Vec<Watched>, asked: Arc<Notify>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = looks.tick() => false,
            () = asked.notified() => true,
        };
        let looked = tokio::task::spawn_blocking(move || {
            watched.iter_mut().for_each(|watched| watched.look(asked));
            watched
        });
        watched = match looked.await {
            Ok(watched) => watched,
            Err(error) => {
                tracing::error!(%error, "certificates are no longer followed; restart the node");
                return;
            }
        };
    }
}

impl Watched {
    fn look(&mut self, asked: bool) {
        // Before the files are read: what changes meanwhile is seen at the next look.
        let stamp = self.server.stamp();
        if !asked && stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        let listener = self.listener;
        match self.reload() {
            Ok(()) => {
                tracing::info!(listener, "read the certificate again");
                self.metrics.tls_reloaded(listener, "ok");
                self.tell_end();
            }
            Err(error) => {
                tracing::error!(listener, %error, "the certificate read before stays in use");
                self.metrics.tls_reloaded(listener, "failed");
            }
        }
    }

    fn reload(&self) -> Result<(), TlsFileError> {
        self.server.reload()?;
        self.dialer.as_ref().map_or(Ok(()), TlsClient::reload)
    }

    /// Tells until when the certificate is valid.
    fn tell_end(&self) {
        let Some(not_after) = self.server.not_after() else { return };
        self.metrics.tls_certificate(self.listener, not_after);
        if not_after < clock::wall().as_secs() {
            let listener = self.listener;
            tracing::warn!(listener, "the certificate has expired: replace its file");
        }
    }
}
