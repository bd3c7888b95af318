//! Nothing outside what is granted can be read or written.
//!
//! Every operation, with every flag that matters, at every place of nested transactions, against
//! many sets of grants:
//!
//! - it is permitted exactly when a naive model, which looks at single keys, permits it;
//! - **non-interference**: a permitted one is answered the same in two stores that differ only in
//!   what the user may not read, and changes nothing that the user may not write;
//! - the state machine, asked by a command that was let in by older rules, decides the same.

use std::collections::BTreeSet;

use bytes::Bytes;
use chainfire::machine::{apply, range, read_txn};
use chainfire::types::access::{Asked, Grants};
use chainfire::types::{
    AccessEdit, AccessKey, AccessTables, Answer, ClientId, Command, Compare, CompareOperator,
    CompareTarget, DeleteRangeRequest, KeyRange, Operation, OperationAnswer, OperationError,
    Permission, PermissionKind, Principal, PutRequest, RangeRequest, RequestId, Role, TxnAnswer,
    TxnOperation, TxnRequest, User,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::support::memory_view::MemoryView;

/// Keys of which one lies in every gap that the ends of ranges below leave.
const UNIVERSE: [&str; 10] = ["B", "a", "a\0", "am", "b", "bm", "c", "cm", "d", "dm"];
/// Where ranges begin and end.
const ENDS: [&str; 5] = ["a", "a\0", "b", "c", "d"];
/// A key that only who may read everything can read: it takes the revision of one that is left out.
const FILLER: &str = "A";
const GRANT_SETS: u64 = 24;
const NESTING_MAX: usize = 3;

fn ranges() -> Vec<KeyRange> {
    let singles = ENDS.iter().map(|key| KeyRange::single(*key));
    let open = ENDS.iter().map(|key| KeyRange::from(*key));
    let pairs = ENDS.iter().enumerate();
    let between = pairs
        .flat_map(|(at, start)| ENDS[at + 1..].iter().map(|end| KeyRange::between(*start, *end)));
    singles.chain(open).chain(between).chain([KeyRange::all()]).collect()
}

/// One place in a transaction.
#[derive(Clone, Debug)]
enum Leaf {
    Compare(Compare),
    Operation(TxnOperation),
}

fn leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for range in ranges() {
        let target = CompareTarget::Value(value_of("a"));
        let operator = CompareOperator::Equal;
        leaves.push(Leaf::Compare(Compare { range: range.clone(), target, operator }));
        for count_only in [false, true] {
            let read = RangeRequest { count_only, ..RangeRequest::new(range.clone()) };
            leaves.push(Leaf::Operation(TxnOperation::Range(read)));
        }
        for prev_kv in [false, true] {
            let delete = DeleteRangeRequest { range: range.clone(), prev_kv };
            leaves.push(Leaf::Operation(TxnOperation::DeleteRange(delete)));
        }
    }
    for key in ENDS {
        let plain = PutRequest { key: key.into(), ..PutRequest::default() };
        let new = PutRequest { value: "new".into(), ..plain.clone() };
        let kept = PutRequest { ignore_value: true, ..plain };
        let answered = PutRequest { prev_kv: true, ..new.clone() };
        let leased = PutRequest { ignore_lease: true, ..new.clone() };
        for put in [new, kept, answered, leased] {
            leaves.push(Leaf::Operation(TxnOperation::Put(put)));
        }
    }
    leaves
}

/// A transaction with the leaf at the end of `path`: at each step in the branch taken when the
/// compares, of which there are none, hold; or in the other.
fn nested(leaf: &Leaf, path: &[bool]) -> TxnRequest {
    let mut txn = TxnRequest::default();
    match (path.split_first(), leaf) {
        (None, Leaf::Compare(compare)) => txn.compares.push(compare.clone()),
        (None, Leaf::Operation(operation)) => txn.success.push(operation.clone()),
        (Some((success, rest)), leaf) => {
            let inner = match leaf {
                Leaf::Operation(operation) if rest.is_empty() => operation.clone(),
                leaf => TxnOperation::Txn(nested(leaf, rest)),
            };
            if *success { &mut txn.success } else { &mut txn.failure }.push(inner);
        }
    }
    txn
}

fn paths() -> Vec<Vec<bool>> {
    let mut paths = vec![Vec::new()];
    for length in 1..=NESTING_MAX {
        for bits in 0..1_u32 << length {
            paths.push((0..length).map(|at| bits >> at & 1 == 1).collect());
        }
    }
    paths
}

/// A user `ann` whose roles grant this, and what that is key by key.
struct Granted {
    tables: AccessTables,
    read: BTreeSet<&'static str>,
    write: BTreeSet<&'static str>,
}

impl Granted {
    fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let ranges = ranges();
        let kinds = [PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite];
        let roles: Vec<Role> = (0..2)
            .map(|number| {
                let permissions = (0..rng.random_range(0..4)).map(|_| Permission {
                    kind: *kinds.choose(&mut rng).expect("some"),
                    range: ranges.choose(&mut rng).expect("some").clone(),
                });
                Role { name: format!("r{number}"), permissions: permissions.collect() }
            })
            .collect();
        let keys = |covers: fn(PermissionKind) -> bool| {
            let permissions = roles.iter().flat_map(|role| &role.permissions);
            let granted: Vec<_> = permissions.filter(|it| covers(it.kind)).collect();
            let is_in = |key: &&str| granted.iter().any(|it| it.range.contains(key.as_bytes()));
            UNIVERSE.into_iter().filter(is_in).collect()
        };
        let (read, write) = (keys(PermissionKind::reads), keys(PermissionKind::writes));
        let key = AccessKey {
            id: "A".into(),
            user: "ann".into(),
            version: 1,
            active: true,
            sealed_secret: "sealed".into(),
        };
        let names = roles.iter().map(|role| role.name.clone()).collect();
        let mut edits = vec![
            AccessEdit::SetUser(User { name: "ann".into(), roles: names, active: true }),
            AccessEdit::SetKey(key),
        ];
        edits.extend(roles.into_iter().map(AccessEdit::SetRole));
        Self { tables: AccessTables::default().edited(2, &edits), read, write }
    }

    fn may(&self, keys: &BTreeSet<&str>, range: &KeyRange) -> bool {
        let mut inside = UNIVERSE.iter().filter(|key| range.contains(key.as_bytes()));
        inside.all(|key| keys.contains(key))
    }

    /// The naive model.
    fn permits(&self, leaf: &Leaf) -> bool {
        match leaf {
            Leaf::Compare(compare) => self.may(&self.read, &compare.range),
            Leaf::Operation(TxnOperation::Range(read)) => self.may(&self.read, &read.range),
            Leaf::Operation(TxnOperation::Put(put)) => {
                let range = KeyRange::single(put.key.clone());
                let reads = put.prev_kv || put.ignore_value || put.ignore_lease;
                self.may(&self.write, &range) && (!reads || self.may(&self.read, &range))
            }
            Leaf::Operation(TxnOperation::DeleteRange(delete)) => {
                self.may(&self.write, &delete.range)
                    && (!delete.prev_kv || self.may(&self.read, &delete.range))
            }
            Leaf::Operation(TxnOperation::Txn(_)) => unreachable!("a leaf is not nested"),
        }
    }

    /// A store with the users, in which `hidden` keys do not exist and every other has its value.
    fn store(&self, hidden: &dyn Fn(&str) -> bool) -> MemoryView {
        let mut store = MemoryView::new();
        for key in UNIVERSE {
            let key = if hidden(key) { FILLER } else { key };
            let put = PutRequest { key: key.into(), value: value_of(key), ..PutRequest::default() };
            let put = Operation::Put(put);
            assert!(store.execute(put).is_ok());
        }
        store.access = self.tables.clone().into();
        store
    }
}

fn value_of(key: &str) -> Bytes {
    format!("value of {key}").into()
}

/// A user's command that the door let in by older rules.
fn command(operation: Operation) -> Command {
    let client = ClientId(7);
    let request_id =
        RequestId { client, sequence: 1, lowest_unanswered: 1, begun_ms: 0, window_ms: 0 };
    Command {
        request_id: Some(request_id.into()),
        principal: Principal("ann".into()),
        auth_revision: 1,
        leader_time_ms: 0,
        operation,
    }
}

/// Checks one transaction. Answers whether it was permitted.
fn check(granted: &Granted, leaf: &Leaf, path: &[bool]) -> bool {
    let txn = nested(leaf, path);
    let grants = Grants::of_user(&granted.tables, "ann").expect("ann is active");
    let operation = Operation::Txn(txn.clone());
    let permitted = grants.check(Asked::Operation(&operation)).is_ok();
    assert_eq!(permitted, granted.permits(leaf), "{leaf:?} at {path:?}: {:?}", granted.tables);
    let mut store = granted.store(&|_| false);
    let before = store.clone();
    let applied = store.apply(&command(operation.clone()));
    let denied = matches!(applied.response, Err(OperationError::PermissionDenied { .. }));
    assert_eq!(denied, !permitted, "{leaf:?} at {path:?}: {:?}", applied.response);
    for key in UNIVERSE.iter().filter(|key| !granted.write.contains(*key)) {
        let versions = |view: &MemoryView| view.history.get(key.as_bytes()).cloned();
        assert_eq!(versions(&store), versions(&before), "{key:?} was written by {leaf:?}");
    }
    if !permitted {
        assert_eq!(store.revision, before.revision);
        return false;
    }
    // Whoever may delete keys is told how many there were.
    let deletes = matches!(leaf, Leaf::Operation(TxnOperation::DeleteRange(_)));
    let other = granted
        .store(&|key| !(granted.read.contains(key) || deletes && granted.write.contains(key)));
    let Ok(elsewhere) = apply(&other, &command(operation));
    assert_eq!(applied.response, elsewhere.response, "{leaf:?} at {path:?}: {:?}", granted.tables);
    if txn.is_read_only() {
        let (Ok(one), Ok(two)) = (read_txn(&before, &txn), read_txn(&other, &txn));
        assert_eq!(one, two);
    }
    if let Leaf::Operation(TxnOperation::Range(read)) = leaf {
        assert!(grants.check(Asked::Range(read)).is_ok());
        let (Ok(one), Ok(two)) = (range(&before, read), range(&other, read));
        assert_eq!(one, two);
    }
    true
}

#[test]
fn nothing_outside_what_is_granted_is_read_or_written() {
    let (leaves, paths) = (leaves(), paths());
    let (mut permitted, mut refused) = (0_u64, 0_u64);
    for seed in 0..GRANT_SETS {
        let granted = Granted::random(seed);
        for leaf in &leaves {
            for path in &paths {
                let count = if check(&granted, leaf, path) { &mut permitted } else { &mut refused };
                *count += 1;
            }
        }
    }
    println!("{permitted} permitted, {refused} refused");
    assert!(permitted > 5_000 && refused > 5_000, "both happen often");
}

#[test]
fn an_operation_alone_is_decided_as_in_a_transaction() {
    for seed in 0..GRANT_SETS {
        let granted = Granted::random(seed);
        let grants = Grants::of_user(&granted.tables, "ann").expect("ann is active");
        for leaf in leaves() {
            let alone = match &leaf {
                Leaf::Operation(TxnOperation::Put(put)) => Operation::Put(put.clone()),
                Leaf::Operation(TxnOperation::DeleteRange(delete)) => {
                    Operation::DeleteRange(delete.clone())
                }
                _ => continue,
            };
            let permitted = grants.check(Asked::Operation(&alone)).is_ok();
            assert_eq!(permitted, granted.permits(&leaf), "{leaf:?}: {:?}", granted.tables);
        }
    }
}

/// The check above would be worth little if what is answered told nothing.
#[test]
fn what_may_be_read_is_answered() {
    let granted = Granted::random(0);
    let read = TxnOperation::Range(RangeRequest::new(KeyRange::all()));
    let txn = TxnRequest { success: vec![read], ..TxnRequest::default() };
    let store = granted.store(&|key| key == "b");
    let Ok(answer) = read_txn(&store, &txn);
    let Ok(TxnAnswer { answers, .. }) = answer else { panic!("{answer:?}") };
    let [OperationAnswer::Range(range)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(range.count, UNIVERSE.len() as u64, "b is missing and the filler is there");
    let mut store = granted.store(&|_| false);
    let put = Operation::Put(PutRequest { key: "b".into(), ..PutRequest::default() });
    assert!(matches!(store.execute(put), Ok(Answer::Put(_))));
}
