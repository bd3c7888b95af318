//! Who may do what.
//!
//! Users, roles and keys are replicated. The actor follows them as this node applies them, makes an
//! immutable [`AuthView`] of each revision and publishes it; requests read that value without a
//! mailbox.
//!
//! Requests are not signed yet: whoever connects is [`Principal::anyone`], who may do everything,
//! and a node is refused where anybody but this machine could connect.
//!
//! # On failure
//! The last published view stays in force while the actor restarts.

mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use view::AuthView;

use super::mailbox::Mailbox;
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
    /// Where the view is published.
    publish: watch::Sender<Arc<AuthView>>,
}

/// What the actor owns.
pub struct AuthState {
    args: AuthArgs,
    /// Follows the tables for as long as the actor lives.
    follow: JoinHandle<()>,
}

impl Drop for AuthState {
    fn drop(&mut self) {
        self.follow.abort();
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
        if let Some(open) = args.listeners.iter().find(|addr| !addr.ip().is_loopback()) {
            return Err(format!(
                "{open} can be reached from other machines, and requests are not authenticated; \
                 listen on a loopback address"
            )
            .into());
        }
        on_changed(&args);
        let follow = tokio::spawn(follow(args.access.clone(), myself));
        Ok(AuthState { args, follow })
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

/// Publishes the view of what there is now.
fn on_changed(args: &AuthArgs) {
    let tables = Arc::clone(&args.access.borrow());
    args.publish.send_replace(Arc::new(AuthView::new(tables)));
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
    pub(super) mailbox: Mailbox<AuthMessage>,
}

impl AuthHandle {
    /// A handle with an empty view until its actor has started.
    pub(super) fn new() -> Self {
        let (publish, view) = watch::channel(Arc::default());
        Self { view, publish, mailbox: Mailbox::new("auth", WAITING_MAX) }
    }

    pub(super) fn args(&self, listeners: Vec<SocketAddr>, access: AccessWatch) -> AuthArgs {
        AuthArgs { listeners, access, publish: self.publish.clone() }
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
        _request: &ClusterRequest,
    ) -> Result<u64, RequestError> {
        self.let_in(principal)
    }

    fn let_in(&self, principal: &Principal) -> Result<u64, RequestError> {
        if principal.is_builtin() {
            return Ok(self.view.borrow().revision());
        }
        Err(RequestError::PermissionDenied { reason: format!("{} may do nothing", principal.0) })
    }
}
