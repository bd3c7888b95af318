//! Linking a key's versions, and finding one of them: pure, over a way to read a version.
//!
//! The shape of the chain is described at [`layout::version`](super::layout::version).
//!
//! # Why compaction may leave pointers to what it removed
//!
//! Compaction at C removes versions at or below C only, and of those never the newest, unless it
//! is a tombstone. A read at `at >= C` follows a pointer only to a version above `at`, which is
//! above C and therefore there; it *ends* at the first version at or below `at`, and if that one
//! is gone it was a tombstone: the key did not exist.

use super::layout::version::{
    CHAIN_FANOUT, Pointers, REVISION_BYTES, VersionRecord, encode_revision, pointer_count,
};
use crate::types::Revision;

/// The place of a new version in its key's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) depth: u64,
    pointers: Vec<[u8; REVISION_BYTES]>,
}

impl Link {
    /// The encoded pointers, for a [`VersionRecord`].
    pub(crate) fn pointers(&self) -> Pointers<'_> {
        Pointers::new(&self.pointers)
    }
}

/// Links a new version after `previous`, the key's newest so far, if there is one.
pub(crate) fn link(previous: Option<(Revision, &VersionRecord<'_>)>) -> Link {
    let Some((revision, previous)) = previous else {
        return Link { depth: 1, pointers: Vec::new() };
    };
    let depth = previous.depth + 1;
    let pointer = |level: usize| {
        let stride = CHAIN_FANOUT.pow(u32::try_from(level).expect("there are at most 16 levels"));
        if previous.depth.is_multiple_of(stride) {
            revision
        } else {
            previous.pointers.get(level).expect("a deeper version than the stride has this level")
        }
    };
    let pointers = (0..pointer_count(depth)).map(|level| encode_revision(pointer(level))).collect();
    Link { depth, pointers }
}

/// Where a walk goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To this version, which is above the revision looked for.
    Follow(Revision),
    /// This version, if it is still there, is the newest at or below the revision looked for.
    Found(Revision),
    /// The key did not exist yet.
    Missing,
}

/// The next step from a version above main revision `at` towards the newest one at or below it.
pub(crate) fn step(pointers: Pointers<'_>, at: u64) -> Step {
    let mut levels = (0..pointers.levels()).rev().filter_map(|level| pointers.get(level));
    if let Some(above) = levels.find(|pointer| pointer.main > at) {
        return Step::Follow(above);
    }
    pointers.get(0).map_or(Step::Missing, Step::Found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::state::layout::version::LiveVersion;

    const LIVE: LiveVersion = LiveVersion { create_revision: 1, version: 1, lease: 0 };

    /// A chain of versions at the given main revisions.
    fn chain(mains: impl IntoIterator<Item = u64>) -> Vec<(Revision, Link)> {
        let mut chain: Vec<(Revision, Link)> = Vec::new();
        for main in mains {
            let next = match chain.last() {
                None => link(None),
                Some((revision, last)) => {
                    let record = record(last);
                    link(Some((*revision, &record)))
                }
            };
            chain.push((Revision::new(main, 0), next));
        }
        chain
    }

    fn record(link: &Link) -> VersionRecord<'_> {
        VersionRecord { live: Some(LIVE), depth: link.depth, pointers: link.pointers() }
    }

    /// Walks from the newest version; answers what was found and the steps it took.
    fn walk(chain: &[(Revision, Link)], at: u64) -> (Option<Revision>, usize) {
        let (mut revision, mut link) = chain.last().cloned().expect("the chain has a version");
        let mut steps = 0;
        while revision.main > at {
            steps += 1;
            match step(link.pointers(), at) {
                Step::Found(found) => return (Some(found), steps),
                Step::Missing => return (None, steps),
                Step::Follow(next) => {
                    let found = chain.binary_search_by_key(&next, |(revision, _)| *revision);
                    (revision, link) = chain[found.expect("pointers name versions")].clone();
                }
            }
        }
        (Some(revision), steps)
    }

    #[test]
    fn a_walk_over_a_long_history_is_short() {
        let chain = chain((1..=100_000).map(|version| version * 2));
        let longest = (0..=200_000).step_by(37).map(|at| walk(&chain, at).1).max();
        assert!(longest < Some(5 * 30), "{longest:?} steps");
    }

    proptest! {
        #[test]
        fn a_walk_finds_the_newest_version_at_or_below(
            gaps in prop::collection::vec(1..5u64, 1..600), at in 0..3_000u64,
        ) {
            let mains: Vec<u64> =
                gaps.iter().scan(0, |main, gap| { *main += gap; Some(*main) }).collect();
            let expected = mains.iter().rev().find(|main| **main <= at);
            let (found, _) = walk(&chain(mains.iter().copied()), at);
            prop_assert_eq!(found.map(|revision| revision.main), expected.copied());
        }
    }
}
