//! The `history` table: every version of every key that is not compacted, by revision, with its
//! value.
//!
//! ```text
//! key:   [revision]
//! value: [version, see `version`][key length: u16][key][value to the end]
//! ```
//!
//! A tombstone has no value.

use super::LayoutError;
use super::take;
use super::version::{VersionRecord, decode_version, encode_version};

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryRecord<'a> {
    pub(crate) version: VersionRecord<'a>,
    /// The user's key.
    pub(crate) key: &'a [u8],
    /// The value; empty in a tombstone.
    pub(crate) value: &'a [u8],
}

/// Writes a record into `buffer`, in place of what is there.
pub(crate) fn encode_history_record(buffer: &mut Vec<u8>, record: &HistoryRecord<'_>) {
    let key_bytes = u16::try_from(record.key.len()).expect("keys are checked before the log");
    buffer.clear();
    encode_version(buffer, &record.version);
    buffer.extend_from_slice(&key_bytes.to_be_bytes());
    buffer.extend_from_slice(record.key);
    buffer.extend_from_slice(record.value);
}

/// [`encode_history_record`] back, in place.
pub(crate) fn decode_history_record(bytes: &[u8]) -> Result<HistoryRecord<'_>, LayoutError> {
    let (version, rest) = decode_version(bytes)?;
    let (key_bytes, rest) = take::<2>(rest)?;
    let (key, value) = rest
        .split_at_checked(u16::from_be_bytes(*key_bytes).into())
        .ok_or(LayoutError::Length { length: bytes.len() })?;
    if version.live.is_none() && !value.is_empty() {
        return Err(LayoutError::Length { length: bytes.len() });
    }
    Ok(HistoryRecord { version, key, value })
}

const _: () = assert!(crate::types::limits::KEY_BYTES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::version::tests::{chains, live_versions};
    use super::super::version::{LiveVersion, Pointers};
    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let live = LiveVersion { create_revision: 5, version: 1, lease: 3 };
        let put = HistoryRecord {
            version: VersionRecord { live: Some(live), depth: 1, pointers: Pointers::NONE },
            key: b"key",
            value: b"value",
        };
        let mut bytes = vec![9];
        encode_history_record(&mut bytes, &put);
        let expected = [
            &[0][..],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 3],
            b"keyvalue",
        ];
        assert_eq!(bytes, expected.concat());
    }

    proptest! {
        #[test]
        fn a_record_survives_the_way_there_and_back(
            live in prop::option::of(live_versions()),
            (depth, pointers) in chains(),
            key in prop::collection::vec(any::<u8>(), 0..300),
            value in any::<Vec<u8>>(),
        ) {
            let version = VersionRecord { live, depth, pointers: Pointers::new(&pointers) };
            let value = if live.is_some() { value } else { Vec::new() };
            let record = HistoryRecord { version, key: &key, value: &value };
            let mut bytes = Vec::new();
            encode_history_record(&mut bytes, &record);
            prop_assert_eq!(decode_history_record(&bytes), Ok(record));
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _outcome = decode_history_record(&bytes);
        }
    }
}
