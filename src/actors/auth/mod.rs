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
use super::supervisor::SupervisorMessage;
use crate::auth::ClusterKey;
use crate::types::{AccessTables, Asked, Principal, RequestError};

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
    /// Is told when the node has another cluster's key.
    pub supervisor: ActorRef<SupervisorMessage>,
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
        if is_of_another_cluster(keyring, &args.access.borrow()) {
            // The supervisor is only gone when the node stops anyway.
            let _ = args.supervisor.send_message(SupervisorMessage::OtherClusterKey);
        }
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

/// Whether the cluster key opens none of the secrets in the state: the node could verify nobody.
fn is_of_another_cluster(keyring: &Keyring, tables: &AccessTables) -> bool {
    let mut keys = tables.keys.values().peekable();
    keys.peek().is_some() && keys.all(|key| keyring.open(key).is_err())
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
        supervisor: ActorRef<SupervisorMessage>,
    ) -> AuthArgs {
        let (publish, keyring) = (self.publish.clone(), self.keyring.clone());
        AuthArgs { listeners, access, raft, supervisor, keyring, publish }
    }

    /// What requests are verified with; none = the node runs without authentication.
    pub fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.as_ref()
    }

    /// Whether there is somebody who can ask for anything: the first user is there.
    pub fn is_founded(&self) -> bool {
        self.keyring.as_ref().is_none_or(|keyring| keyring.has_users())
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

    /// Whether `principal`, signing with `access_key_id`, may do what is asked. Answers the
    /// revision of the rules it was decided by, which travels with a command. Without
    /// authentication there is no key.
    ///
    /// What is asked must be well formed: transactions are nested no deeper than they may be.
    ///
    /// # Errors
    /// When it may not.
    pub fn authorise(
        &self,
        principal: &Principal,
        access_key_id: Option<&str>,
        asked: Asked<'_>,
    ) -> Result<u64, Denial> {
        let view = self.view.borrow();
        if let Some(id) = access_key_id.filter(|id| !view.is_active(id, principal)) {
            return Err(Denial::KeyNotInForce { access_key_id: id.to_owned() });
        }
        let joins = principal.is_joining_node() && asked.is_for_joining_nodes();
        if principal.is_builtin() || joins {
            return Ok(view.revision());
        }
        let denied = |missing: String| {
            let user = principal.0.clone();
            Err(Denial::NotPermitted { user, missing })
        };
        match view.grants(&principal.0).map(|grants| grants.check(asked)) {
            Some(Ok(())) => Ok(view.revision()),
            Some(Err(missing)) => denied(missing.to_string()),
            None => denied("do this".to_owned()),
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The key, or its user, was deactivated or removed since the connection was opened.
    #[error("key {access_key_id} is no longer accepted")]
    KeyNotInForce {
        /// The key.
        access_key_id: String,
    },
    /// No role of the user grants it.
    #[error("user {user} may not {missing}")]
    NotPermitted {
        /// The user.
        user: String,
        /// What would have to be granted.
        missing: String,
    },
}

impl Denial {
    /// In metrics and audit lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KeyNotInForce { .. } => "key_not_in_force",
            Self::NotPermitted { .. } => "not_permitted",
        }
    }
}

impl From<Denial> for RequestError {
    fn from(denial: Denial) -> Self {
        Self::PermissionDenied { reason: denial.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::access::ROOT;
    use crate::types::{
        AccessEdit, AccessKey, ClusterRequest, KeyRange, Permission, PermissionKind, RangeRequest,
        Role, User,
    };

    /// Root with the key R, and ann, who may read under `a/`, with the key A.
    fn tables() -> AccessTables {
        let user = |name: &str, role: &str| {
            let (name, roles) = (name.to_owned(), [role.to_owned()].into());
            AccessEdit::SetUser(User { name, roles, active: true })
        };
        let key = |id: &str, user: &str| {
            let (id, user, sealed_secret) = (id.to_owned(), user.to_owned(), "sealed".into());
            AccessEdit::SetKey(AccessKey { id, user, version: 1, active: true, sealed_secret })
        };
        let permission = Permission { kind: PermissionKind::Read, range: KeyRange::prefix("a/") };
        let role = Role { name: "reader".to_owned(), permissions: vec![permission] };
        AccessTables::default().edited(
            3,
            &[
                user(ROOT, ROOT),
                key("R", ROOT),
                user("ann", "reader"),
                key("A", "ann"),
                AccessEdit::SetRole(role),
            ],
        )
    }

    #[test]
    fn the_door_decides_by_key_user_and_roles() {
        let handle = AuthHandle::new(None);
        handle.publish.send_replace(Arc::new(AuthView::new(Arc::new(tables()))));
        let named = |name: &str| Principal(name.to_owned());
        let ask = |principal: &Principal, key: Option<&str>, asked: Asked<'_>| {
            handle.authorise(principal, key, asked).map_err(|denial| denial.name())
        };
        let inside = RangeRequest::new(KeyRange::single("a/1"));
        let outside = RangeRequest::new(KeyRange::single("b"));
        let standing = ClusterRequest::Standing { node_id: 1 };
        let (range, standing) = (Asked::Range, Asked::Cluster(&standing));
        let node = Principal::joining_node();
        let (denied, gone) = (Err("not_permitted"), Err("key_not_in_force"));
        for (principal, key, asked, decided) in [
            (&named(ROOT), Some("R"), range(&outside), Ok(3)),
            (&named(ROOT), Some("R"), Asked::Snapshot, Ok(3)),
            (&named("ann"), Some("A"), range(&inside), Ok(3)),
            (&named("ann"), Some("A"), range(&outside), denied),
            (&named("ann"), Some("A"), Asked::Status, Ok(3)),
            (&named("ann"), Some("A"), Asked::Snapshot, denied),
            (&named("ann"), Some("A"), standing, denied),
            (&named("ann"), Some("R"), range(&inside), gone),
            (&named("ann"), Some("unknown"), Asked::Status, gone),
            (&named("bob"), None, range(&inside), denied),
            (&node, Some("@node"), standing, Ok(3)),
            (&node, Some("@node"), range(&inside), denied),
            (&node, Some("@node"), Asked::Status, denied),
            (&Principal::anyone(), None, Asked::Snapshot, Ok(3)),
        ] {
            assert_eq!(ask(principal, key, asked), decided, "{principal:?} {asked:?}");
        }
    }
}
