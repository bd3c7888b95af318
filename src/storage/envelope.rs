//! The wrapping of every small record we put on a disk: a version, a checksum, a body.
//!
//! ```text
//! [version: u8][crc32: u32 little-endian, over version and body][body: postcard]
//! ```
//!
//! The checksum is looked at first and covers the version, so a flipped bit is always called
//! corruption and never mistaken for a newer release; a version above the newest known, with a
//! checksum that fits, was written by one. Every later version keeps these five bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes before the body.
pub(crate) const ENVELOPE_BYTES: usize = 5;

/// Why an envelope does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// Fewer bytes than every record has.
    #[error("it is cut off at {length} bytes")]
    CutOff {
        /// The bytes there are.
        length: usize,
    },
    /// The bytes are not those that were written.
    #[error("its checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// The checksum stored.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Whole, and written by a newer release.
    #[error("its format {found} is newer than {newest}")]
    NewerVersion {
        /// The version found.
        found: u8,
        /// The newest version this release reads.
        newest: u8,
    },
    /// Whole, and not what belongs here.
    #[error("it is malformed")]
    Malformed,
}

/// Writes `value` at the end of `buffer`, wrapped as `version`.
pub(crate) fn seal_into<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, version: u8, value: &T) {
    let start = buffer.len();
    buffer.extend_from_slice(&[version, 0, 0, 0, 0]);
    let mut whole = postcard::to_extend(value, std::mem::take(buffer))
        .expect("a vector takes every byte and no field refuses to be serialised");
    let checksum = checksum(version, &whole[start + ENVELOPE_BYTES..]);
    whole[start + 1..start + ENVELOPE_BYTES].copy_from_slice(&checksum.to_le_bytes());
    *buffer = whole;
}

/// [`seal_into`] a buffer of its own.
pub(crate) fn seal<T: Serialize + ?Sized>(version: u8, value: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    seal_into(&mut buffer, version, value);
    buffer
}

/// Checks an envelope of any version and gives its version and body.
pub(crate) fn unwrap_body(newest: u8, bytes: &[u8]) -> Result<(u8, &[u8]), EnvelopeError> {
    let Some((header, body)) = bytes.split_first_chunk::<ENVELOPE_BYTES>() else {
        return Err(EnvelopeError::CutOff { length: bytes.len() });
    };
    let [version, stored @ ..] = *header;
    let (found, computed) = (u32::from_le_bytes(stored), checksum(version, body));
    if found != computed {
        return Err(EnvelopeError::Checksum { found, computed });
    }
    match version {
        0 => Err(EnvelopeError::Malformed),
        found if found > newest => Err(EnvelopeError::NewerVersion { found, newest }),
        version => Ok((version, body)),
    }
}

/// Reads a record of the one version there is so far back. Trailing bytes are an error.
pub(crate) fn unseal<T: DeserializeOwned>(newest: u8, bytes: &[u8]) -> Result<T, EnvelopeError> {
    let (_, body) = unwrap_body(newest, bytes)?;
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(EnvelopeError::Malformed),
    }
}

pub(crate) fn checksum(version: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_of_an_envelope_are_pinned() {
        assert_eq!(seal(1, &(300u64, "a")), [1, 0xF1, 0xCC, 0xD5, 0xDC, 0xAC, 2, 1, b'a']);
    }

    #[test]
    fn a_newer_version_is_told_apart_from_corruption() {
        let newer = seal(9, "x");
        assert_eq!(
            unseal::<String>(2, &newer),
            Err(EnvelopeError::NewerVersion { found: 9, newest: 2 })
        );
    }

    #[test]
    fn trailing_bytes_under_a_right_checksum_are_malformed() {
        let long = seal(1, &(7u8, 8u8));
        assert_eq!(unseal::<u8>(1, &long), Err(EnvelopeError::Malformed));
    }

    proptest! {
        #[test]
        fn every_value_survives_the_way_there_and_back(value in any::<(u64, Vec<u8>, String)>()) {
            prop_assert_eq!(unseal::<(u64, Vec<u8>, String)>(1, &seal(1, &value)), Ok(value));
        }

        #[test]
        fn every_flipped_bit_is_a_checksum_error(
            value in any::<(u64, Vec<u8>)>(), bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = seal(1, &value);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let outcome = unseal::<(u64, Vec<u8>)>(1, &bytes);
            prop_assert!(matches!(outcome, Err(EnvelopeError::Checksum { .. })), "{outcome:?}");
        }

        #[test]
        fn random_bytes_never_open(bytes in any::<Vec<u8>>()) {
            prop_assert!(unseal::<Vec<u8>>(1, &bytes).is_err());
        }
    }
}
