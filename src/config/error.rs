//! What can be wrong with a configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a configuration cannot be used. Each is one line that says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An address that no other machine can connect to.
    #[error(
        "{field} is {value}, which nobody can connect to; set it to the address that others reach this node at"
    )]
    UnspecifiedAddress {
        /// The field.
        field: &'static str,
        /// What it says, or what follows from the listener.
        value: String,
    },
    /// A learner that founds a cluster.
    #[error("a learner founds no cluster; give join (--join MEMBER) with learner")]
    LearnerOfNothing,
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {source}; check the path given to --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is far too large to be a configuration.
    #[error("the configuration file {} has more than {max} bytes; check the path given to --config", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// The file is not TOML, or has a key or value that does not belong there.
    #[error("{}:{line}: {reason}; correct or remove that line", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 = not known.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A listener that strangers can reach while everybody is allowed everything.
    #[error(
        "{field} is {address}, which other machines can reach, and requests would not be \
         authenticated; leave --insecure-no-auth out, or listen on a loopback address such as \
         127.0.0.1:{}",
        address.port()
    )]
    OpenToTheNetwork {
        /// The configuration key.
        field: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// A cluster of several nodes without keys.
    #[error(
        "a node of a cluster needs the cluster's keys: make them once with 'chainfire keygen --out \
         DIR' and give every node --cluster-key DIR/cluster-key.toml"
    )]
    NoClusterKey,
    /// Keys that would not be used.
    #[error("--insecure-no-auth and --cluster-key exclude each other; give one of them")]
    KeyWithoutUse,
    /// Peers that could not verify each other.
    #[error(
        "tls.peer has no ca, so this node could not verify the others; give the CA that signed \
         the certificates of all nodes"
    )]
    NoPeerCa,
    /// Members that could not be verified.
    #[error(
        "a node that joins verifies the members it asks, and tls.client has no ca; give it, or \
         the section tls.peer whose ca is used instead"
    )]
    NoMemberCa,
    /// Two listeners on one address.
    #[error("{first} and {second} are both {address}; give each listener its own port")]
    ListenersCollide {
        /// One configuration key.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The node's own name is not usable.
    #[error("name is {name:?}: {reason}; use 1 to 128 letters, digits, '-', '_' or '.'")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An address to be told to others is not one.
    #[error("{field} is {value:?}, which is not HOST:PORT; give for example 127.0.0.1:4602")]
    InvalidAddress {
        /// The configuration key.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// The node is not among the members it should found a cluster with.
    #[error("initial_cluster has no member named {name:?}; add {name}={address}, or correct name")]
    NotAFounder {
        /// The node's name.
        name: String,
        /// Its peer address.
        address: String,
    },
    /// The others would look for the node elsewhere.
    #[error(
        "initial_cluster says that {name:?} is at {said}, but this node's peer address is \
         {address}; make advertise_peer (or listen_peer) and initial_cluster the same"
    )]
    FounderElsewhere {
        /// The node's name.
        name: String,
        /// The address in the initial cluster.
        said: String,
        /// The address it would advertise.
        address: String,
    },
    /// A number out of its bounds.
    #[error("{field} is {value}; it must be {bounds}")]
    OutOfBounds {
        /// The configuration key.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        bounds: &'static str,
    },
    /// A node founds a cluster, or joins one, or takes a snapshot of one and waits.
    #[error("give only one of initial_cluster, join and bootstrap_from")]
    SeveralWaysIn,
}
