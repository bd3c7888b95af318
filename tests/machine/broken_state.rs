//! A state that cannot be read gives no answer at all, wherever the reading breaks.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use chainfire::machine::{
    Forgotten, KeptSignature, Session, SessionTotals, SignatureTotals, StateView, VersionVisitor,
    Visits, apply, range, read_txn,
};
use chainfire::types::{
    AccessTables, ClientId, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange,
    Operation, Principal, PutRequest, RangeRequest, Revision, Roster, SignatureKey, SortOrder,
    SortTarget, StagedDelete, TxnOperation, TxnRequest, VersionMeta,
};

use crate::store_of;
use crate::support::memory_view::MemoryView;
use crate::support::requests::{all_of, command, compare, put_request, sorted, txn_range};

/// A view whose reads all fail from one on.
struct BreakingView<'a> {
    inner: &'a MemoryView,
    reads_left: Cell<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Broken;

impl BreakingView<'_> {
    fn read(&self) -> Result<(), Broken> {
        let left = self.reads_left.get().checked_sub(1).ok_or(Broken)?;
        self.reads_left.set(left);
        Ok(())
    }
}

impl StateView for BreakingView<'_> {
    type Error = Broken;

    fn revision(&self) -> u64 {
        self.inner.revision
    }

    fn compact_revision(&self) -> u64 {
        self.inner.compact_revision
    }

    fn staged_deletes(&self) -> &[StagedDelete] {
        self.inner.staged_deletes()
    }

    fn written(&self, key: &[u8]) -> Result<Option<VersionMeta>, Broken> {
        self.read()?;
        let Ok(found) = self.inner.written(key);
        Ok(found)
    }

    /// Breaks between keys as well.
    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
        visits: &Visits<'_>,
        visit: &mut VersionVisitor<'_>,
    ) -> Result<(), Broken> {
        self.read()?;
        let mut outcome = Ok(());
        let Ok(()) = self.inner.scan(range, at, visits, &mut |key, meta| {
            outcome = self.read();
            if outcome.is_err() { ControlFlow::Break(()) } else { visit(key, meta) }
        });
        outcome
    }

    fn value(&self, revision: Revision) -> Result<Bytes, Broken> {
        self.read()?;
        let Ok(value) = self.inner.value(revision);
        Ok(value)
    }

    fn session(&self, client: ClientId) -> Result<Option<Session>, Broken> {
        self.read()?;
        let Ok(session) = self.inner.session(client);
        Ok(session)
    }

    fn session_totals(&self, user: &Principal) -> SessionTotals {
        self.inner.session_totals(user)
    }

    fn overdue_sessions(
        &self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ClientId, u64)>, Broken> {
        self.read()?;
        let Ok(overdue) = self.inner.overdue_sessions(user, before_ms, limit);
        Ok(overdue)
    }

    fn signature(&self, key: &SignatureKey) -> Result<Option<KeptSignature>, Broken> {
        self.read()?;
        let Ok(kept) = self.inner.signature(key);
        Ok(kept)
    }

    fn signature_totals(&self, user: &Principal) -> SignatureTotals {
        self.inner.signature_totals(user)
    }

    fn oldest_signatures(&self, limit: usize) -> Result<Vec<(SignatureKey, u64)>, Broken> {
        self.read()?;
        let Ok(oldest) = self.inner.oldest_signatures(limit);
        Ok(oldest)
    }

    fn forgotten(&self) -> Forgotten {
        self.inner.forgotten()
    }

    fn leader_time_ms(&self) -> u64 {
        self.inner.leader_time_ms()
    }

    fn roster(&self) -> Arc<Roster> {
        self.inner.roster()
    }

    fn access(&self) -> Arc<AccessTables> {
        self.inner.access()
    }
}

/// Evaluates with 0 reads that succeed, then 1, and so on until all do; answers how many that is.
fn reads_of<T>(
    store: &MemoryView,
    evaluate: impl Fn(&BreakingView<'_>) -> Result<T, Broken>,
) -> usize {
    (0..1_000)
        .find(|reads| {
            let view = BreakingView { inner: store, reads_left: Cell::new(*reads) };
            evaluate(&view).is_ok()
        })
        .expect("a thousand reads are enough")
}

#[test]
fn a_read_that_breaks_anywhere_is_an_error_of_the_state() {
    let store = store_of(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let by_key = RangeRequest::new(KeyRange::all());
    let by_value = sorted(KeyRange::all(), SortTarget::Value, SortOrder::Descending);
    let by_version = sorted(KeyRange::all(), SortTarget::Version, SortOrder::Ascending);
    let count = RangeRequest { count_only: true, ..by_key.clone() };
    let one = RangeRequest::new(KeyRange::single("a"));
    for (request, expected) in [(by_key, 7), (by_value, 7), (by_version, 7), (count, 4), (one, 2)] {
        let reads = reads_of(&store, |view| range(view, &request));
        assert_eq!(reads, expected, "{request:?}");
    }
    let value =
        compare(KeyRange::all(), CompareTarget::Value("0".into()), CompareOperator::Greater);
    let request = TxnRequest { compares: vec![value], ..all_of(vec![txn_range(KeyRange::all())]) };
    assert_eq!(reads_of(&store, |view| read_txn(view, &request)), 14);
}

#[test]
fn a_command_whose_state_breaks_anywhere_has_no_outcome() {
    let store = store_of(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let put = PutRequest { prev_kv: true, ..put_request("a", "2") };
    let delete = DeleteRangeRequest { range: KeyRange::between("b", "d"), prev_kv: true };
    // Every command looks at its session and at the oldest one. A put reads its key once.
    let plain = Operation::Put(put_request("a", "2"));
    assert_eq!(reads_of(&store, |view| apply(view, &command(1, 1, 1, 0, plain.clone()))), 3);
    let operations = vec![
        TxnOperation::Put(put),
        txn_range(KeyRange::all()),
        TxnOperation::DeleteRange(delete),
        txn_range(KeyRange::all()),
    ];
    let write = command(1, 1, 1, 0, Operation::Txn(all_of(operations)));
    // A scan of n keys is n + 1 reads. Session 2, put 2, range 4 with 2 values that the put did not
    // write, delete 3 with 2 values, range 4 with no value but the put's.
    assert_eq!(reads_of(&store, |view| apply(view, &write)), 2 + 2 + 6 + 5 + 4);
}
