//! What watchers are told, derived from what was changed.

use crate::types::{Event, EventKind};

use super::Change;

/// The events of one command's changes, in their order.
pub fn events(changes: &[Change]) -> impl Iterator<Item = Event> {
    changes.iter().filter_map(|change| match change {
        Change::Put { key, meta, value } => Some(Event {
            key: key.clone(),
            kind: EventKind::Put { meta: *meta, value: value.clone() },
        }),
        Change::Delete { key, revision } => {
            Some(Event { key: key.clone(), kind: EventKind::Delete { revision: *revision } })
        }
        Change::SetRevision(_)
        | Change::Compact(_)
        | Change::RecordAnswer { .. }
        | Change::ExpireSession(_)
        | Change::SetMember { .. }
        | Change::SetAccess { .. }
        | Change::SetRoster(_) => None,
    })
}
