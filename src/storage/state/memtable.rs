//! The memory table: changes that are applied and not on the disk yet.
//!
//! Changes gather in an *active* [`Generation`]. The flusher freezes it (a new one becomes
//! active), writes it to LMDB in one transaction, and lets it go after the commit. A generation
//! is shared by everybody who reads it, so a view that began before the flush keeps the changes
//! its older LMDB transaction lacks, for as long as it lives.
//!
//! Invariants:
//! - records are in revision order, within a generation and from one to the next, but for the
//!   tombstones that a staged delete writes in its steps; each key's records are always in order;
//! - a frozen generation never changes;
//! - a reader at main revision R ignores every record above R, so what is being added while it
//!   reads is invisible to it; a tombstone of a staged delete that is added says what the reader
//!   takes for granted.
//!
//! Pure memory: nothing here fails.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::layout::access::{encode_edit, encode_revision};
use super::layout::members::MemberRecord;
use super::layout::signatures::encode_signature;
use super::layout::version::LiveVersion;
use super::session_delta::SessionDelta;
use crate::machine::Change;
use crate::types::{ClientId, NodeId, Revision, Roster, SignatureKey, VersionMeta};

/// What a record costs beside its key and value, in bytes; an estimate that errs upwards.
const RECORD_OVERHEAD_BYTES: usize = 256;

/// The newest version of a key at or below the revision asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VisibleVersion {
    pub(crate) revision: Revision,
    /// None = a tombstone.
    pub(crate) live: Option<LiveVersion>,
}

impl VisibleVersion {
    /// What the machine sees of it; none of a tombstone.
    pub(crate) fn existing(self) -> Option<VersionMeta> {
        self.live.map(|live| live.meta(self.revision))
    }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryRecord {
    pub(crate) key: Bytes,
    pub(crate) version: VisibleVersion,
    /// Empty in a tombstone.
    pub(crate) value: Bytes,
    /// Whether it is a tombstone that a staged delete wrote in its steps, at a revision of the past.
    pub(crate) is_staged: bool,
}

/// What a generation knows of a key for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenKey {
    /// The newest version at or below the revision read; none when there is none here.
    pub(crate) visible: Option<VisibleVersion>,
    /// Whether there is a later one.
    pub(crate) has_later: bool,
}

/// Where a key's records are, ascending.
#[derive(Debug)]
struct KeySlot {
    older: Vec<u32>,
    newest: u32,
}

/// A run of changes between two flushes.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    contents: RwLock<Contents>,
}

/// What is in a generation.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    records: Vec<MemoryRecord>,
    /// The records that are not staged, by place, once there is one that is; else empty, for then it
    /// is all of them.
    in_order: Vec<u32>,
    has_staged: bool,
    keys: BTreeMap<Bytes, KeySlot>,
    sessions: HashMap<ClientId, SessionDelta>,
    members: BTreeMap<NodeId, MemberRecord>,
    /// Records of the `access` table by key; no value = the record goes.
    access: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Records of the `signatures` table by key; no value = the record goes.
    signatures: BTreeMap<SignatureKey, Option<Vec<u8>>>,
    roster: Option<Arc<Roster>>,
    changes: usize,
}

impl Generation {
    /// Held for one operation at a time: a writer waits for it.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Contents> {
        // A panic while the lock was held left the contents as they were between two pushes.
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the one who applies.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Adds a change; answers the memory it takes, in bytes.
    ///
    /// `SetRevision`, `Compact`, what is refused as forgotten and how far staged deletes are is not kept here: it
    /// belongs to the head of the state.
    pub(crate) fn push(&mut self, change: Change) -> usize {
        self.changes += 1;
        match change {
            Change::SetRevision(_)
            | Change::Compact(_)
            | Change::RefuseBegun { .. }
            | Change::RefuseDated { .. }
            | Change::StageDelete(_)
            | Change::AdvanceDelete { .. }
            | Change::FinishDelete { .. } => 0,
            Change::Put { key, meta, value } => {
                let live = Some(LiveVersion::from(&meta));
                let version = VisibleVersion { revision: meta.mod_revision, live };
                self.push_record(MemoryRecord { key, version, value, is_staged: false })
            }
            Change::Delete { key, revision } => self.push_tombstone(key, revision, false),
            Change::WriteTombstone { key, revision } => self.push_tombstone(key, revision, true),
            Change::RecordAnswer { client, recorded } => {
                self.sessions.entry(client).or_default().record(recorded)
            }
            Change::RecordSignature { key, kept } => {
                let value = encode_signature(&kept);
                let bytes = value.len() + RECORD_OVERHEAD_BYTES;
                self.signatures.insert(key, Some(value));
                bytes
            }
            Change::ForgetSignature(key) => {
                self.signatures.insert(key, None);
                RECORD_OVERHEAD_BYTES
            }
            Change::ExpireSession(client) => {
                self.sessions.entry(client).or_default().expire();
                RECORD_OVERHEAD_BYTES
            }
            Change::SetMember { node_id, address, client_addr } => {
                self.members.insert(node_id, MemberRecord { address, client_addr });
                RECORD_OVERHEAD_BYTES
            }
            Change::SetAccess { revision, edits } => {
                let records = edits.iter().map(encode_edit).chain([encode_revision(revision)]);
                let mut bytes = 0;
                for (key, value) in records {
                    bytes += key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_BYTES;
                    self.access.insert(key, value);
                }
                bytes
            }
            Change::SetRoster(roster) => {
                self.roster = Some(roster);
                RECORD_OVERHEAD_BYTES
            }
        }
    }

    fn push_tombstone(&mut self, key: Bytes, revision: Revision, is_staged: bool) -> usize {
        let version = VisibleVersion { revision, live: None };
        self.push_record(MemoryRecord { key, version, value: Bytes::new(), is_staged })
    }

    fn push_record(&mut self, record: MemoryRecord) -> usize {
        if record.is_staged && !self.has_staged {
            let places = 0..self.records.len();
            self.in_order = places.map(|place| u32::try_from(place).unwrap_or(u32::MAX)).collect();
            self.has_staged = true;
        }
        let bytes = record.key.len() + record.value.len() + RECORD_OVERHEAD_BYTES;
        let index = u32::try_from(self.records.len()).expect("a generation's bytes are bounded");
        if self.has_staged && !record.is_staged {
            self.in_order.push(index);
        }
        match self.keys.get_mut(&record.key) {
            Some(slot) => {
                slot.older.push(slot.newest);
                slot.newest = index;
            }
            None => {
                let slot = KeySlot { older: Vec::new(), newest: index };
                self.keys.insert(record.key.clone(), slot);
            }
        }
        self.records.push(record);
        bytes
    }

    /// Every version, in the order in which they were pushed: each key's in revision order.
    pub(crate) fn records(&self) -> &[MemoryRecord] {
        &self.records
    }

    /// The net change of every client touched.
    pub(crate) fn sessions(&self) -> &HashMap<ClientId, SessionDelta> {
        &self.sessions
    }

    /// The members that were set.
    pub(crate) fn members(&self) -> &BTreeMap<NodeId, MemberRecord> {
        &self.members
    }

    /// The records of the `access` table that changed, by key; no value = the record goes.
    pub(crate) fn access(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.access
    }

    /// The records of the `signatures` table that changed; no value = the record goes.
    pub(crate) fn signatures(&self) -> &BTreeMap<SignatureKey, Option<Vec<u8>>> {
        &self.signatures
    }

    /// What the cluster remembers of its nodes, if that was set.
    pub(crate) fn roster(&self) -> Option<&Roster> {
        self.roster.as_deref()
    }

    /// How many changes were pushed.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// The newest version of `key` at or below main revision `at`, if this generation has one.
    pub(crate) fn version_at(&self, key: &[u8], at: u64) -> Option<VisibleVersion> {
        self.slot_at(self.keys.get(key)?, at)
    }

    fn slot_at(&self, slot: &KeySlot, at: u64) -> Option<VisibleVersion> {
        let version = |index: u32| self.records[index as usize].version;
        let newest = version(slot.newest);
        if newest.revision.main <= at {
            return Some(newest);
        }
        let visible = slot.older.partition_point(|index| version(*index).revision.main <= at);
        visible.checked_sub(1).map(|last| version(slot.older[last]))
    }

    /// The value of the change `revision`, if it is in this generation.
    pub(crate) fn value(&self, revision: Revision) -> Option<&Bytes> {
        if self.records.first()?.version.revision > revision {
            return None;
        }
        let revision_of = |record: &MemoryRecord| record.version.revision;
        let index = if self.has_staged {
            let of = |place: &u32| revision_of(&self.records[*place as usize]);
            self.in_order[self.in_order.binary_search_by_key(&revision, of).ok()?] as usize
        } else {
            self.records.binary_search_by_key(&revision, revision_of).ok()?
        };
        Some(&self.records[index].value)
    }

    /// Collects up to `limit` keys from `bounds`, ascending, each with what is known of it for a read
    /// at `at`. Answers whether the bounds are exhausted.
    pub(crate) fn collect(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        at: u64,
        limit: usize,
        into: &mut VecDeque<(Bytes, SeenKey)>,
    ) -> bool {
        for (key, slot) in self.keys.range::<[u8], _>(bounds) {
            if into.len() == limit {
                return false;
            }
            let newest = self.records[slot.newest as usize].version.revision;
            let visible = self.slot_at(slot, at);
            into.push_back((key.clone(), SeenKey { visible, has_later: newest.main > at }));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(key: &str, main: u64, sub: u32) -> Change {
        let mod_revision = Revision::new(main, sub);
        let meta = VersionMeta { create_revision: main, mod_revision, version: 1, lease: 0 };
        let value = format!("{key}@{main}");
        Change::Put { key: Bytes::copy_from_slice(key.as_bytes()), meta, value: value.into() }
    }

    fn delete(key: &str, main: u64, sub: u32) -> Change {
        Change::Delete {
            key: Bytes::copy_from_slice(key.as_bytes()),
            revision: Revision::new(main, sub),
        }
    }

    fn all(contents: &Contents, at: u64, limit: usize) -> (Vec<(Bytes, VisibleVersion)>, bool) {
        let mut found = VecDeque::new();
        let done = contents.collect((Bound::Unbounded, Bound::Unbounded), at, limit, &mut found);
        let visible =
            found.into_iter().filter_map(|(key, seen)| seen.visible.map(|version| (key, version)));
        (visible.collect(), done)
    }

    #[test]
    fn collecting_stops_at_the_limit_and_says_whether_more_is_there() {
        let mut contents = Contents::default();
        for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
            contents.push(put(key, 2 + index as u64, 0));
        }
        assert!(!all(&contents, 9, 2).1);
        assert!(all(&contents, 9, 3).1);
        let mut found = VecDeque::new();
        contents.collect((Bound::Unbounded, Bound::Unbounded), 3, 9, &mut found);
        let later: Vec<_> = found.iter().map(|(_, seen)| seen.has_later).collect();
        assert_eq!(later, [false, false, true], "what is above the revision is told, not shown");
    }

    #[test]
    fn a_tombstone_of_the_past_hides_no_value_and_keeps_its_keys_order() {
        let mut contents = Contents::default();
        contents.push(put("a", 2, 0));
        contents.push(put("b", 4, 0));
        for (key, sub) in [("a", 0), ("z", 1)] {
            let (key, revision) = (Bytes::copy_from_slice(key.as_bytes()), Revision::new(3, sub));
            contents.push(Change::WriteTombstone { key, revision });
        }
        contents.push(put("a", 5, 0));
        for main in [2, 4, 5] {
            assert!(contents.value(Revision::new(main, 0)).is_some(), "{main}");
        }
        let seen = |at| contents.version_at(b"a", at).map(|version| version.live.is_some());
        assert_eq!([2, 3, 4, 5].map(seen), [Some(true), Some(false), Some(false), Some(true)]);
    }

    proptest! {
        /// Against a list of changes searched from its end.
        #[test]
        fn reads_agree_with_a_naive_model(
            changes in prop::collection::vec((0..6u8, any::<bool>(), 0..3u64), 1..120),
            at in 0..160u64,
        ) {
            let mut contents = Contents::default();
            let mut model: Vec<(String, Revision, bool)> = Vec::new();
            let (mut main, mut sub) = (1, 0);
            for (key, is_delete, gap) in changes {
                let key = format!("key{key}");
                (main, sub) = if gap == 0 { (main, sub + 1) } else { (main + gap, 0) };
                let change =
                    if is_delete { delete(&key, main, sub) } else { put(&key, main, sub) };
                contents.push(change);
                model.push((key, Revision::new(main, sub), is_delete));
            }
            let mut expected: BTreeMap<&String, (Revision, bool)> = BTreeMap::new();
            for (key, revision, is_delete) in &model {
                if revision.main <= at {
                    expected.insert(key, (*revision, *is_delete));
                }
            }
            let (found, done) = all(&contents, at, usize::MAX);
            prop_assert!(done);
            prop_assert_eq!(found.len(), expected.len());
            for ((key, version), (model_key, (revision, is_delete))) in
                found.iter().zip(&expected)
            {
                prop_assert_eq!(&key[..], model_key.as_bytes());
                prop_assert_eq!(version.revision, *revision);
                prop_assert_eq!(version.live.is_none(), *is_delete);
                prop_assert_eq!(contents.version_at(key, at), Some(*version));
            }
            for (key, revision, is_delete) in &model {
                let value = contents.value(*revision).expect("every record has a value");
                let expected =
                    if *is_delete { String::new() } else { format!("{key}@{}", revision.main) };
                prop_assert_eq!(&value[..], expected.as_bytes());
            }
            prop_assert_eq!(contents.value(Revision::new(0, 0)), None);
            prop_assert_eq!(contents.value(Revision::new(main, sub + 1)), None);
        }
    }
}
