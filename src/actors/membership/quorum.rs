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

/// Refuses voters of whom no majority is alive, now or when those of them who are leaving have left.
pub(super) fn check(
    voters: &BTreeSet<NodeId>,
    leaving: &BTreeSet<NodeId>,
    alive: &BTreeSet<NodeId>,
    force: bool,
) -> Result<(), QuorumLoss> {
    let staying: BTreeSet<NodeId> = voters.difference(leaving).copied().collect();
    for voters in [voters, &staying] {
        if voters.is_empty() {
            return Err(QuorumLoss::NoVoter);
        }
        let needed = voters.len() / 2 + 1;
        let alive = voters.intersection(alive).count();
        if alive < needed && !force {
            return Err(QuorumLoss::NotAlive { voters: voters.len(), needed, alive });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_voters_afterwards_must_be_alive() {
        let set = |ids: &[NodeId]| ids.iter().copied().collect::<BTreeSet<_>>();
        for (voters, leaving, alive, force, allowed) in [
            (&[1, 2, 3][..], &[][..], &[1, 2][..], false, true),
            (&[1, 2], &[], &[1, 2, 9], false, true),
            (&[1, 2], &[], &[1], false, false),
            (&[1, 3], &[], &[1, 2], false, false),
            (&[1, 3], &[], &[1, 2], true, true),
            (&[1], &[], &[1], false, true),
            (&[1, 2, 3, 4], &[], &[1, 2], false, false),
            // One of three is away and another is leaving: one would be left of two.
            (&[1, 2, 4], &[2], &[1, 2], false, false),
            (&[1, 2, 4], &[4], &[1, 2], false, true),
            (&[1, 2, 4], &[9], &[1, 2], false, true),
        ] {
            let checked = check(&set(voters), &set(leaving), &set(alive), force);
            assert_eq!(checked.is_ok(), allowed, "{voters:?} {leaving:?} {alive:?}");
        }
        let nobody = Err(QuorumLoss::NoVoter);
        assert_eq!(check(&set(&[]), &set(&[]), &set(&[1]), true), nobody);
        assert_eq!(check(&set(&[1]), &set(&[1]), &set(&[1]), true), nobody);
    }
}
