//! The `keys` table: a user's key to the newest version of it, so that a range never touches a
//! value it does not answer.
//!
//! ```text
//! key:   the user's key
//! value: [revision][version, see `version`]
//! ```
//!
//! A deleted key keeps its record, a tombstone, until compaction removes it.

use super::version::{REVISION_BYTES, VersionRecord, decode_revision, decode_version};
use super::version::{encode_revision, encode_version};
use super::{LayoutError, take};
use crate::types::Revision;

/// The newest version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyRecord<'a> {
    /// The change that made it.
    pub(crate) revision: Revision,
    pub(crate) version: VersionRecord<'a>,
}

/// Writes a record into `buffer`, in place of what is there.
pub(crate) fn encode_key_record(buffer: &mut Vec<u8>, record: &KeyRecord<'_>) {
    buffer.clear();
    buffer.extend_from_slice(&encode_revision(record.revision));
    encode_version(buffer, &record.version);
}

/// [`encode_key_record`] back, in place.
pub(crate) fn decode_key_record(bytes: &[u8]) -> Result<KeyRecord<'_>, LayoutError> {
    let (revision, rest) = take::<REVISION_BYTES>(bytes)?;
    match decode_version(rest)? {
        (version, []) => Ok(KeyRecord { revision: decode_revision(revision), version }),
        _ => Err(LayoutError::Length { length: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::version::tests::{chains, live_versions, revisions};
    use super::super::version::{LiveVersion, Pointers};
    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let pointers = [encode_revision(Revision::new(0x0102, 3))];
        let live = LiveVersion { create_revision: 5, version: 2, lease: -1 };
        let record = KeyRecord {
            revision: Revision::new(0x0a0b, 1),
            version: VersionRecord {
                live: Some(live),
                depth: 2,
                pointers: Pointers::new(&pointers),
            },
        };
        let mut bytes = vec![9];
        encode_key_record(&mut bytes, &record);
        let expected = [
            &[0, 0, 0, 0, 0, 0, 0x0a, 0x0b, 0, 0, 0, 1, 0][..],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0xff; 8],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3],
        ];
        assert_eq!(bytes, expected.concat());
    }

    proptest! {
        #[test]
        fn a_record_survives_the_way_there_and_back(
            revision in revisions(),
            live in prop::option::of(live_versions()),
            (depth, pointers) in chains(),
        ) {
            let version = VersionRecord { live, depth, pointers: Pointers::new(&pointers) };
            let record = KeyRecord { revision, version };
            let mut bytes = Vec::new();
            encode_key_record(&mut bytes, &record);
            prop_assert_eq!(decode_key_record(&bytes), Ok(record));
            bytes.push(0);
            prop_assert!(decode_key_record(&bytes).is_err());
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _outcome = decode_key_record(&bytes);
        }
    }
}
