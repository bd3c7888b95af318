//! Who asks, and what they may do: AWS Signature Version 4, and the rules.
//!
//! ```text
//!   sign      encode -> canonical request -> string to sign -> signing key -> signature
//!   verify    target -> claim -> key -> signature -> body -> Verified      (one verifier)
//! ```
//!
//! What must stay true:
//! - There is **one verifier**, `verify`, run before anything is dispatched. Only it
//!   makes a `Verified`, and what is dispatched is read from that value: nothing is decoded twice.
//! - Nothing unsigned selects how a request is verified.
//! - The same input gives the same signature, in whatever order its parts come.
//! - A secret is a type whose `Debug` prints nothing and whose memory is wiped when it is dropped.
//!
//! Everything here but `private_file` is pure: the time comes in as an argument, keys through
//! `KeyLookup`. A build without the `server` feature has what a client needs, which is signing.
//!
//! # On failure
//! Every refusal is an `AuthError` with a code and a status of its own. An unknown key, an
//! inactive key and a wrong signature are one error, and take the same time.

pub mod canonical;
pub mod credentials;
pub mod date;
pub mod encode;
pub mod hex;
mod private_file;
pub mod secret;
pub mod session;
pub mod sign;
pub mod signing_key;

#[cfg(feature = "server")]
mod claim;
#[cfg(feature = "server")]
pub mod cluster_key;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
pub mod key_cache;
#[cfg(feature = "server")]
#[cfg(feature = "server")]
pub mod seal;
#[cfg(feature = "server")]
mod signed_headers;
#[cfg(feature = "server")]
pub mod target;
#[cfg(feature = "server")]
pub mod verify;

pub use credentials::{Credentials, CredentialsError};
pub use date::AmzDate;
pub use encode::{Part, aws_uri_encode};
pub use private_file::KeyFileError;
#[cfg(feature = "tls")]
pub(crate) use private_file::read as read_private_file;
pub use secret::SecretKey;
pub use sign::{Presign, Signer};
pub use signing_key::{ALGORITHM, Scope, ScopeParts, Signature, SigningKey, TERMINATOR};

#[cfg(feature = "server")]
pub use cluster_key::ClusterKey;
#[cfg(feature = "server")]
pub use error::AuthError;
#[cfg(feature = "server")]
pub use key_cache::{KeyCache, KeyLookup, KnownKey};
#[cfg(feature = "server")]
#[cfg(feature = "server")]
pub use seal::{MasterKey, SealedFor, UnsealError};
#[cfg(feature = "server")]
pub use target::Target;
#[cfg(feature = "server")]
pub use verify::{CheckedHead, RequestHead, Verified, VerifiedPrincipal, VerifyRules, verify};

/// The service of the requests of clients, in the scope of their credentials.
pub const CLIENT_SERVICE: &str = "chainfire";

/// The service of the frames between nodes.
pub const PEER_SERVICE: &str = "chainfire-peer";

/// What stands for the id of the key that nodes sign with: the peer secret of the cluster's key
/// file. No access key has it.
pub const PEER_KEY_ID: &str = "@peer";

/// What stands for the id of the key of machines that hold the cluster's key file and are no
/// members yet. No access key has it.
pub const NODE_KEY_ID: &str = "@node";
