//! What watchers are told, derived from what was changed.

use crate::types::{Event, EventKind};

use super::Change;

/// The events of one command's changes, in their order.
///
/// Those of a staged delete come with the commands that write it out, each with its own, earlier
/// revision: they are all told when it is finished.
pub fn events(changes: &[Change]) -> impl Iterator<Item = Event> {
    changes.iter().filter_map(|change| match change {
        Change::Put { key, meta, value } => Some(Event {
            key: key.clone(),
            kind: EventKind::Put { meta: *meta, value: value.clone() },
        }),
        Change::Delete { key, revision } | Change::WriteTombstone { key, revision } => {
            Some(Event { key: key.clone(), kind: EventKind::Delete { revision: *revision } })
        }
        Change::SetRevision(_)
        | Change::Compact(_)
        | Change::StageDelete(_)
        | Change::AdvanceDelete { .. }
        | Change::FinishDelete { .. }
        | Change::RecordAnswer { .. }
        | Change::ExpireSession(_)
        | Change::RefuseBegun { .. }
        | Change::RecordSignature { .. }
        | Change::RefuseDated { .. }
        | Change::ForgetSignature(_)
        | Change::SetMember { .. }
        | Change::SetAccess { .. }
        | Change::SetRoster(_) => None,
    })
}
