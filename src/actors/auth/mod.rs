//! Who may do what.
//!
//! Users, roles and keys are replicated. The actor follows them as this node applies them, makes an
//! immutable [`AuthView`] of each revision and publishes it; requests read that value without a
//! mailbox.
//!
//! A node with a cluster key has a [`Keyring`], with which every request is verified. One without
//! runs without authentication: whoever connects is [`Principal::anyone`], who may do everything,
//! and the node is refused where anybody but this machine could connect.
//!
//! A new cluster has no users. The leader puts the first one there, root, with a key that every
//! node can derive from the cluster key; the command does nothing when there is any user already.
//!
//! # On failure
//! The last published view stays in force while the actor restarts.

mod bootstrap;
mod keyring;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use keyring::{ClientKeys, Keyring, KeysInForce, PeerKeys};
pub use view::AuthView;

use super::mailbox::Mailbox;
use super::raft::RaftHandle;
use crate::auth::ClusterKey;
use crate::types::{AccessTables, ClusterRequest, KeyRange, Operation, Principal, RequestError};

/// Messages that may wait.
const WAITING_MAX: usize = 16;

/// What the auth actor is told.
pub enum AuthMessage {
    /// Users, roles or keys have changed. Sent by its own task; no reply.
    Changed,
    /// Fail, to prove supervision.
    #[cfg(test)]
    Panic,
}

/// Users, roles and keys as the state publishes them.
pub type AccessWatch = watch::Receiver<Arc<AccessTables>>;

/// What the actor starts with.
#[derive(Clone)]
pub struct AuthArgs {
    /// Where requests can come from.
    pub listeners: Vec<SocketAddr>,
    /// Users, roles and keys.
    pub access: AccessWatch,
    /// Where the first user is proposed.
    pub raft: RaftHandle,
    /// What requests are verified with; none = nothing is.
    keyring: Option<Arc<Keyring>>,
    /// Where the view is published.
    publish: watch::Sender<Arc<AuthView>>,
}

/// What the actor owns.
pub struct AuthState {
    args: AuthArgs,
    /// Follows the tables, and sees to the first user, for as long as the actor lives.
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for AuthState {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// See the module.
pub struct AuthActor;

impl Actor for AuthActor {
    type Msg = AuthMessage;
    type State = AuthState;
    type Arguments = AuthArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<AuthMessage>,
        args: AuthArgs,
    ) -> Result<AuthState, ActorProcessingErr> {
        let mut tasks = vec![tokio::spawn(follow(args.access.clone(), myself))];
        match &args.keyring {
            Some(keyring) => {
                refuse_other_cluster_key(keyring, &args.access.borrow())?;
                let (keyring, raft) = (Arc::clone(keyring), args.raft.clone());
                tasks.push(tokio::spawn(bootstrap::run(keyring, raft, args.access.clone())));
            }
            None => refuse_open_listeners(&args.listeners)?,
        }
        on_changed(&args);
        Ok(AuthState { args, tasks })
    }

    async fn handle(
        &self,
        _myself: ActorRef<AuthMessage>,
        message: AuthMessage,
        state: &mut AuthState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AuthMessage::Changed => on_changed(&state.args),
            #[cfg(test)]
            AuthMessage::Panic => panic!("asked to fail"),
        }
        Ok(())
    }
}

/// Publishes the view of what there is now, and wipes what was derived from keys that are gone.
fn on_changed(args: &AuthArgs) {
    let tables = Arc::clone(&args.access.borrow());
    args.publish.send_replace(Arc::new(AuthView::new(tables)));
    if let Some(keyring) = &args.keyring {
        keyring.cache().forget(&keyring.in_force());
    }
}

fn refuse_open_listeners(listeners: &[SocketAddr]) -> Result<(), String> {
    match listeners.iter().find(|addr| !addr.ip().is_loopback()) {
        None => Ok(()),
        Some(open) => Err(format!(
            "{open} can be reached from other machines, and requests are not authenticated; \
             listen on a loopback address"
        )),
    }
}

/// A node whose cluster key opens none of the secrets in its state could verify nobody.
fn refuse_other_cluster_key(keyring: &Keyring, tables: &AccessTables) -> Result<(), String> {
    let mut keys = tables.keys.values().peekable();
    if keys.peek().is_none() || keys.any(|key| keyring.open(key).is_ok()) {
        return Ok(());
    }
    Err("the secrets in the state were sealed under another cluster key; give the --cluster-key \
         file of the cluster that the data is of"
        .to_owned())
}

/// Tells the actor of changes. Of several that come together it is told once.
async fn follow(mut access: AccessWatch, actor: ActorRef<AuthMessage>) {
    access.mark_changed();
    while access.changed().await.is_ok() {
        if actor.send_message(AuthMessage::Changed).is_err() {
            return;
        }
    }
}

/// The view, for whoever has a request; and the way to the actor.
#[derive(Clone)]
pub struct AuthHandle {
    view: watch::Receiver<Arc<AuthView>>,
    publish: watch::Sender<Arc<AuthView>>,
    keyring: Option<Arc<Keyring>>,
    pub(super) mailbox: Mailbox<AuthMessage>,
}

impl AuthHandle {
    /// A handle with an empty view until its actor has started. Without a cluster key there is no
    /// authentication.
    pub(super) fn new(cluster_key: Option<ClusterKey>) -> Self {
        let (publish, view) = watch::channel(Arc::default());
        let keyring =
            cluster_key.map(|key| Arc::new(Keyring::new(key, view.clone(), &mut rand::rng())));
        Self { view, publish, keyring, mailbox: Mailbox::new("auth", WAITING_MAX) }
    }

    pub(super) fn args(
        &self,
        listeners: Vec<SocketAddr>,
        access: AccessWatch,
        raft: RaftHandle,
    ) -> AuthArgs {
        let (publish, keyring) = (self.publish.clone(), self.keyring.clone());
        AuthArgs { listeners, access, raft, keyring, publish }
    }

    /// What requests are verified with; none = the node runs without authentication.
    pub fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.as_ref()
    }

    /// Waits until there is somebody who can ask for anything: the first user is there.
    pub async fn founded(&self) {
        if self.keyring.is_some() {
            // An error means that the node stops.
            let _ = self.view.clone().wait_for(|view| view.revision() > 0).await;
        }
    }

    /// Users, roles and keys as this node has applied them. For one request: the next one may be
    /// judged by another.
    pub fn view(&self) -> Arc<AuthView> {
        Arc::clone(&self.view.borrow())
    }

    /// Follows the view.
    pub fn watch(&self) -> watch::Receiver<Arc<AuthView>> {
        self.view.clone()
    }

    /// Whether `principal` may do `operation`; answers the revision of the rules it was decided
    /// by, which travels with the command.
    pub fn authorise(
        &self,
        principal: &Principal,
        _operation: &Operation,
    ) -> Result<u64, RequestError> {
        self.let_in(principal)
    }

    /// Whether `principal` may read the keys of `range`; answers as [`authorise`](Self::authorise).
    pub fn authorise_read(
        &self,
        principal: &Principal,
        _range: &KeyRange,
    ) -> Result<u64, RequestError> {
        self.let_in(principal)
    }

    /// Whether `principal` may ask about members, or change them.
    pub fn authorise_cluster(
        &self,
        principal: &Principal,
        request: &ClusterRequest,
    ) -> Result<u64, RequestError> {
        let about_joining =
            matches!(request, ClusterRequest::Join(_) | ClusterRequest::Standing { .. });
        if about_joining && principal.is_joining_node() {
            return Ok(self.view.borrow().revision());
        }
        self.let_in(principal)
    }

    /// The cluster itself and anyone are denied nothing, nor is who has the role root.
    fn let_in(&self, principal: &Principal) -> Result<u64, RequestError> {
        let view = self.view.borrow();
        if principal.is_builtin() || view.is_root(&principal.0) {
            return Ok(view.revision());
        }
        Err(RequestError::PermissionDenied { reason: format!("{} may do nothing", principal.0) })
    }
}
