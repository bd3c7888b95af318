//! The envelope of a command in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Operation;

/// The newest version of the command encoding that this release reads. The first byte of a command
/// in the log is the lowest version that has what it says ([`Operation::format`]): a member stops
/// at one that it does not read, so a leader proposes only what all members do.
pub const COMMAND_FORMAT_VERSION: u8 = 1;

/// The version that every release reads.
pub const COMMAND_FORMAT_FIRST: u8 = 1;

const _: () = assert!(COMMAND_FORMAT_FIRST <= COMMAND_FORMAT_VERSION);

/// A client for the purpose of applying its retries once: 128 random bits drawn by the client
/// library when it starts, and drawn anew when its session has expired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u128);

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({:032x})", self.0)
    }
}

/// Names one write of one client, so that sending it again does not apply it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The client.
    pub client: ClientId,
    /// The client's writes, counted from 1.
    pub sequence: u64,
    /// The lowest sequence whose answer the client does not have yet (this one included).
    /// Answers below it are forgotten.
    pub lowest_unanswered: u64,
    /// A replicated time, in milliseconds, that a node had applied before the client's first write
    /// was sent; the same in every request of the client. A state that forgot no session which was
    /// in use at that time or later cannot have forgotten this one.
    pub begun_ms: u64,
    /// For how long after its first try the client may send this write again, in milliseconds.
    pub window_ms: u64,
}

/// Names a request by the signature that it came with: whoever sends the same bytes again sends the
/// same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedRequest {
    /// The signature. It covers everything that decides what is written, and the date.
    pub signature: [u8; 32],
    /// The date that was signed, in seconds since 1970.
    pub dated_seconds: u64,
    /// For how long the node that verified it would have accepted it again, in milliseconds.
    pub window_ms: u64,
}

/// What a signed request is remembered by, in the order of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignatureKey {
    /// The date that was signed, in seconds since 1970.
    pub dated_seconds: u64,
    /// The signature.
    pub signature: [u8; 32],
}

impl SignedRequest {
    /// What it is remembered by.
    pub fn key(&self) -> SignatureKey {
        let Self { signature, dated_seconds, .. } = *self;
        SignatureKey { dated_seconds, signature }
    }
}

/// What a write is known by when it comes again. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RequestName {
    /// A write of a client's session.
    Session(RequestId),
    /// A request that stands alone.
    Signature(SignedRequest),
}

impl From<RequestId> for RequestName {
    fn from(id: RequestId) -> Self {
        Self::Session(id)
    }
}

impl From<SignedRequest> for RequestName {
    fn from(request: SignedRequest) -> Self {
        Self::Signature(request)
    }
}

/// Who asks: the name of a verified user.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Principal(pub String);

/// One entry of the replicated log, before encoding.
///
/// On disk: one byte [`COMMAND_FORMAT_VERSION`], then this in postcard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The write's name; none for what the cluster proposes itself, which must be idempotent.
    pub request_id: Option<RequestName>,
    /// On whose behalf.
    pub principal: Principal,
    /// The revision of the users and roles the request was authorised against at the door.
    pub auth_revision: u64,
    /// The leader's replicated clock, in milliseconds since the cluster began. Never runs back
    /// from one command to the next.
    pub leader_time_ms: u64,
    /// What to do.
    pub operation: Operation,
}

/// Why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandDecodeError {
    /// No byte at all.
    #[error("the command is empty")]
    Empty,
    /// Written by a newer release.
    #[error(
        "command format {found} is newer than {COMMAND_FORMAT_VERSION}, the newest this release reads; upgrade this node"
    )]
    NewerFormat {
        /// The version found.
        found: u8,
    },
    /// Not a command.
    #[error("the command is malformed")]
    Malformed,
}

impl Command {
    /// The bytes of this command in the log.
    pub fn encode(&self) -> bytes::Bytes {
        let bytes = postcard::to_extend(self, vec![self.operation.format()])
            .expect("a vector takes every byte and no field refuses to be serialised");
        bytes.into()
    }

    /// Reads a command back. Trailing bytes are an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandDecodeError> {
        let (version, body) = bytes.split_first().ok_or(CommandDecodeError::Empty)?;
        if *version > COMMAND_FORMAT_VERSION {
            return Err(CommandDecodeError::NewerFormat { found: *version });
        }
        match postcard::take_from_bytes(body) {
            Ok((command, [])) => Ok(command),
            _ => Err(CommandDecodeError::Malformed),
        }
    }
}
