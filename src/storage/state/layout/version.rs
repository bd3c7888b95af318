//! The part that `keys` and `history` share: one version of a key, apart from its revision, key
//! and value.
//!
//! ```text
//! [flags: u8 (1 = tombstone)][create revision: u64][version: u64][lease: i64]
//! [depth: u64][pointers: count(depth) x revision]
//! ```
//!
//! A tombstone has 0 for create revision, version and lease.
//!
//! # The chain
//!
//! The versions of a key form a chain from the newest to the oldest, so that a read at an old
//! revision finds its version from the key's newest. `depth` counts them from 1. A version has
//! one pointer for each level `k` with `16^k < depth`: to the latest version before it whose
//! depth is a multiple of `16^k`. Level 0 is therefore the version just before, and a walk of
//! any length takes at most about 30 steps for each factor of 16 in the key's number of versions.
//! A new version's pointers follow from those of the version before it alone.
//!
//! Compaction removes versions without touching the pointers to them: a read at a revision that
//! is still readable never follows one (`chain`).

use super::{LayoutError, take};
use crate::types::{Revision, VersionMeta};

/// Bytes of an encoded revision.
pub(crate) const REVISION_BYTES: usize = 12;
/// Bytes before the pointers.
const FIXED_BYTES: usize = 1 + 8 + 8 + 8 + 8;
/// Each level's pointers skip this many of the level below.
pub(crate) const CHAIN_FANOUT: u64 = 16;
/// Flag: the key was deleted.
const TOMBSTONE: u8 = 1;

/// A version that can be read (not a tombstone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveVersion {
    pub(crate) create_revision: u64,
    pub(crate) version: u64,
    pub(crate) lease: i64,
}

impl LiveVersion {
    /// What the machine sees of it.
    pub(crate) fn meta(self, mod_revision: Revision) -> VersionMeta {
        let Self { create_revision, version, lease } = self;
        VersionMeta { create_revision, mod_revision, version, lease }
    }
}

impl From<&VersionMeta> for LiveVersion {
    fn from(meta: &VersionMeta) -> Self {
        Self { create_revision: meta.create_revision, version: meta.version, lease: meta.lease }
    }
}

/// A version and its place in the key's chain, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionRecord<'a> {
    /// None = a tombstone.
    pub(crate) live: Option<LiveVersion>,
    /// The version's place in the chain, from 1.
    pub(crate) depth: u64,
    pub(crate) pointers: Pointers<'a>,
}

/// A version's pointers, encoded, by level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointers<'a>(&'a [[u8; REVISION_BYTES]]);

impl<'a> Pointers<'a> {
    /// Those of the first version of a key.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(&[]);

    /// Encoded pointers, by level.
    pub(crate) fn new(encoded: &'a [[u8; REVISION_BYTES]]) -> Self {
        Self(encoded)
    }

    /// The pointer of a level.
    pub(crate) fn get(self, level: usize) -> Option<Revision> {
        self.0.get(level).map(decode_revision)
    }

    /// How many levels there are.
    pub(crate) fn levels(self) -> usize {
        self.0.len()
    }
}

/// The number of pointers of a version at `depth`.
pub(crate) fn pointer_count(depth: u64) -> usize {
    match depth {
        0 | 1 => 0,
        _ => (depth - 1).ilog(CHAIN_FANOUT) as usize + 1,
    }
}

/// A revision as bytes in its own order.
pub(crate) fn encode_revision(revision: Revision) -> [u8; REVISION_BYTES] {
    let mut bytes = [0; REVISION_BYTES];
    bytes[..8].copy_from_slice(&revision.main.to_be_bytes());
    bytes[8..].copy_from_slice(&revision.sub.to_be_bytes());
    bytes
}

/// [`encode_revision`] back.
pub(crate) fn decode_revision(bytes: &[u8; REVISION_BYTES]) -> Revision {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    Revision::new(u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

/// Appends a version to a record under construction.
pub(crate) fn encode_version(buffer: &mut Vec<u8>, record: &VersionRecord<'_>) {
    debug_assert_eq!(record.pointers.levels(), pointer_count(record.depth));
    let (flags, live) = match record.live {
        Some(live) => (0, live),
        None => (TOMBSTONE, LiveVersion { create_revision: 0, version: 0, lease: 0 }),
    };
    buffer.push(flags);
    buffer.extend_from_slice(&live.create_revision.to_be_bytes());
    buffer.extend_from_slice(&live.version.to_be_bytes());
    buffer.extend_from_slice(&live.lease.to_be_bytes());
    buffer.extend_from_slice(&record.depth.to_be_bytes());
    buffer.extend_from_slice(record.pointers.0.as_flattened());
}

/// Reads a version off the front of a record; answers the rest too.
pub(crate) fn decode_version(bytes: &[u8]) -> Result<(VersionRecord<'_>, &[u8]), LayoutError> {
    let (fixed, rest) = take::<FIXED_BYTES>(bytes)?;
    let field = |start: usize| -> [u8; 8] {
        let field = fixed[start..].first_chunk::<8>();
        *field.expect("every field lies inside the fixed part")
    };
    let depth = u64::from_be_bytes(field(25));
    if depth == 0 {
        return Err(LayoutError::Field { field: "depth" });
    }
    let live = match fixed[0] {
        0 => Some(LiveVersion {
            create_revision: u64::from_be_bytes(field(1)),
            version: u64::from_be_bytes(field(9)),
            lease: i64::from_be_bytes(field(17)),
        }),
        TOMBSTONE if fixed[1..25] == [0; 24] => None,
        TOMBSTONE => return Err(LayoutError::Field { field: "tombstone" }),
        _ => return Err(LayoutError::Field { field: "flags" }),
    };
    let pointer_bytes = pointer_count(depth) * REVISION_BYTES;
    let (encoded, rest) =
        rest.split_at_checked(pointer_bytes).ok_or(LayoutError::Length { length: bytes.len() })?;
    let (pointers, _nothing) = encoded.as_chunks::<REVISION_BYTES>();
    Ok((VersionRecord { live, depth, pointers: Pointers(pointers) }, rest))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn revisions() -> impl Strategy<Value = Revision> {
        (any::<u64>(), any::<u32>()).prop_map(|(main, sub)| Revision { main, sub })
    }

    pub(in super::super) fn live_versions() -> impl Strategy<Value = LiveVersion> {
        (any::<u64>(), any::<u64>(), any::<i64>()).prop_map(|(create_revision, version, lease)| {
            LiveVersion { create_revision, version, lease }
        })
    }

    /// Depths of every number of levels, with as many pointers as belong to them.
    pub(in super::super) fn chains() -> impl Strategy<Value = (u64, Vec<[u8; REVISION_BYTES]>)> {
        let depths = prop_oneof![1..40u64, 250..260u64, 1..u64::MAX];
        depths.prop_flat_map(|depth| {
            let pointers = prop::collection::vec(any::<[u8; 12]>(), pointer_count(depth));
            (Just(depth), pointers)
        })
    }

    #[test]
    fn there_is_a_pointer_for_each_power_below_the_depth() {
        let expected = [(1, 0), (2, 1), (16, 1), (17, 2), (256, 2), (257, 3), (u64::MAX, 16)];
        for (depth, count) in expected {
            assert_eq!(pointer_count(depth), count, "depth {depth}");
        }
    }

    #[test]
    fn impossible_fields_are_refused() {
        let mut good = Vec::new();
        let record = VersionRecord { live: None, depth: 1, pointers: Pointers::NONE };
        encode_version(&mut good, &record);
        assert!(decode_version(&good).is_ok());

        let mut flags = good.clone();
        flags[0] = 2;
        assert_eq!(decode_version(&flags), Err(LayoutError::Field { field: "flags" }));
        let mut tombstone = good.clone();
        (tombstone[0], tombstone[24]) = (TOMBSTONE, 1);
        let leased = Err(LayoutError::Field { field: "tombstone" });
        assert_eq!(decode_version(&tombstone), leased);
        let mut depth = good.clone();
        depth[32] = 0;
        assert_eq!(decode_version(&depth), Err(LayoutError::Field { field: "depth" }));
        depth[32] = 2;
        assert_eq!(decode_version(&depth), Err(LayoutError::Length { length: 33 }));
        assert_eq!(decode_version(&good[..32]), Err(LayoutError::Length { length: 32 }));
    }

    proptest! {
        #[test]
        fn a_version_survives_the_way_there_and_back(
            live in prop::option::of(live_versions()), (depth, pointers) in chains(),
        ) {
            let record = VersionRecord { live, depth, pointers: Pointers::new(&pointers) };
            let mut bytes = Vec::new();
            encode_version(&mut bytes, &record);
            bytes.push(7);
            prop_assert_eq!(decode_version(&bytes), Ok((record, &[7u8][..])));
        }

        #[test]
        fn encoded_revisions_sort_as_revisions(one in revisions(), other in revisions()) {
            prop_assert_eq!(decode_revision(&encode_revision(one)), one);
            let order = encode_revision(one).cmp(&encode_revision(other));
            prop_assert_eq!(order, one.cmp(&other));
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _outcome = decode_version(&bytes);
        }
    }
}
