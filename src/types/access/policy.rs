//! What an operation needs: the one function from what is asked to the permissions it takes.
//!
//! There is no catch-all arm, so that whoever adds an operation decides here what it needs. The
//! rules are etcd's, and where etcd leaves something open the stricter reading:
//!
//! - a compare is a read; both branches of a transaction count, nested ones too, whichever is taken;
//! - `prev_kv` is a read of what it answers;
//! - `ignore_value` and `ignore_lease` are reads: whether the key exists decides the answer;
//! - how many keys a delete deleted is told to whoever may delete them;
//! - compaction, membership, snapshots, users, roles and keys need the role root;
//! - how a node is and who is a member is told to whoever has a key that is in force.
//!
//! # On failure
//! The recursion over nested transactions is as deep as they are: refuse deeper ones before.

use std::fmt;

use super::{AccessOperation, AccessRequest};
use crate::types::{
    ClusterRequest, KeyRange, Operation, PutRequest, RangeRequest, TxnOperation, TxnRequest,
};

/// What a client may ask for, before it is decided whether it may.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A command for the log.
    Operation(&'a Operation),
    /// A read of a range.
    Range(&'a RangeRequest),
    /// A transaction that only reads.
    ReadTxn(&'a TxnRequest),
    /// Something about members.
    Cluster(&'a ClusterRequest),
    /// Something about users, roles and keys.
    Access(&'a AccessRequest),
    /// The whole store.
    Snapshot,
    /// How a node is.
    Status,
    /// Who is a member.
    Members,
}

/// Keys as a [`KeyRange`] has them, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpan<'a> {
    /// The first key.
    pub key: &'a [u8],
    /// The end (exclusive), or empty for the one key, or `\0` for no end.
    pub range_end: &'a [u8],
}

impl KeySpan<'_> {
    pub(super) fn is_single(&self) -> bool {
        self.range_end.is_empty()
    }

    pub(super) fn is_to_the_end(&self) -> bool {
        self.range_end == [0]
    }
}

impl<'a> From<&'a KeyRange> for KeySpan<'a> {
    fn from(range: &'a KeyRange) -> Self {
        Self { key: &range.key, range_end: &range.range_end }
    }
}

/// One permission that something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// To read these keys.
    Read(KeySpan<'a>),
    /// To write and delete these keys.
    Write(KeySpan<'a>),
    /// The role [`ROOT`](super::ROOT).
    Administer,
}

/// Calls `visit` with everything that `asked` needs, until that errs. Nothing is needed of who
/// asks beyond a key that is in force when it is not called.
///
/// # Errors
/// The visitor's.
pub fn visit_needs<'a, E>(
    asked: Asked<'a>,
    visit: &mut impl FnMut(Need<'a>) -> Result<(), E>,
) -> Result<(), E> {
    match asked {
        Asked::Operation(Operation::Put(request)) => visit_put(request, visit),
        Asked::Operation(Operation::DeleteRange(request)) => {
            visit_delete((&request.range).into(), request.prev_kv, visit)
        }
        Asked::Operation(Operation::Txn(request)) | Asked::ReadTxn(request) => {
            visit_txn(request, visit)
        }
        Asked::Operation(
            Operation::Compact(_)
            | Operation::RegisterMember { .. }
            | Operation::Cluster(_)
            | Operation::ContinueDelete { .. },
        ) => visit(Need::Administer),
        Asked::Operation(Operation::Access(operation)) => visit_access(operation, visit),
        Asked::Range(request) => visit(Need::Read((&request.range).into())),
        Asked::Cluster(request) => visit_cluster(request, visit),
        Asked::Access(AccessRequest::Change { operation, .. }) => visit_access(operation, visit),
        Asked::Access(
            AccessRequest::CreateKey { .. }
            | AccessRequest::Users(_)
            | AccessRequest::Roles(_)
            | AccessRequest::Keys(_),
        )
        | Asked::Snapshot => visit(Need::Administer),
        Asked::Access(AccessRequest::WhoAmI) | Asked::Status | Asked::Members => Ok(()),
    }
}

fn visit_put<'a, E>(
    request: &'a PutRequest,
    visit: &mut impl FnMut(Need<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let keys = KeySpan { key: &request.key, range_end: &[] };
    visit(Need::Write(keys))?;
    if request.prev_kv || request.ignore_value || request.ignore_lease {
        visit(Need::Read(keys))?;
    }
    Ok(())
}

fn visit_delete<'a, E>(
    keys: KeySpan<'a>,
    prev_kv: bool,
    visit: &mut impl FnMut(Need<'a>) -> Result<(), E>,
) -> Result<(), E> {
    visit(Need::Write(keys))?;
    if prev_kv { visit(Need::Read(keys)) } else { Ok(()) }
}

fn visit_txn<'a, E>(
    request: &'a TxnRequest,
    visit: &mut impl FnMut(Need<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for compare in &request.compares {
        visit(Need::Read((&compare.range).into()))?;
    }
    for operation in request.success.iter().chain(&request.failure) {
        match operation {
            TxnOperation::Range(request) => visit(Need::Read((&request.range).into()))?,
            TxnOperation::Put(request) => visit_put(request, visit)?,
            TxnOperation::DeleteRange(request) => {
                visit_delete((&request.range).into(), request.prev_kv, visit)?;
            }
            TxnOperation::Txn(nested) => visit_txn(nested, visit)?,
        }
    }
    Ok(())
}

fn visit_access<'a, E>(
    operation: &'a AccessOperation,
    visit: &mut impl FnMut(Need<'a>) -> Result<(), E>,
) -> Result<(), E> {
    match operation {
        AccessOperation::Bootstrap(_)
        | AccessOperation::AddUser { .. }
        | AccessOperation::RemoveUser { .. }
        | AccessOperation::SetUserActive { .. }
        | AccessOperation::GrantRole { .. }
        | AccessOperation::RevokeRole { .. }
        | AccessOperation::AddRole { .. }
        | AccessOperation::RemoveRole { .. }
        | AccessOperation::GrantPermission { .. }
        | AccessOperation::RevokePermission { .. }
        | AccessOperation::CreateKey(_)
        | AccessOperation::SetKeyActive { .. }
        | AccessOperation::RemoveKey { .. } => visit(Need::Administer),
    }
}

fn visit_cluster<'a, E>(
    request: &'a ClusterRequest,
    visit: &mut impl FnMut(Need<'a>) -> Result<(), E>,
) -> Result<(), E> {
    match request {
        // As much as the list of members says.
        ClusterRequest::Joins => Ok(()),
        ClusterRequest::Join { .. }
        | ClusterRequest::Standing { .. }
        | ClusterRequest::AddWaiting { .. }
        | ClusterRequest::CancelJoin { .. }
        | ClusterRequest::Promote { .. }
        | ClusterRequest::Demote { .. }
        | ClusterRequest::Remove { .. }
        | ClusterRequest::Replace { .. }
        | ClusterRequest::Update { .. }
        | ClusterRequest::MoveLeader { .. } => visit(Need::Administer),
    }
}

impl Asked<'_> {
    /// Whether a machine that holds the cluster's key file and is no member yet may ask it.
    pub fn is_for_joining_nodes(self) -> bool {
        matches!(
            self,
            Asked::Cluster(ClusterRequest::Join { .. } | ClusterRequest::Standing { .. })
        )
    }

    /// Whether it is to change something.
    pub fn is_mutation(self) -> bool {
        match self {
            Asked::Operation(_) => true,
            Asked::Cluster(ClusterRequest::Joins | ClusterRequest::Standing { .. }) => false,
            Asked::Cluster(_) => true,
            Asked::Access(AccessRequest::Change { .. } | AccessRequest::CreateKey { .. }) => true,
            Asked::Access(_)
            | Asked::Range(_)
            | Asked::ReadTxn(_)
            | Asked::Snapshot
            | Asked::Status
            | Asked::Members => false,
        }
    }
}

/// Longest part of a key that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 128;

/// A key for people: what is not text is replaced, what is long is cut.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        write!(f, "{:?}", String::from_utf8_lossy(shown))?;
        if shown.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

impl fmt::Display for KeySpan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Shown(self.key);
        if self.is_single() {
            write!(f, "{key}")
        } else if self.is_to_the_end() {
            write!(f, "[{key}, end)")
        } else {
            write!(f, "[{key}, {})", Shown(self.range_end))
        }
    }
}

impl fmt::Display for Need<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(keys) => write!(f, "read {keys}"),
            Self::Write(keys) => write!(f, "write {keys}"),
            Self::Administer => f.write_str("administer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        CompactRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest,
    };

    fn needs(asked: Asked<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let visited = visit_needs(asked, &mut |need| {
            found.push(need.to_string());
            Ok::<(), ()>(())
        });
        assert_eq!(visited, Ok(()));
        found
    }

    fn put(key: &'static str) -> PutRequest {
        PutRequest { key: key.into(), ..PutRequest::default() }
    }

    #[test]
    fn a_put_writes_and_reads_what_it_answers_or_depends_on() {
        let cases = [
            (put("k"), 1),
            (PutRequest { prev_kv: true, ..put("k") }, 2),
            (PutRequest { ignore_value: true, ..put("k") }, 2),
            (PutRequest { ignore_lease: true, ..put("k") }, 2),
            (PutRequest { lease: 7, ..put("k") }, 1),
        ];
        for (request, count) in cases {
            let found = needs(Asked::Operation(&Operation::Put(request)));
            assert_eq!(found, ["write \"k\"", "read \"k\""][..count]);
        }
    }

    #[test]
    fn a_transaction_needs_what_either_branch_does_and_its_compares_read() {
        let read =
            |key: &'static str| TxnOperation::Range(RangeRequest::new(KeyRange::single(key)));
        let nested = TxnRequest {
            compares: vec![Compare {
                range: KeyRange::prefix("p"),
                target: CompareTarget::Version(0),
                operator: CompareOperator::Equal,
            }],
            success: vec![TxnOperation::Put(put("a"))],
            failure: vec![read("b")],
        };
        let delete = DeleteRangeRequest { range: KeyRange::from("d"), prev_kv: true };
        let txn = TxnRequest {
            compares: Vec::new(),
            success: vec![TxnOperation::Txn(nested)],
            failure: vec![TxnOperation::DeleteRange(delete)],
        };
        let expected = [
            "read [\"p\", \"q\")",
            "write \"a\"",
            "read \"b\"",
            "write [\"d\", end)",
            "read [\"d\", end)",
        ];
        assert_eq!(needs(Asked::ReadTxn(&txn)), expected);
        assert_eq!(needs(Asked::Operation(&Operation::Txn(txn))), expected);
    }

    #[test]
    fn administration_is_roots_and_looking_at_the_cluster_is_everybodys() {
        let compact = Operation::Compact(CompactRequest { revision: 1 });
        let move_leader = ClusterRequest::MoveLeader { to: None };
        let listing = AccessRequest::Keys(super::super::Listing::default());
        for asked in [
            Asked::Operation(&compact),
            Asked::Cluster(&move_leader),
            Asked::Cluster(&ClusterRequest::Standing { node_id: 1 }),
            Asked::Access(&listing),
            Asked::Snapshot,
        ] {
            assert_eq!(needs(asked), ["administer"], "{asked:?}");
        }
        for asked in [
            Asked::Status,
            Asked::Members,
            Asked::Cluster(&ClusterRequest::Joins),
            Asked::Access(&AccessRequest::WhoAmI),
        ] {
            assert_eq!(needs(asked), [""; 0], "{asked:?}");
        }
    }

    #[test]
    fn a_key_is_shown_in_one_short_line() {
        let key = [&b"a\n\xff"[..], &[b'x'; 1_000]].concat();
        let shown = KeySpan { key: &key, range_end: &[] }.to_string();
        assert!(shown.starts_with("\"a\\n\u{fffd}x") && shown.ends_with("\"..."), "{shown}");
        assert!(shown.len() < 200);
    }
}
