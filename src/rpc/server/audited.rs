//! What the audit log says of a request, and that it says it whatever becomes of the request.

use std::fmt::Write;

use crate::telemetry::{AuditLog, AuditRecord, Decision};
use crate::types::access::{KeySpan, Need, visit_needs};
use crate::types::{
    AccessOperation, AccessRequest, Answer, Asked, ClusterRequest, Operation, OperationError,
    RequestError,
};

use super::store_messages::error_kind;

/// Most permissions that a line names; a transaction may need hundreds.
const NEEDS_SHOWN_MAX: usize = 8;

/// Why a command is refused that was let in at the door.
const REVOKED: &str = "revoked";

/// A change under way. Says that its outcome is unknown when it is dropped before it was settled:
/// its deadline passed, or the client has gone.
pub(super) struct Audited<'a> {
    log: &'a AuditLog,
    record: Option<AuditRecord>,
}

impl<'a> Audited<'a> {
    /// `record` as it is to be when nothing more is known of the change.
    pub(super) fn begin(log: &'a AuditLog, record: AuditRecord) -> Self {
        Self { log, record: Some(record) }
    }

    /// The change ended, with this revision or this error.
    pub(super) fn settle(mut self, outcome: Result<u64, &RequestError>) {
        let Some(mut record) = self.record.take() else { return };
        match outcome {
            Ok(revision) => (record.outcome, record.revision) = ("ok", revision),
            Err(error) => {
                record.outcome = error_kind(error);
                let denied = matches!(
                    error,
                    RequestError::Operation(OperationError::PermissionDenied { .. })
                );
                if denied {
                    record.decision = Decision::Refused(REVOKED);
                }
            }
        }
        self.log.record(record);
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.log.record(record);
        }
    }
}

/// The revision that a change made.
pub(super) fn revision_of(answer: &Answer) -> u64 {
    match answer {
        Answer::Put(answer) => answer.revision,
        Answer::DeleteRange(answer) => answer.revision,
        Answer::Txn(answer) => answer.revision,
        Answer::Compact(answer) => answer.revision,
        Answer::Access(answer) => answer.auth_revision,
        Answer::DeleteStaged { revision } => *revision,
        Answer::Again(first) => first.as_ref().as_ref().map_or(0, revision_of),
        Answer::RegisterMember | Answer::Cluster(_) | Answer::DeleteContinued { .. } => 0,
    }
}

/// What is asked, in a word.
pub(super) fn action(asked: Asked<'_>) -> &'static str {
    match asked {
        Asked::Operation(Operation::Put(_)) => "put",
        Asked::Operation(Operation::DeleteRange(_)) => "delete_range",
        Asked::Operation(Operation::Txn(_)) => "txn",
        Asked::Operation(Operation::Compact(_)) => "compact",
        Asked::Operation(Operation::RegisterMember { .. }) => "register_member",
        Asked::Operation(Operation::Access(operation)) => access_action(operation),
        Asked::Operation(Operation::Cluster(_)) => "cluster",
        Asked::Operation(Operation::ContinueDelete { .. }) => "continue_delete",
        Asked::Range(_) => "range",
        Asked::ReadTxn(_) => "read_txn",
        Asked::Cluster(request) => cluster_action(request),
        Asked::Access(AccessRequest::Change { operation, .. }) => access_action(operation),
        Asked::Access(AccessRequest::CreateKey { .. }) => "key_create",
        Asked::Access(AccessRequest::Users(_)) => "user_list",
        Asked::Access(AccessRequest::Roles(_)) => "role_list",
        Asked::Access(AccessRequest::Keys(_)) => "key_list",
        Asked::Access(AccessRequest::WhoAmI) => "whoami",
        Asked::Snapshot => "snapshot",
        Asked::Status => "status",
        Asked::Members => "member_list",
    }
}

fn access_action(operation: &AccessOperation) -> &'static str {
    match operation {
        AccessOperation::Bootstrap(_) => "bootstrap",
        AccessOperation::AddUser { .. } => "user_add",
        AccessOperation::RemoveUser { .. } => "user_remove",
        AccessOperation::SetUserActive { active: true, .. } => "user_enable",
        AccessOperation::SetUserActive { active: false, .. } => "user_disable",
        AccessOperation::GrantRole { .. } => "user_grant_role",
        AccessOperation::RevokeRole { .. } => "user_revoke_role",
        AccessOperation::AddRole { .. } => "role_add",
        AccessOperation::RemoveRole { .. } => "role_remove",
        AccessOperation::GrantPermission { .. } => "role_grant",
        AccessOperation::RevokePermission { .. } => "role_revoke",
        AccessOperation::CreateKey(_) => "key_create",
        AccessOperation::SetKeyActive { active: true, .. } => "key_activate",
        AccessOperation::SetKeyActive { active: false, .. } => "key_deactivate",
        AccessOperation::RemoveKey { .. } => "key_remove",
    }
}

fn cluster_action(request: &ClusterRequest) -> &'static str {
    match request {
        ClusterRequest::Join { .. } => "join",
        ClusterRequest::AddWaiting { .. } => "member_add",
        ClusterRequest::Joins => "join_status",
        ClusterRequest::CancelJoin { .. } => "member_cancel",
        ClusterRequest::Promote { .. } => "member_promote",
        ClusterRequest::Demote { .. } => "member_demote",
        ClusterRequest::Remove { .. } => "member_remove",
        ClusterRequest::Replace { .. } => "member_replace",
        ClusterRequest::Update { .. } => "member_update",
        ClusterRequest::MoveLeader { .. } => "move_leader",
        ClusterRequest::Standing { .. } => "standing",
    }
}

/// With what: keys and how they are used, or the names of users, roles, keys and nodes. Never a
/// value.
pub(super) fn target(asked: Asked<'_>) -> String {
    match asked {
        Asked::Operation(Operation::Access(operation))
        | Asked::Access(AccessRequest::Change { operation, .. }) => access_target(operation),
        Asked::Access(AccessRequest::CreateKey { user, .. }) => user.clone(),
        Asked::Access(
            AccessRequest::Users(listing)
            | AccessRequest::Roles(listing)
            | AccessRequest::Keys(listing),
        ) => listing.of.clone().unwrap_or_default(),
        Asked::Cluster(request) => cluster_target(request),
        Asked::Operation(_) | Asked::Range(_) | Asked::ReadTxn(_) => keys(asked),
        Asked::Access(AccessRequest::WhoAmI) | Asked::Snapshot | Asked::Status | Asked::Members => {
            String::new()
        }
    }
}

fn keys(asked: Asked<'_>) -> String {
    let (mut text, mut count) = (String::new(), 0);
    let visited = visit_needs(asked, &mut |need| {
        if !matches!(need, Need::Administer) && count < NEEDS_SHOWN_MAX {
            let comma = if count == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}{need}");
        }
        count += 1;
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(()) = visited;
    if count > NEEDS_SHOWN_MAX {
        let _ = write!(text, " and {} more", count - NEEDS_SHOWN_MAX);
    }
    text
}

fn access_target(operation: &AccessOperation) -> String {
    match operation {
        AccessOperation::Bootstrap(key) | AccessOperation::CreateKey(key) => {
            format!("{} of {}", key.id, key.user)
        }
        AccessOperation::AddUser { name }
        | AccessOperation::RemoveUser { name }
        | AccessOperation::SetUserActive { name, .. }
        | AccessOperation::AddRole { name }
        | AccessOperation::RemoveRole { name } => name.clone(),
        AccessOperation::GrantRole { user, role } | AccessOperation::RevokeRole { user, role } => {
            format!("{user} {role}")
        }
        AccessOperation::GrantPermission { role, permission } => {
            let keys = KeySpan::from(&permission.range);
            format!("{role} {} {keys}", permission.kind.name())
        }
        AccessOperation::RevokePermission { role, range } => {
            format!("{role} {}", KeySpan::from(range))
        }
        AccessOperation::SetKeyActive { id, .. } | AccessOperation::RemoveKey { id } => id.clone(),
    }
}

fn cluster_target(request: &ClusterRequest) -> String {
    match request {
        ClusterRequest::Join { request, .. } => {
            format!("{} at {}", request.name, request.peer_addr)
        }
        ClusterRequest::AddWaiting { node, .. }
        | ClusterRequest::CancelJoin { node }
        | ClusterRequest::Promote { node, .. }
        | ClusterRequest::Demote { node, .. }
        | ClusterRequest::Remove { node, .. }
        | ClusterRequest::Update { node, .. } => node.clone(),
        ClusterRequest::Replace { old, new, .. } => format!("{old} by {new}"),
        ClusterRequest::MoveLeader { to } => to.clone().unwrap_or_default(),
        ClusterRequest::Standing { node_id } => node_id.to_string(),
        ClusterRequest::Joins => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{PutRequest, TxnOperation, TxnRequest};

    #[test]
    fn a_line_names_keys_and_no_value() {
        let put = PutRequest {
            key: "k".into(),
            value: "v4lue".into(),
            prev_kv: true,
            ..PutRequest::default()
        };
        let operation = Operation::Put(put.clone());
        let asked = Asked::Operation(&operation);
        assert_eq!((action(asked), target(asked).as_str()), ("put", "write \"k\", read \"k\""));
        let txn = TxnRequest { success: vec![TxnOperation::Put(put); 9], ..TxnRequest::default() };
        let text = target(Asked::ReadTxn(&txn));
        assert!(text.ends_with(" and 10 more") && !text.contains("v4lue"), "{text}");
    }
}
