//! The bytes of the log's few single records.
//!
//! ```text
//! key          value: an envelope of version 1 around, in postcard
//! "format"     u32        the layout of this environment
//! "vote"       Vote       the last vote saved
//! "committed"  LogId      an entry known to be committed; may be older than the newest such
//! "purged"     LogId      the last entry that is gone; those up to it are not read
//! "journal"    (u64, u64) the salt of the journal's records, and the number of the last one
//!                         whose writes are in the tables; absent when there is no journal
//! ```

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::StorageError;
use super::super::envelope::{self, EnvelopeError};
use crate::types::{LogId, Vote};

/// The newest layout of the environment this release reads, and the one it writes.
pub(super) const LOG_FORMAT_VERSION: u32 = 1;

/// The newest version of a record this release reads, and the one it writes.
const RECORD_VERSION: u8 = 1;

/// A record of the `meta` table: its key, and by its type what it holds.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// The key.
    const KEY: &'static str;
    /// What it is, in messages.
    const NAME: &'static str;

    /// Reads one back.
    fn unseal(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        envelope::unseal(RECORD_VERSION, bytes)
    }
}

/// The layout of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct FormatRecord(pub(super) u32);

/// The last vote saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct VoteRecord(pub(super) Vote);

/// An entry known to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct CommittedRecord(pub(super) LogId);

/// The last entry that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct PurgedRecord(pub(super) LogId);

/// Where the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct JournalRecord {
    /// What each of its records carries.
    pub(super) salt: u64,
    /// The last record whose writes are in the tables.
    pub(super) sequence: u64,
}

impl Record for FormatRecord {
    const KEY: &'static str = "format";
    const NAME: &'static str = "the format record";
}

impl Record for VoteRecord {
    const KEY: &'static str = "vote";
    const NAME: &'static str = "the vote record";
}

impl Record for CommittedRecord {
    const KEY: &'static str = "committed";
    const NAME: &'static str = "the committed record";
}

impl Record for PurgedRecord {
    const KEY: &'static str = "purged";
    const NAME: &'static str = "the purged record";
}

impl Record for JournalRecord {
    const KEY: &'static str = "journal";
    const NAME: &'static str = "the journal record";
}

/// A record's bytes.
pub(super) fn encode<R: Record>(record: &R) -> Vec<u8> {
    envelope::seal(RECORD_VERSION, record)
}

/// Reads a record back; `path` is the environment's, for the error.
pub(super) fn decode<R: Record>(path: &Path, bytes: &[u8]) -> Result<R, StorageError> {
    R::unseal(bytes).map_err(|error| StorageError::envelope(R::NAME, path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG_ID: LogId = LogId { term: 3, index: 300 };

    #[test]
    fn the_bodies_of_records_are_pinned() {
        let vote = Vote { term: 5, node_id: 2, committed: true };
        assert_eq!(encode(&FormatRecord(1))[5..], [1]);
        assert_eq!(encode(&VoteRecord(vote))[5..], [5, 2, 1]);
        assert_eq!(encode(&CommittedRecord(LOG_ID))[5..], [3, 0xAC, 2]);
        assert_eq!(encode(&PurgedRecord(LOG_ID))[5..], [3, 0xAC, 2]);
        assert_eq!(encode(&JournalRecord { salt: 300, sequence: 7 })[5..], [0xAC, 2, 7]);
    }

    #[test]
    fn every_record_survives_the_way_there_and_back() {
        let path = Path::new("/d/log");
        let vote = VoteRecord(Vote { term: u64::MAX, node_id: 9, committed: false });
        assert_eq!(decode::<VoteRecord>(path, &encode(&vote)).unwrap(), vote);
        let purged = PurgedRecord(LOG_ID);
        assert_eq!(decode::<PurgedRecord>(path, &encode(&purged)).unwrap(), purged);
    }

    #[test]
    fn a_flipped_bit_names_the_record() {
        let mut bytes = encode(&PurgedRecord(LOG_ID));
        bytes[5] ^= 8;
        let message = decode::<PurgedRecord>(Path::new("/d/log"), &bytes).unwrap_err().to_string();
        assert!(message.starts_with("the purged record in /d/log is corrupt"), "{message}");
    }
}
