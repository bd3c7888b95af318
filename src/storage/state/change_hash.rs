//! The rolling hash over the changes that applying the log makes.
//!
//! ```text
//! hash after an entry = SipHash-1-3 of 128 bits, with the hash before it as the key, over
//!   [term: u64][index: u64][replicated time: u64][changes: u64]
//!   for each change [kind: u8][its fields]
//!   and, of an entry that sets the membership, [255][postcard of it]
//! ```
//!
//! Integers are little-endian; keys and values have their length before them, postcard
//! bodies after them.
//!
//! What must stay true: the hash follows from the hash before and the entry's changes alone. When
//! they are flushed, what is compacted on the disk and which history is still in a file does not
//! enter; so members at one applied entry have one hash.

use std::hash::Hasher as _;

use serde::Serialize;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::layout::access::encode_edit;
use crate::machine::{Change, Recorded};
use crate::types::{LogId, MembershipConfig, Revision, StateHash};

/// How many of the last entries' hashes are kept, to be compared with those of other members.
const HASHES_KEPT: usize = 4_096;

/// The kind that stands before a membership.
const MEMBERSHIP: u8 = u8::MAX;

/// Computes hashes, with a buffer to do it in.
#[derive(Debug, Default)]
pub(crate) struct ChangeHasher {
    buffer: Vec<u8>,
}

impl ChangeHasher {
    /// The hash after the entry `log_id`, whose changes led from the state of hash `before` to one
    /// at replicated time `time_ms`.
    pub(crate) fn after(
        &mut self,
        before: StateHash,
        log_id: LogId,
        time_ms: u64,
        changes: &[Change],
        membership: Option<&MembershipConfig>,
    ) -> StateHash {
        let mut hasher = SipHasher13::new_with_key(&before.0);
        let buffer = &mut self.buffer;
        buffer.clear();
        for number in [log_id.term, log_id.index, time_ms] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        put_length(buffer, changes.len());
        for change in changes {
            put_change(buffer, change, &mut hasher);
        }
        if let Some(membership) = membership {
            buffer.push(MEMBERSHIP);
            put_postcard(buffer, membership);
        }
        hasher.write(buffer);
        let hash = hasher.finish128();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&hash.h1.to_le_bytes());
        bytes[8..].copy_from_slice(&hash.h2.to_le_bytes());
        StateHash(bytes)
    }
}

/// Adds a change to `buffer`; what is long goes to the hasher, after what the buffer holds.
fn put_change(buffer: &mut Vec<u8>, change: &Change, hasher: &mut SipHasher13) {
    match change {
        Change::SetRevision(revision) => put_numbers(buffer, 0, &[*revision]),
        Change::Put { key, meta, value } => {
            let Revision { main, sub } = meta.mod_revision;
            let lease = meta.lease.cast_unsigned();
            let numbers = [main, sub.into(), meta.create_revision, meta.version, lease];
            put_numbers(buffer, 1, &numbers);
            put_bytes(buffer, key);
            put_length(buffer, value.len());
            hasher.write(buffer);
            buffer.clear();
            hasher.write(value);
        }
        Change::Delete { key, revision } => {
            put_numbers(buffer, 2, &[revision.main, revision.sub.into()]);
            put_bytes(buffer, key);
        }
        Change::Compact(revision) => put_numbers(buffer, 3, &[*revision]),
        Change::RecordAnswer { client, recorded } => {
            let Recorded { begins, sequence, lowest_unanswered, now_ms, window_ms, answer } =
                recorded;
            put_numbers(buffer, 4, &[*sequence, *lowest_unanswered, *now_ms, *window_ms]);
            buffer.extend_from_slice(&client.0.to_le_bytes());
            put_postcard(buffer, &(begins, answer));
        }
        Change::RefuseBegun { before_ms } => put_numbers(buffer, 13, &[*before_ms]),
        Change::RefuseDated { through_seconds } => put_numbers(buffer, 14, &[*through_seconds]),
        Change::RecordSignature { key, kept } => {
            buffer.push(15);
            put_postcard(buffer, &(key, kept));
        }
        Change::ForgetSignature(key) => {
            buffer.push(16);
            put_postcard(buffer, key);
        }
        Change::ExpireSession(client) => {
            buffer.push(5);
            buffer.extend_from_slice(&client.0.to_le_bytes());
        }
        Change::SetMember { node_id, address, client_addr } => {
            put_numbers(buffer, 6, &[*node_id]);
            put_postcard(buffer, &(address, client_addr));
        }
        Change::SetAccess { revision, edits } => {
            put_numbers(buffer, 7, &[*revision]);
            put_length(buffer, edits.len());
            for (key, value) in edits.iter().map(encode_edit) {
                put_postcard(buffer, &(key, value));
            }
        }
        Change::SetRoster(roster) => {
            buffer.push(8);
            put_postcard(buffer, &**roster);
        }
        Change::StageDelete(staged) => {
            buffer.push(9);
            put_postcard(buffer, staged);
        }
        Change::WriteTombstone { key, revision } => {
            put_numbers(buffer, 10, &[revision.main, revision.sub.into()]);
            put_bytes(buffer, key);
        }
        Change::AdvanceDelete { revision, cursor, deleted } => {
            put_numbers(buffer, 11, &[*revision, *deleted]);
            put_bytes(buffer, cursor);
        }
        Change::FinishDelete { revision, deleted } => {
            put_numbers(buffer, 12, &[*revision, *deleted]);
        }
    }
}

fn put_numbers(buffer: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    buffer.push(kind);
    for number in numbers {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_length(buffer: &mut Vec<u8>, length: usize) {
    buffer.extend_from_slice(&(length as u64).to_le_bytes());
}

fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    put_length(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// With its length after it, which tells as well where it ends.
fn put_postcard<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    let start = buffer.len();
    *buffer = postcard::to_extend(value, std::mem::take(buffer))
        .expect("a vector takes every byte and no field refuses to be serialised");
    let length = buffer.len() - start;
    put_length(buffer, length);
}

/// The hashes after the last entries applied.
#[derive(Debug, Default)]
pub(crate) struct RecentHashes {
    /// By index modulo [`HASHES_KEPT`]; grows up to that.
    hashes: Vec<(u64, StateHash)>,
}

impl RecentHashes {
    /// The hash after the entry `index`, in place of the one of an entry long before.
    pub(crate) fn push(&mut self, index: u64, hash: StateHash) {
        let slot = Self::slot(index);
        if self.hashes.len() <= slot {
            // An index that no entry has: a slot that is not filled is nobody's.
            self.hashes.resize(HASHES_KEPT, (u64::MAX, StateHash::EMPTY));
        }
        self.hashes[slot] = (index, hash);
    }

    /// The hash after the entry `index`, if it is still known.
    pub(crate) fn get(&self, index: u64) -> Option<StateHash> {
        let (found, hash) = self.hashes.get(Self::slot(index))?;
        (*found == index).then_some(*hash)
    }

    fn slot(index: u64) -> usize {
        (index % HASHES_KEPT as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::machine::{KeptAnswer, KeptSignature};
    use crate::types::{
        Answer, ClientId, PeerAddress, Principal, PutAnswer, Roster, SignatureKey, VersionMeta,
    };

    const LOG_ID: LogId = LogId { term: 2, index: 9 };

    fn after(changes: &[Change]) -> StateHash {
        ChangeHasher::default().after(StateHash::EMPTY, LOG_ID, 5, changes, None)
    }

    fn put(key: &'static str, value: &'static str) -> Change {
        let mod_revision = Revision::new(3, 0);
        let meta = VersionMeta { create_revision: 2, mod_revision, version: 2, lease: 0 };
        Change::Put { key: Bytes::from(key), meta, value: Bytes::from(value) }
    }

    /// One of each kind.
    fn changes() -> Vec<Change> {
        let address = PeerAddress { name: "n".into(), peer_addr: "p".into() };
        vec![
            Change::SetRevision(3),
            put("k", "v"),
            Change::Delete { key: Bytes::from("k"), revision: Revision::new(3, 1) },
            Change::Compact(2),
            Change::RecordAnswer {
                client: ClientId(4),
                recorded: Recorded {
                    begins: Some(Principal("ann".into())),
                    sequence: 1,
                    lowest_unanswered: 1,
                    now_ms: 5,
                    window_ms: 6,
                    answer: KeptAnswer {
                        fingerprint: 7,
                        answer: Ok(Answer::Put(PutAnswer { revision: 3, prev_kv: None })),
                    },
                },
            },
            Change::RefuseBegun { before_ms: 8 },
            Change::RefuseDated { through_seconds: 9 },
            Change::RecordSignature {
                key: SignatureKey { dated_seconds: 9, signature: [7; 32] },
                kept: KeptSignature {
                    owner: Principal("ann".into()),
                    kept_until_ms: 5,
                    answer: Ok(Answer::RegisterMember),
                },
            },
            Change::ForgetSignature(SignatureKey { dated_seconds: 9, signature: [7; 32] }),
            Change::ExpireSession(ClientId(4)),
            Change::SetMember { node_id: 1, address, client_addr: "c".into() },
            Change::SetAccess { revision: 1, edits: Vec::new() },
            Change::SetRoster(Arc::new(Roster::default())),
        ]
    }

    /// A release that hashes otherwise must not be compared with this one: change the layout's
    /// version with it.
    #[test]
    fn the_hash_is_pinned() {
        assert_eq!(after(&changes()).to_string(), "5a57f87d610dd5735d9983942573c1a0");
        let hash = ChangeHasher::default().after(after(&[]), LOG_ID, 5, &[put("k", "v")], None);
        assert_eq!(hash.to_string(), "e2c8feda1337d7b5db096258316d314b");
    }

    #[test]
    fn whatever_differs_makes_another_hash() {
        let base = after(&changes());
        for left_out in 0..changes().len() {
            let mut fewer = changes();
            fewer.remove(left_out);
            assert_ne!(after(&fewer), base, "without change {left_out}");
        }
        assert_ne!(after(&[put("kv", "")]), after(&[put("k", "v")]), "between key and value");
        assert_ne!(after(&[put("k", "w")]), after(&[put("k", "v")]), "the value");
        let mut hasher = ChangeHasher::default();
        let one = hasher.after(StateHash::EMPTY, LOG_ID, 5, &[], None);
        assert_eq!(one, after(&[]), "a buffer that was used leaves nothing behind");
        assert_ne!(hasher.after(one, LOG_ID, 5, &[], None), one, "the hash before");
        assert_ne!(hasher.after(StateHash::EMPTY, LOG_ID, 6, &[], None), one, "the time");
        let next = LogId { index: 10, ..LOG_ID };
        assert_ne!(hasher.after(StateHash::EMPTY, next, 5, &[], None), one, "the entry");
        let (revision, deleted, key) = (Revision::new(2, 0), 1, Bytes::from("k"));
        let staged = [
            Change::WriteTombstone { key: key.clone(), revision },
            Change::Delete { key: key.clone(), revision },
            Change::AdvanceDelete { revision: 2, cursor: key, deleted },
            Change::FinishDelete { revision: 2, deleted },
        ];
        let hashes: std::collections::BTreeSet<_> =
            staged.iter().map(|change| after(std::slice::from_ref(change)).to_string()).collect();
        assert_eq!(hashes.len(), staged.len(), "steps of a delete");
        let membership = MembershipConfig::default();
        let set = hasher.after(StateHash::EMPTY, LOG_ID, 5, &[], Some(&membership));
        assert_ne!(set, one, "a membership");
    }

    #[test]
    fn the_hashes_of_the_last_entries_are_kept_and_no_others() {
        let mut recent = RecentHashes::default();
        assert_eq!(recent.get(0), None);
        let hash = |index: u64| StateHash([index as u8; 16]);
        for index in 5..5 + 2 * HASHES_KEPT as u64 {
            recent.push(index, hash(index));
        }
        let end = 5 + 2 * HASHES_KEPT as u64;
        let first = end - HASHES_KEPT as u64;
        assert_eq!(recent.get(first - 1), None);
        assert_eq!(recent.get(first), Some(hash(first)));
        assert_eq!(recent.get(end - 1), Some(hash(end - 1)));
        assert_eq!(recent.get(end), None);
        assert_eq!(recent.hashes.len(), HASHES_KEPT);
    }
}
