//! Whether who was let in at the door may still do it.
//!
//! The door decides by users, roles and keys as its node has applied them; by the time a command
//! is applied they may have changed. A command says which revision it was decided by: when that is
//! the state's, nothing is looked at.
//!
//! What the cluster proposes itself, and what comes from a node that runs without authentication,
//! passes. A command does not say which key it was signed with, so a user passes with any.

use crate::types::{Asked, Command, Grants, OperationError};

use super::StateView;

/// Why the command is refused, if it is. `command` is well formed. *Replicated:* the text too.
pub(super) fn refusal<V: StateView>(view: &V, command: &Command) -> Option<OperationError> {
    if command.principal.is_builtin() {
        return None;
    }
    let tables = view.access();
    if tables.revision == command.auth_revision {
        return None;
    }
    let name = &command.principal.0;
    let Some(grants) = Grants::of_user(&tables, name) else {
        let reason = format!("user {name} has no longer an active key");
        return Some(OperationError::PermissionDenied { reason });
    };
    let granted = grants.check(Asked::Operation(&command.operation));
    granted.err().map(|_| {
        let reason = format!("the permission of user {name} was revoked");
        OperationError::PermissionDenied { reason }
    })
}
