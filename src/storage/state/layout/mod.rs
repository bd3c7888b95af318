//! What lies in the tables of the state's LMDB environment, byte by byte.
//!
//! | table      | key                                  | value                                   |
//! |------------|--------------------------------------|-----------------------------------------|
//! | `keys`     | the user's key                       | the newest version, without its value   |
//! | `history`  | revision                             | one version: key, value, chain pointers |
//! | `sessions` | client id, `u128`                    | the client's answers                    |
//! | `answers`  | client id, `u128`; sequence, `u64`   | one answer too long for `sessions`      |
//! | `members`  | node id, `u64`                       | its published addresses                 |
//! | `meta`     | `state`                              | how far the state is                    |
//! | `access`   | kind, name                           | a user, a role or an access key         |
//! | `meta`     | `roster`                             | ids given, joins, incarnations          |
//! | `tombstones` | as `history`                       | those that a staged delete wrote in its steps |
//! | `signatures` | date, `u64`; signature           | a signed request's answer               |
//! | `recent`   | as `history`                         | what comes after a backlog; else empty  |
//!
//! Integers are big-endian, so that LMDB's byte order is their order. A value lies once, in
//! `history`, which grows at its end only. `keys` and `history` have fixed layouts that are read
//! in place; the small tables are postcard in an [envelope](crate::storage::envelope) with a
//! version and a checksum. The version of all of it is in `meta` ([`meta::LAYOUT_VERSION`]).
//! `recent` is no [`Table`]: what is in it is the end of `history`, and so it is in a snapshot.
//!
//! A staged delete writes its tombstones at a revision of the past. They have a table of their own,
//! so that `history` still grows at its end only; together the two are the history.
//!
//! Every decoder refuses what no encoder writes (short, long, impossible fields) and says so: the
//! disk is not trusted.

pub(crate) mod access;
pub(crate) mod answers;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod meta;
pub(crate) mod roster;
pub(crate) mod sessions;
pub(crate) mod signatures;
pub(crate) mod version;

/// The name of a table, as LMDB and error messages know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Keys,
    History,
    Sessions,
    Answers,
    Members,
    Meta,
    Access,
    Tombstones,
    Signatures,
}

impl Table {
    /// Every table, in the order of a snapshot file.
    pub(crate) const ALL: [Self; 9] = [
        Self::Keys,
        Self::History,
        Self::Sessions,
        Self::Answers,
        Self::Members,
        Self::Meta,
        Self::Access,
        Self::Tombstones,
        Self::Signatures,
    ];

    /// The table's name in LMDB. On disks: never change one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::History => "history",
            Self::Sessions => "sessions",
            Self::Answers => "answers",
            Self::Members => "members",
            Self::Meta => "meta",
            Self::Access => "access",
            Self::Tombstones => "tombstones",
            Self::Signatures => "signatures",
        }
    }
}

/// Bytes in a table that no encoder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    /// Fewer bytes than the fields need, or more.
    #[error("its length {length} does not fit its fields")]
    Length {
        /// The record's length.
        length: usize,
    },
    /// A field holds a value that is never written.
    #[error("its field {field} is impossible")]
    Field {
        /// Which one.
        field: &'static str,
    },
    /// A checked record is damaged or newer.
    #[error(transparent)]
    Envelope(#[from] crate::storage::envelope::EnvelopeError),
}

/// Splits `N` bytes off the front.
fn take<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), LayoutError> {
    bytes.split_first_chunk::<N>().ok_or(LayoutError::Length { length: bytes.len() })
}
