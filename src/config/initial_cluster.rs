//! The members a cluster starts with.
//!
//! Every founder is given the same list and derives the same facts from it without a word to the
//! others: which node has which id, and what the cluster is called. So the order in which the list
//! is written must not matter, and the derivation must never change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::types::limits::{ADDRESS_BYTES_MAX, NODE_NAME_BYTES_MAX};
use crate::types::{ClusterId, NodeId, PeerAddress};

/// Most members a cluster can start with. More voters make every write slower and none safer.
const FOUNDERS_MAX: usize = 15;

/// Separates what is hashed here from anything else that is ever hashed.
const CLUSTER_ID_DOMAIN: &[u8] = b"chainfire cluster id, version 1\n";

/// The founders, by name: `NAME=PEERADDR,...` on the command line and in TOML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InitialCluster {
    /// Peer address by name; never empty.
    peer_addr_by_name: BTreeMap<String, String>,
}

/// Why a text is not a list of founders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitialClusterError {
    /// A member without `=`.
    #[error("{member:?} is not NAME=HOST:PORT; write for example a=127.0.0.1:4602")]
    NotAPair {
        /// The member as written.
        member: String,
    },
    /// A name that cannot be one.
    #[error("{name:?} is not a node name: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An address that is not one.
    #[error("{address:?} is not HOST:PORT; write for example 127.0.0.1:4602")]
    InvalidAddress {
        /// The address.
        address: String,
    },
    /// One name twice.
    #[error("two members are named {name:?}; give each its own name")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// One address twice.
    #[error("two members are at {address}; give each its own address")]
    AddressTwice {
        /// The address.
        address: String,
    },
    /// Too many members.
    #[error("there are more than {FOUNDERS_MAX} members; start with 3 or 5")]
    TooMany,
}

impl InitialCluster {
    /// A cluster of one. The name and address were checked before.
    pub(super) fn alone(name: &str, peer_addr: &str) -> Self {
        Self { peer_addr_by_name: BTreeMap::from([(name.to_owned(), peer_addr.to_owned())]) }
    }

    /// Where the named member is reached by its peers.
    pub fn peer_addr(&self, name: &str) -> Option<&str> {
        self.peer_addr_by_name.get(name).map(String::as_str)
    }

    /// The founders with their ids: 1, 2, 3... in the order of their names.
    pub fn members(&self) -> BTreeMap<NodeId, PeerAddress> {
        let pairs = self.peer_addr_by_name.iter();
        let addresses =
            pairs.map(|(name, addr)| PeerAddress { name: name.clone(), peer_addr: addr.clone() });
        (1..).zip(addresses).collect()
    }

    /// The id of the named founder.
    pub fn node_id(&self, name: &str) -> Option<NodeId> {
        self.members().into_iter().find(|(_, address)| address.name == name).map(|(id, _)| id)
    }

    /// The cluster's id: the first 16 bytes of SHA-256 over the founders. The same for every
    /// founder, and different for clusters that were founded at different addresses. A node that
    /// founds a cluster alone has nobody to agree with and draws a random id instead.
    pub fn cluster_id(&self) -> ClusterId {
        let mut hasher = Sha256::new();
        hasher.update(CLUSTER_ID_DOMAIN);
        hasher.update(self.to_string());
        let digest = hasher.finalize();
        let (head, _) = digest.split_first_chunk().expect("SHA-256 has 32 bytes");
        ClusterId(u128::from_be_bytes(*head))
    }
}

impl FromStr for InitialCluster {
    type Err = InitialClusterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut peer_addr_by_name = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        for member in text.split(',').map(str::trim) {
            let (name, address) = member.split_once('=').ok_or_else(|| {
                InitialClusterError::NotAPair { member: member.chars().take(64).collect() }
            })?;
            check_name(name).map_err(|reason| InitialClusterError::InvalidName {
                name: name.chars().take(64).collect(),
                reason,
            })?;
            if !is_host_and_port(address) {
                let address = address.chars().take(64).collect();
                return Err(InitialClusterError::InvalidAddress { address });
            }
            if !addresses.insert(address) {
                return Err(InitialClusterError::AddressTwice { address: address.into() });
            }
            if peer_addr_by_name.insert(name.to_owned(), address.to_owned()).is_some() {
                return Err(InitialClusterError::NameTwice { name: name.into() });
            }
            if addresses.len() > FOUNDERS_MAX {
                return Err(InitialClusterError::TooMany);
            }
        }
        Ok(Self { peer_addr_by_name })
    }
}

impl TryFrom<String> for InitialCluster {
    type Error = InitialClusterError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InitialCluster> for String {
    fn from(cluster: InitialCluster) -> Self {
        cluster.to_string()
    }
}

impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, address)) in self.peer_addr_by_name.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{name}={address}")?;
        }
        Ok(())
    }
}

/// Whether a text can be a node's name; the error says why not.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() {
        Err("it is empty")
    } else if name.len() > NODE_NAME_BYTES_MAX {
        Err("it is too long")
    } else if !name.chars().all(allowed) {
        Err("it has a character that is not a letter, a digit, '-', '_' or '.'")
    } else {
        Ok(())
    }
}

/// Whether a text is `HOST:PORT` with a port that can be connected to. IPv6 hosts stand in
/// brackets.
pub(super) fn is_host_and_port(text: &str) -> bool {
    if text.len() > ADDRESS_BYTES_MAX {
        return false;
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return address.port() != 0;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host_character = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0);
    !host.is_empty() && host.chars().all(is_host_character) && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let one: InitialCluster = "a=h:1,b=h:2,c=h:3".parse().expect("valid");
        let other: InitialCluster = "c=h:3, a=h:1,b=h:2".parse().expect("valid");
        assert_eq!(one, other);
        assert_eq!(one.cluster_id(), other.cluster_id());
        assert_eq!(one.node_id("b"), Some(2));
        assert_eq!(one.node_id("d"), None);
        assert_eq!(one.peer_addr("c"), Some("h:3"));
    }

    #[test]
    fn the_cluster_id_never_changes_between_releases() {
        let cluster: InitialCluster = "a=127.0.0.1:4602".parse().expect("valid");
        assert_eq!(cluster.cluster_id().to_string(), "6693b1e9a8097d5a2f3d683e176baee8");
    }

    #[test]
    fn what_is_wrong_with_a_list_is_named() {
        let not_a_pair = InitialClusterError::NotAPair { member: "b".into() };
        assert_eq!("a=h:1,b".parse::<InitialCluster>(), Err(not_a_pair));
        let name_twice = InitialClusterError::NameTwice { name: "a".into() };
        assert_eq!("a=h:1,a=h:2".parse::<InitialCluster>(), Err(name_twice));
        let address_twice = InitialClusterError::AddressTwice { address: "h:1".into() };
        assert_eq!("a=h:1,b=h:1".parse::<InitialCluster>(), Err(address_twice));
        assert!(matches!(
            "=h:1".parse::<InitialCluster>(),
            Err(InitialClusterError::InvalidName { .. })
        ));
        for address in ["h", "h:", "h:0", "h:65536", ":1", "h h:1", "::1:1", "h:+1"] {
            let parsed = format!("a={address}").parse::<InitialCluster>();
            assert!(matches!(parsed, Err(InitialClusterError::InvalidAddress { .. })), "{address}");
        }
        let many: Vec<String> = (1..=FOUNDERS_MAX + 1).map(|n| format!("n{n}=h:{n}")).collect();
        assert_eq!(many.join(",").parse::<InitialCluster>(), Err(InitialClusterError::TooMany));
    }

    #[test]
    fn hosts_may_be_names_and_either_kind_of_address() {
        for address in ["localhost:1", "node-1.example:65535", "127.0.0.1:1", "[::1]:1"] {
            assert!(is_host_and_port(address), "{address}");
        }
    }
}
