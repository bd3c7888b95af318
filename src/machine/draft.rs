//! The writes of one command, before they are changes.
//!
//! A draft lies over the state and reads as if its writes were made: that is how a range inside a
//! transaction sees the puts before it. Every write of one draft has the same main revision, the
//! next one; its sub-revisions count the writes. A draft that wrote nothing leaves the revision
//! alone. Dropping a draft undoes it, so a transaction refused half-way has changed nothing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::types::staged_delete::covering;
use crate::types::{
    AccessTables, ClientId, KeyRange, Principal, Revision, Roster, SignatureKey, StagedDelete,
    VersionMeta,
};

use super::{
    Change, Forgotten, KeptSignature, Session, SessionTotals, SignatureTotals, StateView,
    VersionVisitor, Visits,
};

/// The state with the writes of one command on top.
pub(super) struct Draft<'a, V> {
    base: &'a V,
    /// Puts and deletes; the position of each is its sub-revision.
    writes: Vec<Change>,
    /// The newest write of each key.
    newest: BTreeMap<Bytes, usize>,
    /// Tombstones of staged deletes that had to be written before puts of the same keys.
    tombstones: Vec<Change>,
}

impl<'a, V: StateView> Draft<'a, V> {
    /// A draft without a write.
    pub(super) fn new(base: &'a V) -> Self {
        Self { base, writes: Vec::new(), newest: BTreeMap::new(), tombstones: Vec::new() }
    }

    /// The state below, without the writes of this draft.
    pub(super) fn base(&self) -> &'a V {
        self.base
    }

    /// The revision of the next write.
    pub(super) fn next_revision(&self) -> Revision {
        let sub = u32::try_from(self.writes.len())
            .expect("a command changes fewer than 2^32 keys: they would not fit in memory");
        Revision::new(self.base.revision() + 1, sub)
    }

    /// Puts a pair; `meta.mod_revision` is [`next_revision`](Self::next_revision).
    pub(super) fn put(&mut self, key: Bytes, meta: VersionMeta, value: Bytes) {
        debug_assert_eq!(meta.mod_revision, self.next_revision());
        self.newest.insert(key.clone(), self.writes.len());
        self.writes.push(Change::Put { key, meta, value });
    }

    /// Deletes a key, which exists.
    pub(super) fn delete(&mut self, key: Bytes) {
        let revision = self.next_revision();
        self.newest.insert(key.clone(), self.writes.len());
        self.writes.push(Change::Delete { key, revision });
    }

    /// Writes the tombstone that a staged delete owes a key which is about to be put: afterwards the
    /// key's versions are in order, and tell that it did not exist in between.
    pub(super) fn write_tombstone_due(&mut self, key: &Bytes) -> Result<(), V::Error> {
        let deletes = self.base.staged_deletes();
        if deletes.is_empty() || self.newest.contains_key(key) {
            return Ok(());
        }
        let Some(written) = self.base.written(key)? else { return Ok(()) };
        let (main, at) = (written.mod_revision.main, self.base.revision());
        let Some(delete) = covering(deletes, key, main, at) else { return Ok(()) };
        let sub = delete.next_sub + self.tombstones_at(delete.revision);
        let revision = Revision::new(delete.revision, sub);
        self.tombstones.push(Change::WriteTombstone { key: key.clone(), revision });
        Ok(())
    }

    /// How many tombstones this draft has written at a main revision.
    fn tombstones_at(&self, main: u64) -> u32 {
        let of_it = |change: &&Change| matches!(change, Change::WriteTombstone { revision, .. } if revision.main == main);
        let count = self.tombstones.iter().filter(of_it).count();
        u32::try_from(count).expect("a command has a few thousand operations at most")
    }

    /// What this draft changes: the new revision and the writes, or nothing.
    pub(super) fn into_changes(self) -> Vec<Change> {
        if self.writes.is_empty() {
            return Vec::new();
        }
        let revision = self.revision();
        let mut changes = self.tombstones;
        changes.reserve_exact(self.writes.len() + 2);
        changes.push(Change::SetRevision(revision));
        changes.extend(self.writes);
        changes
    }

    /// The version that write number `index` made; none if it deleted the key.
    fn put_of(&self, index: usize) -> Option<&VersionMeta> {
        match &self.writes[index] {
            Change::Put { meta, .. } => Some(meta),
            _ => None,
        }
    }
}

/// The state as the draft's later operations see it. Sessions are those of the state below.
impl<V: StateView> StateView for Draft<'_, V> {
    type Error = V::Error;

    fn revision(&self) -> u64 {
        self.base.revision() + u64::from(!self.writes.is_empty())
    }

    fn compact_revision(&self) -> u64 {
        self.base.compact_revision()
    }

    fn staged_deletes(&self) -> &[StagedDelete] {
        self.base.staged_deletes()
    }

    fn written(&self, key: &[u8]) -> Result<Option<VersionMeta>, Self::Error> {
        match self.newest.get(key) {
            Some(index) => Ok(self.put_of(*index).copied()),
            None => self.base.written(key),
        }
    }

    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
        visits: &Visits<'_>,
        visit: &mut VersionVisitor<'_>,
    ) -> Result<(), Self::Error> {
        if self.writes.is_empty() || at <= self.base.revision() {
            return self.base.scan(range, at, visits, visit);
        }
        let mut written = self.newest.range::<[u8], _>(range.bounds()).peekable();
        let mut flow = ControlFlow::Continue(());
        self.base.scan(range, self.base.revision(), visits, &mut |key, meta| {
            flow = (|| {
                while let Some((earlier, index)) = written.next_if(|(next, _)| next[..] < *key) {
                    self.visit_written(earlier, *index, visit)?;
                }
                match written.next_if(|(next, _)| next[..] == *key) {
                    Some((key, index)) => self.visit_written(key, *index, visit),
                    None => visit(key, meta),
                }
            })();
            flow
        })?;
        if flow.is_continue() {
            for (key, index) in written {
                if self.visit_written(key, *index, visit).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn value(&self, revision: Revision) -> Result<Bytes, Self::Error> {
        if revision.main <= self.base.revision() {
            return self.base.value(revision);
        }
        match &self.writes[revision.sub as usize] {
            Change::Put { value, .. } => Ok(value.clone()),
            other => unreachable!("a version of this draft names a put, not {other:?}"),
        }
    }

    fn session(&self, client: ClientId) -> Result<Option<Session>, Self::Error> {
        self.base.session(client)
    }

    fn roster(&self) -> Arc<Roster> {
        self.base.roster()
    }

    fn session_totals(&self, user: &Principal) -> SessionTotals {
        self.base.session_totals(user)
    }

    fn overdue_sessions(
        &self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ClientId, u64)>, Self::Error> {
        self.base.overdue_sessions(user, before_ms, limit)
    }

    fn signature(&self, key: &SignatureKey) -> Result<Option<KeptSignature>, Self::Error> {
        self.base.signature(key)
    }

    fn signature_totals(&self, user: &Principal) -> SignatureTotals {
        self.base.signature_totals(user)
    }

    fn oldest_signatures(&self, limit: usize) -> Result<Vec<(SignatureKey, u64)>, Self::Error> {
        self.base.oldest_signatures(limit)
    }

    fn forgotten(&self) -> Forgotten {
        self.base.forgotten()
    }

    fn leader_time_ms(&self) -> u64 {
        self.base.leader_time_ms()
    }

    fn access(&self) -> Arc<AccessTables> {
        self.base.access()
    }
}

impl<V: StateView> Draft<'_, V> {
    /// Visits a key that this draft wrote, unless it deleted it.
    fn visit_written(
        &self,
        key: &[u8],
        index: usize,
        visit: &mut VersionVisitor<'_>,
    ) -> ControlFlow<()> {
        match self.put_of(index) {
            Some(meta) => visit(key, meta),
            None => ControlFlow::Continue(()),
        }
    }
}
