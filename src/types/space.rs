//! How much room a node's state has.

use serde::{Deserialize, Serialize};

/// What a node's state takes and may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceUse {
    /// Bytes of pages that hold something, and of changes that are not written yet.
    pub used_bytes: u64,
    /// Bytes from which on writes are refused: the quota, or less where the disk has less.
    pub limit_bytes: u64,
    /// Whether it is full: at the limit, or not well below it since.
    pub is_full: bool,
}

/// A delete of many keys that is being written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteProgress {
    /// Its main revision.
    pub revision: u64,
    /// Keys written out so far.
    pub deleted: u64,
}
