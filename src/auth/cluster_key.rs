//! The cluster's own keys, the same file on every node.
//!
//! ```toml
//! # cluster-key.toml, mode 0600
//! cluster_name = "chainfire"
//! cluster_id = "32 hex digits"
//! peer_secret = "64 hex digits"     # nodes sign their frames with it
//! master_key = "64 hex digits"      # secrets at rest are sealed under it
//! ```
//!
//! Two more keys are derived from these, so that no node needs another file: the first key of the
//! user root, which every founder can put into the state, and the key with which a machine that
//! holds this file asks to become a node. `cluster_id` names the file: sealed secrets are bound to
//! it. A cluster restored from a backup has an identity of its own and the same file.

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use serde::Deserialize;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::private_file::{self, KeyFileError};
use super::seal::MasterKey;
use super::{Credentials, NODE_KEY_ID, PEER_KEY_ID, PEER_SERVICE, SecretKey, Signer, hex};
use crate::types::ClusterId;

/// The file of the cluster's keys.
pub const CLUSTER_KEY_FILE: &str = "cluster-key.toml";

/// Longest name of a cluster, in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// Derives the id of the first key of root, its secret, and the secret of machines that join.
const ROOT_ID_LABEL: &[u8] = b"chainfire root key id v1\0";
const ROOT_SECRET_LABEL: &[u8] = b"chainfire root secret v1\0";
const NODE_LABEL: &[u8] = b"chainfire joining node v1\0";

/// Bytes of a derived secret, as of a random one.
const DERIVED_SECRET_BYTES: usize = 30;
/// Random bytes in a key's id.
const KEY_ID_BYTES: usize = 9;

/// What makes a process a node of one cluster. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct ClusterKey {
    /// The cluster's name: the region of every signature.
    pub cluster_name: String,
    /// Which cluster.
    pub cluster_id: ClusterId,
    /// What nodes sign with.
    pub peer_secret: SecretKey,
    /// What secrets are sealed under.
    pub master_key: MasterKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cluster_name: String,
    cluster_id: String,
    peer_secret: Zeroizing<String>,
    master_key: Zeroizing<String>,
}

/// Whether `name` can be a cluster's: lower-case letters, digits and `-`, as a region of AWS.
pub fn is_cluster_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= CLUSTER_NAME_BYTES_MAX && name.bytes().all(plain)
}

impl ClusterKey {
    /// The keys of a new cluster.
    pub fn generate(cluster_name: &str, rng: &mut impl CryptoRng) -> Self {
        let mut id = [0; 16];
        let [mut peer, mut master] = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut peer[..]);
        rng.fill_bytes(&mut master[..]);
        Self {
            cluster_name: cluster_name.to_owned(),
            cluster_id: ClusterId(u128::from_be_bytes(id)),
            peer_secret: SecretKey::new(hex::encode(&peer[..])),
            master_key: MasterKey::new(*master),
        }
    }

    /// The first key of the user root. It is good until root's keys are rotated.
    pub fn root_credentials(&self) -> Credentials {
        let master = self.master_key.expose();
        let id = derive(master, ROOT_ID_LABEL, self.cluster_id);
        let secret = derive(master, ROOT_SECRET_LABEL, self.cluster_id);
        Credentials {
            access_key_id: format!("CF{}", hex::encode(&id[..KEY_ID_BYTES]).to_ascii_uppercase()),
            secret_access_key: SecretKey::new(hex::encode(&secret[..DERIVED_SECRET_BYTES])),
            cluster_name: self.cluster_name.clone(),
        }
    }

    /// What machines sign with that hold this file and are no members yet.
    pub fn node_credentials(&self) -> Credentials {
        Credentials {
            access_key_id: NODE_KEY_ID.to_owned(),
            secret_access_key: self.node_secret(),
            cluster_name: self.cluster_name.clone(),
        }
    }

    /// The secret of [`node_credentials`](Self::node_credentials).
    pub fn node_secret(&self) -> SecretKey {
        let secret = derive(self.peer_secret.expose().as_bytes(), NODE_LABEL, self.cluster_id);
        SecretKey::new(hex::encode(&secret[..]))
    }

    /// What nodes sign their frames to each other with.
    pub fn peer_signer(&self) -> Signer {
        Signer::new(PEER_KEY_ID, self.peer_secret.clone(), &self.cluster_name[..], PEER_SERVICE)
    }

    /// Reads a cluster key file.
    ///
    /// # Errors
    /// When it is missing, can be read by others, or is not one.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let text = private_file::read(path)?;
        let malformed = |reason| KeyFileError::Malformed { path: path.to_owned(), reason };
        // What the parser says would quote the line, and with it a key.
        let file: File = toml::from_str(&text).map_err(|_| {
            malformed(
                "not a cluster key file: it needs cluster_name, cluster_id, peer_secret and \
                 master_key; make one with `chainfire keygen`",
            )
        })?;
        if !is_cluster_name(&file.cluster_name) {
            return Err(malformed("cluster_name must be lower-case letters, digits and dashes"));
        }
        let cluster_id = hex::decode(file.cluster_id.as_bytes())
            .ok_or_else(|| malformed("cluster_id must be 32 lower-case hex digits"))?;
        let key = |text: &str| hex::decode::<32>(text.as_bytes()).map(Zeroizing::new);
        let digits = "peer_secret and master_key must be 64 lower-case hex digits";
        key(&file.peer_secret).ok_or_else(|| malformed(digits))?;
        let master_key = key(&file.master_key).ok_or_else(|| malformed(digits))?;
        Ok(Self {
            cluster_name: file.cluster_name,
            cluster_id: ClusterId(u128::from_be_bytes(cluster_id)),
            peer_secret: SecretKey::new(&file.peer_secret[..]),
            master_key: MasterKey::new(*master_key),
        })
    }

    /// Makes a cluster key file.
    ///
    /// # Errors
    /// When there is one already, or the disk refuses.
    pub fn create(&self, path: &Path) -> Result<(), KeyFileError> {
        let master = Zeroizing::new(hex::encode(self.master_key.expose()));
        let text = Zeroizing::new(format!(
            "# The keys of the cluster {name:?}: the same file on every node, and nowhere else.\n\
             cluster_name = {name:?}\ncluster_id = \"{id}\"\n\
             peer_secret = {peer:?}\nmaster_key = {master:?}\n",
            name = self.cluster_name,
            id = self.cluster_id,
            peer = self.peer_secret.expose(),
            master = &master[..],
        ));
        private_file::create(path, &text)
    }
}

fn derive(key: &[u8], label: &[u8], cluster_id: ClusterId) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(label);
    mac.update(&cluster_id.0.to_be_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_are_the_same_on_every_node_and_differ_from_each_other() {
        let (one, other) = (
            ClusterKey::generate("c", &mut rand::rng()),
            ClusterKey::generate("c", &mut rand::rng()),
        );
        let (root, again) = (one.root_credentials(), one.clone().root_credentials());
        assert_eq!(root.access_key_id, again.access_key_id);
        assert_eq!(root.secret_access_key.expose(), again.secret_access_key.expose());
        assert!(crate::types::access::is_key_id(&root.access_key_id));
        assert!(!crate::types::access::is_key_id(NODE_KEY_ID), "no user can have it");
        let secrets = [
            root.secret_access_key,
            other.root_credentials().secret_access_key,
            one.node_secret(),
            other.node_secret(),
            one.peer_secret.clone(),
        ];
        let distinct: std::collections::BTreeSet<_> =
            secrets.iter().map(SecretKey::expose).collect();
        assert_eq!(distinct.len(), secrets.len());
    }

    #[test]
    fn generated_keys_come_back_from_their_file_and_are_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(CLUSTER_KEY_FILE);
        let made = ClusterKey::generate("prod-1", &mut rand::rng());
        made.create(&path).unwrap();
        let back = ClusterKey::load(&path).unwrap();
        assert_eq!((&back.cluster_name, back.cluster_id), (&made.cluster_name, made.cluster_id));
        assert_eq!(back.peer_secret.expose(), made.peer_secret.expose());
        assert_eq!(back.master_key.expose(), made.master_key.expose());
        let debug = format!("{back:?}");
        assert!(!debug.contains(back.peer_secret.expose()));
        assert!(!debug.contains(&hex::encode(back.master_key.expose())));
        let other = ClusterKey::generate("prod-1", &mut rand::rng());
        assert_ne!(other.cluster_id, made.cluster_id);
    }

    #[test]
    fn what_is_not_a_cluster_key_file_is_refused_without_quoting_it() {
        let directory = tempfile::tempdir().unwrap();
        let good = format!(
            "cluster_name = \"c\"\ncluster_id = \"{}\"\npeer_secret = \"{}\"\nmaster_key = \"{}\"\n",
            "0".repeat(32),
            "ab".repeat(32),
            "cd".repeat(32)
        );
        for (number, (from, to)) in [
            ("", ""),
            ("cluster_name = \"c\"", "cluster_name = \"C c\""),
            ("cluster_name = \"c\"", ""),
            ("\"00", "\"0"),
            ("\"cd", "\"CD"),
            ("\"ab", "\"a"),
            ("master_key", "master"),
        ]
        .into_iter()
        .enumerate()
        {
            let path = directory.path().join(format!("{number}.toml"));
            private_file::create(&path, &good.replacen(from, to, 1)).unwrap();
            match ClusterKey::load(&path) {
                Ok(_) => assert_eq!(number, 0),
                Err(error) => {
                    assert!(number > 0, "{error}");
                    assert!(!error.to_string().contains("abab"), "{error}");
                }
            }
        }
    }
}
