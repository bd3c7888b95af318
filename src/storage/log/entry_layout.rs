//! The bytes of one log entry.
//!
//! ```text
//! key    index: u64 big-endian, so that LMDB's byte order is the log's order
//! value  an envelope of version 1 around a `LogEntry` in postcard
//! ```
//!
//! The entry repeats its index inside the checksum: an entry under another's key is detected like
//! one with a flipped bit.

use std::path::Path;

use super::super::StorageError;
use super::super::envelope::{self, EnvelopeError};
use crate::consensus::{RaftEntry, entry_from_openraft, entry_to_openraft};
use crate::types::LogEntry;

/// The newest version of an entry this release reads, and the one it writes.
const ENTRY_VERSION: u8 = 1;

/// Why bytes are not the entry they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    /// The envelope does not open.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is another entry.
    #[error("it holds entry {found}")]
    Misplaced {
        /// The index inside.
        found: u64,
    },
    /// Its membership names a voter without an address.
    #[error("its membership is inconsistent")]
    Membership,
}

/// Writes `entry`'s bytes into `buffer`, in place of what was there.
pub(super) fn encode(entry: &RaftEntry, buffer: &mut Vec<u8>) {
    buffer.clear();
    envelope::seal_into(buffer, ENTRY_VERSION, &entry_from_openraft(entry));
}

/// Reads the entry `index` back.
pub(super) fn decode(index: u64, bytes: &[u8]) -> Result<RaftEntry, EntryError> {
    let entry = decode_any(bytes)?;
    match entry.log_id.index {
        found if found == index => Ok(entry),
        found => Err(EntryError::Misplaced { found }),
    }
}

/// Reads an entry back, whichever it is.
pub(super) fn decode_any(bytes: &[u8]) -> Result<RaftEntry, EntryError> {
    let entry: LogEntry = envelope::unseal(ENTRY_VERSION, bytes)?;
    entry_to_openraft(entry).ok_or(EntryError::Membership)
}

/// How an operator hears of it.
pub(super) fn storage_error(index: u64, path: &Path, error: EntryError) -> StorageError {
    match error {
        EntryError::Envelope(error @ EnvelopeError::NewerVersion { .. }) => {
            StorageError::envelope("a log entry", path, &error)
        }
        error => {
            StorageError::CorruptEntry { index, path: path.to_owned(), reason: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::types::{LogEntryPayload, LogId, MembershipConfig, PeerAddress};

    fn raft_entry(term: u64, index: u64, payload: LogEntryPayload) -> RaftEntry {
        entry_to_openraft(LogEntry { log_id: LogId { term, index }, payload }).unwrap()
    }

    fn encoded(entry: &RaftEntry) -> Vec<u8> {
        let mut buffer = b"what was there".to_vec();
        encode(entry, &mut buffer);
        buffer
    }

    fn membership(nodes: BTreeSet<u64>) -> MembershipConfig {
        let address =
            |id: &u64| PeerAddress { name: format!("n{id}"), peer_addr: format!("h:{id}") };
        MembershipConfig {
            nodes: nodes.iter().map(|id| (*id, address(id))).collect::<BTreeMap<_, _>>(),
            voter_sets: vec![nodes],
        }
    }

    prop_compose! {
        fn any_entry()(
            term in any::<u64>(),
            index in any::<u64>(),
            payload in prop_oneof![
                Just(LogEntryPayload::Blank),
                any::<Vec<u8>>().prop_map(|bytes| LogEntryPayload::Command(bytes.into())),
                prop::collection::btree_set(any::<u64>(), 1..5)
                    .prop_map(|nodes| LogEntryPayload::Membership(membership(nodes))),
            ],
        ) -> RaftEntry {
            raft_entry(term, index, payload)
        }
    }

    #[test]
    fn the_bytes_of_entries_are_pinned() {
        let command = LogEntryPayload::Command(Bytes::from_static(b"cmd"));
        let cases = [
            (raft_entry(1, 0, LogEntryPayload::Blank), &[1, 0, 0][..]),
            (raft_entry(300, 256, command), &[0xAC, 2, 0x80, 2, 1, 3, b'c', b'm', b'd'][..]),
            (
                raft_entry(2, 1, LogEntryPayload::Membership(membership(BTreeSet::from([7])))),
                &[2, 1, 2, 1, 1, 7, 1, 7, 2, b'n', b'7', 3, b'h', b':', b'7'][..],
            ),
        ];
        for (entry, body) in cases {
            let bytes = encoded(&entry);
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&[1]);
            hasher.update(body);
            assert_eq!(bytes[0], 1, "{entry}");
            assert_eq!(bytes[1..5], hasher.finalize().to_le_bytes(), "{entry}");
            assert_eq!(&bytes[5..], body, "{entry}");
        }
    }

    #[test]
    fn an_entry_of_a_newer_release_names_both_versions() {
        let bytes = envelope::seal(2, "from the future");
        let error = decode(9, &bytes).unwrap_err();
        let message = storage_error(9, Path::new("/d/log"), error).to_string();
        assert!(
            message.starts_with("a log entry in /d/log has format 2, this release reads up to 1"),
            "{message}"
        );
    }

    #[test]
    fn a_corrupt_entry_is_named_by_its_index() {
        let mut bytes = encoded(&raft_entry(1, 70_000, LogEntryPayload::Blank));
        bytes[6] ^= 1;
        let error = decode(70_000, &bytes).unwrap_err();
        let message = storage_error(70_000, Path::new("/d/log"), error).to_string();
        assert!(
            message.starts_with("log entry 70000 in /d/log is corrupt: its checksum is"),
            "{message}"
        );
    }

    #[test]
    fn an_entry_under_another_key_is_detected() {
        let bytes = encoded(&raft_entry(1, 255, LogEntryPayload::Blank));
        assert_eq!(decode(256, &bytes), Err(EntryError::Misplaced { found: 255 }));
    }

    proptest! {
        #[test]
        fn every_entry_survives_the_way_there_and_back(entry in any_entry()) {
            prop_assert_eq!(decode(entry.log_id.index, &encoded(&entry)), Ok(entry));
        }

        #[test]
        fn every_flipped_bit_is_detected(
            entry in any_entry(), bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encoded(&entry);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let outcome = decode(entry.log_id.index, &bytes);
            let detected =
                matches!(outcome, Err(EntryError::Envelope(EnvelopeError::Checksum { .. })));
            prop_assert!(detected, "{outcome:?}");
        }

        #[test]
        fn every_cut_is_detected(entry in any_entry(), cut in any::<prop::sample::Index>()) {
            let bytes = encoded(&entry);
            let cut = cut.index(bytes.len());
            prop_assert!(decode(entry.log_id.index, &bytes[..cut]).is_err());
        }
    }
}
