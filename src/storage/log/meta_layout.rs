//! The bytes of the log's few single records.
//!
//! ```text
//! key          value: an envelope of version 1 around, in postcard
//! "format"     u32        the layout of this environment
//! "log"        LogRecord  everything else there is to know of the log, in one record: so one that
//!                         cannot be found is damage, and never taken for one that was not written
//! ```
//!
//! The vote is not here: see `vote`.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::StorageError;
use super::super::envelope::{self, EnvelopeError};
use super::journal::JournalPosition;
use crate::types::LogId;

/// The newest layout of the environment this release reads, and the one it writes.
pub(super) const LOG_FORMAT_VERSION: u32 = 2;

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

/// What the tables say of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct LogRecord {
    /// The last entry in the tables; the purged one when there is none after it.
    pub(super) last: Option<LogId>,
    /// The last entry that is gone; those up to it are not read.
    pub(super) purged: Option<LogId>,
    /// An entry known to be committed; may be older than the newest such.
    pub(super) committed: Option<LogId>,
    /// Where the journal stands; none when there is none.
    pub(super) journal: Option<JournalRecord>,
    /// What was acknowledged and lost, until it was made good.
    pub(super) lost: Option<LostRecord>,
}

/// Where the journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct JournalRecord {
    /// What each of its blocks carries.
    pub(super) salt: u64,
    /// Bytes of each of its segments.
    pub(super) segment_bytes: u64,
    /// The last record whose writes are in the tables.
    pub(super) sequence: u64,
    /// Where the record after it goes, or at the other segment's beginning if it does not fit.
    pub(super) position: JournalPosition,
    /// Whether there is no record after it: the log was closed in order.
    pub(super) closed: bool,
}

/// Entries that were acknowledged and are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LostRecord {
    /// No entry after this one was acknowledged; none when nothing tells.
    pub last: Option<LogId>,
}

impl LostRecord {
    /// Both losses in one.
    pub(super) fn and(self, earlier: Option<Self>) -> Self {
        let last = |earlier: Self| Some(self.last?.max(earlier.last?));
        Self { last: earlier.map_or(self.last, last) }
    }
}

impl Record for FormatRecord {
    const KEY: &'static str = "format";
    const NAME: &'static str = "the format record";
}

impl Record for LogRecord {
    const KEY: &'static str = "log";
    const NAME: &'static str = "the log record";
}

/// A log id as it lies in the journal.
pub(super) fn encode_log_id(log_id: LogId) -> Vec<u8> {
    envelope::seal(RECORD_VERSION, &log_id)
}

/// Reads a log id back.
pub(super) fn decode_log_id(bytes: &[u8]) -> Result<LogId, EnvelopeError> {
    envelope::unseal(RECORD_VERSION, bytes)
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

    const RECORD: LogRecord = LogRecord {
        last: Some(LOG_ID),
        purged: None,
        committed: Some(LogId { term: 2, index: 9 }),
        journal: Some(JournalRecord {
            salt: 300,
            segment_bytes: 8192,
            sequence: 7,
            position: JournalPosition { segment: 1, block: 5 },
            closed: false,
        }),
        lost: Some(LostRecord { last: None }),
    };

    #[test]
    fn the_bodies_of_records_are_pinned() {
        assert_eq!(encode(&FormatRecord(1))[5..], [1]);
        assert_eq!(
            encode(&RECORD)[5..],
            [1, 3, 0xAC, 2, 0, 1, 2, 9, 1, 0xAC, 2, 0x80, 64, 7, 1, 5, 0, 1, 0]
        );
        assert_eq!(encode_log_id(LOG_ID)[5..], [3, 0xAC, 2]);
    }

    #[test]
    fn every_record_survives_the_way_there_and_back() {
        let path = Path::new("/d/log");
        assert_eq!(decode::<LogRecord>(path, &encode(&RECORD)).unwrap(), RECORD);
        assert_eq!(decode_log_id(&encode_log_id(LOG_ID)), Ok(LOG_ID));
    }

    #[test]
    fn a_flipped_bit_names_the_record() {
        let mut bytes = encode(&RECORD);
        bytes[5] ^= 8;
        let message = decode::<LogRecord>(Path::new("/d/log"), &bytes).unwrap_err().to_string();
        assert!(message.starts_with("the log record in /d/log is corrupt"), "{message}");
    }

    #[test]
    fn of_two_losses_the_one_that_nothing_tells_of_counts() {
        let known = |index| LostRecord { last: Some(LogId { term: 3, index }) };
        assert_eq!(known(5).and(None), known(5));
        assert_eq!(known(5).and(Some(known(9))), known(9));
        assert_eq!(known(5).and(Some(LostRecord { last: None })), LostRecord { last: None });
        assert_eq!(LostRecord { last: None }.and(Some(known(5))), LostRecord { last: None });
    }
}
