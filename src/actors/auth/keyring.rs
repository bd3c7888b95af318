//! The keys that requests are verified with, and the secrets behind them.
//!
//! A [`Keyring`] is what a node with a cluster key has: it opens the sealed secrets of the access
//! keys in force, keeps what was derived from them, and seals new ones. It reads the view that its
//! actor publishes, so a key that is deactivated stops at the next frame or request.
//!
//! Beside the users' keys it knows one more, [`NODE_KEY_ID`]: that of machines which hold the
//! cluster key and are no members yet. They may ask to join, and nothing else.
//!
//! # What must stay true
//! - Secrets leave this file only as derived keys.
//! - A key that is not in force takes the time of one that is (see [`KeyCache`]).

use std::sync::Arc;

use rand::CryptoRng;
use tokio::sync::watch;

use super::view::AuthView;
use crate::auth::seal::NONCE_BYTES;
use crate::auth::{
    ClusterKey, Credentials, KeyCache, KeyLookup, KnownKey, NODE_KEY_ID, PEER_KEY_ID, Scope,
    SealedFor, SecretKey, SigningKey, UnsealError,
};
use crate::rpc::transport::SessionKeys;
use crate::types::{AccessKey, Principal};

/// The version of secrets that were never replaced: an id has one secret, and goes with it.
const FIRST_VERSION: u64 = 1;

/// See the module. One for each node.
pub struct Keyring {
    cluster: ClusterKey,
    views: watch::Receiver<Arc<AuthView>>,
    cache: KeyCache,
}

impl Keyring {
    /// Of the cluster with this key; the access keys are those of `views`.
    pub(super) fn new(
        cluster: ClusterKey,
        views: watch::Receiver<Arc<AuthView>>,
        rng: &mut impl CryptoRng,
    ) -> Self {
        Self { cluster, views, cache: KeyCache::random(rng) }
    }

    /// The cluster's name: the region of every signature.
    pub fn cluster_name(&self) -> &str {
        &self.cluster.cluster_name
    }

    /// Whether there is any user yet: the state was founded, or received, and applied.
    pub fn has_users(&self) -> bool {
        self.views.borrow().revision() > 0
    }

    /// The keys in force at this moment, for one request.
    pub fn in_force(self: &Arc<Self>) -> KeysInForce {
        KeysInForce { view: Arc::clone(&self.views.borrow()), ring: Arc::clone(self) }
    }

    /// What was derived from them.
    pub fn cache(&self) -> &KeyCache {
        &self.cache
    }

    /// The access key of these credentials, with its secret sealed, for `user`.
    pub fn seal(
        &self,
        credentials: &Credentials,
        user: &str,
        rng: &mut impl CryptoRng,
    ) -> AccessKey {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let of = self.sealed_for(&credentials.access_key_id, FIRST_VERSION);
        let sealed = self.cluster.master_key.seal(&credentials.secret_access_key, &of, nonce);
        AccessKey {
            id: credentials.access_key_id.clone(),
            user: user.to_owned(),
            version: FIRST_VERSION,
            active: true,
            sealed_secret: sealed.into(),
        }
    }

    /// The first key of the user root, sealed anew each time.
    pub(super) fn root_key(&self, rng: &mut impl CryptoRng) -> AccessKey {
        self.seal(&self.cluster.root_credentials(), crate::types::access::ROOT, rng)
    }

    /// Whether the secret of `key` opens under this cluster's master key.
    pub(super) fn open(&self, key: &AccessKey) -> Result<SecretKey, UnsealError> {
        let of = self.sealed_for(&key.id, key.version);
        self.cluster.master_key.open(&key.sealed_secret, &of)
    }

    fn sealed_for<'a>(&self, key_id: &'a str, version: u64) -> SealedFor<'a> {
        SealedFor { cluster_id: self.cluster.cluster_id, key_id, version }
    }
}

/// The keys in force at one moment.
#[derive(Clone)]
pub struct KeysInForce {
    view: Arc<AuthView>,
    ring: Arc<Keyring>,
}

impl KeyLookup for KeysInForce {
    fn find(&self, access_key_id: &str) -> Option<KnownKey> {
        if access_key_id == NODE_KEY_ID {
            let principal = Principal::joining_node();
            return Some(KnownKey { principal, secret_version: FIRST_VERSION });
        }
        let (key, user) = self.view.active_key(access_key_id)?;
        Some(KnownKey { principal: Principal(user.name.clone()), secret_version: key.version })
    }

    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        if access_key_id == NODE_KEY_ID {
            return Some(self.ring.cluster.node_secret());
        }
        let (key, _) = self.view.active_key(access_key_id)?;
        match self.ring.open(key) {
            Ok(secret) => Some(secret),
            Err(error) => {
                tracing::error!(access_key_id, %error, "a key cannot be used");
                None
            }
        }
    }
}

/// The keys of clients' sessions.
pub struct ClientKeys(pub Arc<Keyring>);

impl SessionKeys for ClientKeys {
    fn signing_key(&self, access_key_id: &str, scope: &Scope) -> (Option<Principal>, SigningKey) {
        self.0.cache.signing_key(&self.0.in_force(), access_key_id, scope)
    }

    fn can_tell(&self, access_key_id: &str) -> bool {
        access_key_id == NODE_KEY_ID || self.0.has_users()
    }
}

/// The one key of peers' sessions.
pub struct PeerKeys {
    secret: SecretKey,
    cache: KeyCache,
}

impl PeerKeys {
    /// Of the cluster with this key.
    pub fn new(cluster: &ClusterKey, rng: &mut impl CryptoRng) -> Self {
        Self { secret: cluster.peer_secret.clone(), cache: KeyCache::random(rng) }
    }
}

impl KeyLookup for PeerKeys {
    fn find(&self, access_key_id: &str) -> Option<KnownKey> {
        (access_key_id == PEER_KEY_ID)
            .then(|| KnownKey { principal: Principal::cluster(), secret_version: FIRST_VERSION })
    }

    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        (access_key_id == PEER_KEY_ID).then(|| self.secret.clone())
    }
}

impl SessionKeys for PeerKeys {
    fn signing_key(&self, access_key_id: &str, scope: &Scope) -> (Option<Principal>, SigningKey) {
        self.cache.signing_key(self, access_key_id, scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AccessEdit, AccessTables, User};

    fn ring(tables: AccessTables) -> (Arc<Keyring>, ClusterKey) {
        let cluster = ClusterKey::generate("c", &mut rand::rng());
        let (publish, views) = watch::channel(Arc::new(AuthView::new(Arc::new(tables))));
        drop(publish);
        (Arc::new(Keyring::new(cluster.clone(), views, &mut rand::rng())), cluster)
    }

    #[test]
    fn a_sealed_key_is_found_with_its_secret_and_opens_under_no_other_cluster_key() {
        let (other, _) = ring(AccessTables::default());
        let credentials = Credentials::generate("c", &mut rand::rng());
        let user = User { name: "ann".into(), roles: Default::default(), active: true };
        let cluster = ClusterKey::generate("c", &mut rand::rng());
        let (publish, views) = watch::channel(Arc::default());
        let ring = Arc::new(Keyring::new(cluster, views, &mut rand::rng()));
        let key = ring.seal(&credentials, "ann", &mut rand::rng());
        assert_eq!(other.open(&key).unwrap_err(), UnsealError::DoesNotOpen);
        let edits = [AccessEdit::SetUser(user), AccessEdit::SetKey(key)];
        let tables = AccessTables::default().edited(1, &edits);
        assert!(ring.in_force().find(&credentials.access_key_id).is_none(), "not there yet");
        publish.send_replace(Arc::new(AuthView::new(Arc::new(tables))));
        let keys = ring.in_force();
        let known = keys.find(&credentials.access_key_id).expect("in force");
        assert_eq!(known.principal, Principal("ann".into()));
        let secret = keys.secret(&credentials.access_key_id).expect("it opens");
        assert_eq!(secret.expose(), credentials.secret_access_key.expose());
    }

    #[test]
    fn the_key_of_nodes_that_join_is_neither_the_peers_nor_a_users() {
        let (ring, cluster) = ring(AccessTables::default());
        let found = ring.in_force().find(NODE_KEY_ID).expect("always in force");
        assert_eq!(found.principal, Principal::joining_node());
        let secret = ring.in_force().secret(NODE_KEY_ID).expect("derived");
        assert_ne!(secret.expose(), cluster.peer_secret.expose());
        assert!(ring.in_force().find(PEER_KEY_ID).is_none());
        assert!(PeerKeys::new(&cluster, &mut rand::rng()).find(NODE_KEY_ID).is_none());
    }
}
