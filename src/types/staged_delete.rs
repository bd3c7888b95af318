//! A delete of many keys, while it is written in steps.
//!
//! From the moment it is applied, every read at or above its revision takes each key of its range
//! whose visible version is older for deleted. Steps turn that into tombstones, key by key, all at
//! the delete's revision; the last one takes the record away. Nobody can tell when that happens.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{KeyRange, RequestName};

/// One delete that is visible and not written out yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedDelete {
    /// The main revision of all of it.
    pub revision: u64,
    /// The keys deleted.
    pub range: KeyRange,
    /// The first key that no step has looked at. Keys below it are written out.
    pub cursor: Bytes,
    /// How many keys below the cursor the delete has deleted.
    pub deleted: u64,
    /// The sub-revision of the next tombstone.
    pub next_sub: u32,
    /// Whose answer waits for the end; none for what the cluster deletes itself.
    pub request_id: Option<RequestName>,
}

impl StagedDelete {
    /// Whether a read at main revision `at`, which finds a version of `key` made at main revision
    /// `main`, has to take it for deleted.
    pub fn covers(&self, key: &[u8], main: u64, at: u64) -> bool {
        main < self.revision && self.revision <= at && self.range.contains(key)
    }

    /// What is left to look at.
    pub fn rest(&self) -> KeyRange {
        KeyRange { key: self.cursor.clone(), range_end: self.range.range_end.clone() }
    }
}

/// The delete that took a version made at main revision `main` away, as seen at `at`: the first
/// after it. `deletes` are in the order of their revisions.
pub fn covering<'a>(
    deletes: &'a [StagedDelete],
    key: &[u8],
    main: u64,
    at: u64,
) -> Option<&'a StagedDelete> {
    deletes.iter().find(|delete| delete.covers(key, main, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(revision: u64, prefix: &'static str) -> StagedDelete {
        let range = KeyRange::prefix(prefix);
        let cursor = range.key.clone();
        StagedDelete { revision, range, cursor, deleted: 0, next_sub: 0, request_id: None }
    }

    #[test]
    fn the_first_delete_after_a_version_is_the_one_that_took_it() {
        let deletes = [delete(5, "a"), delete(7, "ab")];
        let found = |key: &str, main, at| {
            covering(&deletes, key.as_bytes(), main, at).map(|delete| delete.revision)
        };
        assert_eq!(found("ab", 4, 9), Some(5));
        assert_eq!(found("ab", 6, 9), Some(7));
        assert_eq!(found("ac", 6, 9), None, "outside of the second");
        assert_eq!(found("ab", 4, 4), None, "read before either");
        assert_eq!(found("ab", 6, 6), None, "read between the two");
        assert_eq!(found("ab", 7, 9), None, "written by the second itself");
        assert_eq!(found("b", 1, 9), None);
    }
}
