//! What happened to a key: derived from the changes of a command, never written by hand.

use bytes::Bytes;

use super::{Revision, VersionMeta};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key got this value.
    Put {
        /// The new version.
        meta: VersionMeta,
        /// The new value.
        value: Bytes,
    },
    /// The key is gone.
    Delete {
        /// The change that deleted it.
        revision: Revision,
    },
}
