//! What may be proposed in a cluster of several releases.
//!
//! A member stops for good at a command that it cannot read: it must not guess what the others
//! make of it. So each member, and each node that joins, says in the replicated state which is the
//! newest format that it reads, and a leader proposes only what all of them read. Nothing is
//! asked where the format is the first, which everybody reads: that is every write of this release.
//!
//! An upgrade needs no more than restarting one node after the other. What the new release adds is
//! refused by name until the last of them runs it.

use super::handle::RaftHandle;
use crate::types::command::COMMAND_FORMAT_FIRST;
use crate::types::{NodeId, RequestError, Roster};

impl RaftHandle {
    /// The newest format of commands that this node reads.
    pub(crate) fn reads_format(&self) -> u8 {
        self.shared.command_format
    }

    /// Refuses what some member does not read.
    pub(crate) fn check_format(&self, needed: u8) -> Result<(), RequestError> {
        if needed <= COMMAND_FORMAT_FIRST {
            return Ok(());
        }
        let nodes = self.membership_view().nodes.into_keys();
        unread(needed, nodes, &self.roster()).map_or(Ok(()), |(node, reads)| {
            let reason = format!(
                "member {node} reads commands up to format {reads}, and this needs {needed}; \
                 upgrade every member first"
            );
            Err(RequestError::Refused { reason })
        })
    }

    /// The newest format that every member reads.
    pub(in crate::actors) fn common_format(&self) -> u8 {
        let roster = self.roster();
        let view = self.membership_view();
        view.nodes.keys().map(|node| roster.format_of(*node)).min().unwrap_or(COMMAND_FORMAT_FIRST)
    }
}

/// A member, or a node that joins, that does not read `needed`, and what it reads.
fn unread(
    needed: u8,
    members: impl Iterator<Item = NodeId>,
    roster: &Roster,
) -> Option<(NodeId, u8)> {
    let joining = roster.open_joins().map(|join| join.node_id);
    let mut formats = members.chain(joining).map(|node| (node, roster.format_of(node)));
    formats.find(|(_, reads)| *reads < needed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn one_member_that_does_not_read_a_format_or_does_not_say_keeps_it_back() {
        let roster = |formats: &[(NodeId, u8)]| Roster {
            formats: BTreeMap::from_iter(formats.iter().copied()),
            ..Roster::default()
        };
        let members = || [1, 2, 3].into_iter();
        assert_eq!(unread(2, members(), &roster(&[(1, 2), (2, 2), (3, 2)])), None);
        assert_eq!(unread(2, members(), &roster(&[(1, 2), (2, 1), (3, 3)])), Some((2, 1)));
        assert_eq!(unread(2, members(), &roster(&[(1, 2), (3, 2)])), Some((2, 1)));
        assert_eq!(unread(1, members(), &roster(&[])), None);
    }
}
