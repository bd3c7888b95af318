//! The quota: decided by the leader before a command enters the log, so that an error never hides a
//! write that is applied.
//!
//! A write that adds is refused while any member is full, the leader itself or another that said so.
//! What frees room, and what the cluster needs to go on, is always taken: deletes, compaction,
//! membership, users, reads. Room is measured by each member for itself (`storage::state::space`);
//! the leader asks the others every second, and itself at every write.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::sleep;

use super::handle::{Leadership, RaftHandle};
use crate::types::{NodeId, Operation, RequestError, SpaceUse, TxnOperation, TxnRequest};

/// How often the leader asks the other members.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long it waits for an answer. Who gives none is taken for what it said last.
const ASK_MAX: Duration = Duration::from_millis(500);

/// What the leader knows of the other members.
#[derive(Debug, Default)]
pub(super) struct OtherMembers {
    any_full: AtomicBool,
    fullest: Mutex<Option<(NodeId, SpaceUse)>>,
}

/// Asks the other members while this node leads. Ends with consensus.
pub(super) async fn watch(raft: RaftHandle) {
    let mut server = raft.shared.server.clone();
    loop {
        drop(server.borrow_and_update());
        if let Err(error) = raft.shared.state.measure_space().await {
            tracing::debug!(%error, "the room that is left cannot be measured");
        }
        let full = match raft.leadership() {
            Leadership::Local => raft.fullest_of_others().await,
            Leadership::Remote { .. } | Leadership::Unknown => None,
        };
        let others = &raft.shared.others;
        let was_full = others.any_full.swap(full.is_some(), Ordering::Relaxed);
        if let (Some((node_id, space)), false) = (&full, was_full) {
            let (used_bytes, limit_bytes) = (space.used_bytes, space.limit_bytes);
            tracing::warn!(
                node_id,
                used_bytes,
                limit_bytes,
                "a member is full: writes are refused"
            );
        }
        *others.fullest.lock().unwrap_or_else(PoisonError::into_inner) = full;
        tokio::select! {
            () = sleep(ASK_EVERY) => {}
            changed = server.changed() => if changed.is_err() { return },
        }
    }
}

impl RaftHandle {
    /// How much room this node has.
    pub fn space(&self) -> SpaceUse {
        let coming = self.shared.proposals.pending_bytes.load(Ordering::Relaxed);
        self.shared.state.space(coming)
    }

    /// Refuses an operation that adds while a member is full. For the leader.
    pub(super) fn refuse_without_space(&self, operation: &Operation) -> Result<(), RequestError> {
        let own = self.space();
        if !own.is_full && !self.shared.others.any_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !adds(operation) {
            return Ok(());
        }
        let known = self.shared.others.fullest.lock().unwrap_or_else(PoisonError::into_inner);
        let (node_id, space) = match *known {
            Some(fullest) if !own.is_full => fullest,
            _ => (self.shared.node.node_id, own),
        };
        let SpaceUse { used_bytes, limit_bytes, .. } = space;
        Err(RequestError::NoSpace { node_id, used_bytes, limit_bytes })
    }

    /// The fullest of the other members that are full.
    async fn fullest_of_others(&self) -> Option<(NodeId, SpaceUse)> {
        let me = self.shared.node.node_id;
        let mut asked = tokio::task::JoinSet::new();
        for member in self.members().into_iter().filter(|member| member.id != me) {
            let peer = self.connection_at(member.id, &member.peer_addr);
            asked.spawn(async move { (member.id, peer.status(ASK_MAX).await) });
        }
        let mut full = None;
        while let Some(Ok((node_id, answer))) = asked.join_next().await {
            let Ok(status) = answer else { continue };
            if status.space.is_full {
                full.get_or_insert((node_id, status.space));
            }
        }
        full
    }
}

/// Whether an operation can make the state larger for good.
fn adds(operation: &Operation) -> bool {
    match operation {
        Operation::Put(_) => true,
        Operation::Txn(request) => txn_adds(request),
        _ => false,
    }
}

fn txn_adds(request: &TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).any(|operation| match operation {
        TxnOperation::Put(_) => true,
        TxnOperation::Range(_) | TxnOperation::DeleteRange(_) => false,
        TxnOperation::Txn(nested) => txn_adds(nested),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CompactRequest, DeleteRangeRequest, KeyRange, PutRequest};

    #[test]
    fn what_frees_room_does_not_add() {
        let delete = DeleteRangeRequest { range: KeyRange::all(), prev_kv: false };
        let deletes = TxnRequest {
            success: vec![TxnOperation::DeleteRange(delete.clone())],
            ..Default::default()
        };
        let puts = TxnRequest {
            failure: vec![TxnOperation::Txn(TxnRequest {
                success: vec![TxnOperation::Put(PutRequest::default())],
                ..Default::default()
            })],
            ..Default::default()
        };
        for (operation, expected) in [
            (Operation::Put(PutRequest::default()), true),
            (Operation::Txn(puts), true),
            (Operation::Txn(deletes), false),
            (Operation::DeleteRange(delete), false),
            (Operation::Compact(CompactRequest { revision: 1 }), false),
            (Operation::ContinueDelete { revision: 1, keys: 1 }, false),
        ] {
            assert_eq!(adds(&operation), expected, "{operation:?}");
        }
    }
}
