//! Whether a change of the voters leaves a cluster that can decide: pure.

use std::collections::BTreeSet;

use crate::types::NodeId;

/// Why voters are not changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QuorumLoss {
    /// Nobody would vote.
    #[error("no voter would be left; a cluster needs at least one")]
    NoVoter,
    /// Too few of the voters answer.
    #[error(
        "{needed} of the {voters} voters would have to be alive and {alive} are; start the missing \
         nodes first, or give --force to do it nevertheless, which may stop the cluster"
    )]
    NotAlive {
        /// How many there would be.
        voters: usize,
        /// A majority of them.
        needed: usize,
        /// How many answer.
        alive: usize,
    },
}

/// Refuses voters of whom no majority is alive.
pub(super) fn check(
    voters: &BTreeSet<NodeId>,
    alive: &BTreeSet<NodeId>,
    force: bool,
) -> Result<(), QuorumLoss> {
    if voters.is_empty() {
        return Err(QuorumLoss::NoVoter);
    }
    let needed = voters.len() / 2 + 1;
    let alive = voters.intersection(alive).count();
    if alive >= needed || force {
        return Ok(());
    }
    Err(QuorumLoss::NotAlive { voters: voters.len(), needed, alive })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_voters_afterwards_must_be_alive() {
        let set = |ids: &[NodeId]| ids.iter().copied().collect::<BTreeSet<_>>();
        for (voters, alive, force, allowed) in [
            (&[1, 2, 3][..], &[1, 2][..], false, true),
            (&[1, 2], &[1, 2, 9], false, true),
            (&[1, 2], &[1], false, false),
            (&[1, 3], &[1, 2], false, false),
            (&[1, 3], &[1, 2], true, true),
            (&[1], &[1], false, true),
            (&[1, 2, 3, 4], &[1, 2], false, false),
        ] {
            let checked = check(&set(voters), &set(alive), force);
            assert_eq!(checked.is_ok(), allowed, "{voters:?} {alive:?}");
        }
        assert_eq!(check(&set(&[]), &set(&[1]), true), Err(QuorumLoss::NoVoter));
    }
}
