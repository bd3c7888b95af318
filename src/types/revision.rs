//! Revisions: the store's logical time.

use serde::{Deserialize, Serialize};

/// A point in the history: the main revision of a mutating request, and the position of one
/// change inside it.
///
/// An empty store is at main revision 1; the first write makes 2. Clients see `main` only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Revision {
    /// One for each mutating request or transaction.
    pub main: u64,
    /// 0, 1, 2... for each change inside the request.
    pub sub: u32,
}

impl Revision {
    /// The revision of an empty store.
    pub const EMPTY_STORE: u64 = 1;

    /// A revision from its parts.
    pub const fn new(main: u64, sub: u32) -> Self {
        Self { main, sub }
    }
}

/// What the store keeps about one version of a key, apart from the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMeta {
    /// Main revision of the put that created the key (since it last did not exist).
    pub create_revision: u64,
    /// The change that made this version; its `main` is what clients see as `mod_revision`.
    pub mod_revision: Revision,
    /// Number of puts since the key was created, from 1.
    pub version: u64,
    /// The lease the key is attached to; 0 = none.
    pub lease: i64,
}
