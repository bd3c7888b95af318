//! The envelope of a command in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Operation;

/// The version of the command encoding, its first byte in the log.
pub const COMMAND_FORMAT_VERSION: u8 = 1;

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
}

/// Who asks: the name of a verified user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal(pub String);

/// One entry of the replicated log, before encoding.
///
/// On disk: one byte [`COMMAND_FORMAT_VERSION`], then this in postcard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The write's name; none for what the cluster proposes itself, which must be idempotent.
    pub request_id: Option<RequestId>,
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
        let bytes = postcard::to_extend(self, vec![COMMAND_FORMAT_VERSION])
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
