//! Values to bytes and back, in postcard.
//!
//! Decoding refuses trailing bytes, so that two byte strings never mean the same message. It also
//! survives a panic: a library's `Deserialize` that panics on some input (tarpc's own context
//! does, on a deadline beyond the clock's range) must cost one connection and not its process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{BufMut, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not a message, or a message has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not a message of this type.
    #[error("the message is malformed: {reason}")]
    Malformed {
        /// What postcard says of it.
        reason: postcard::Error,
    },
    /// A message, and then something else.
    #[error("{bytes} bytes follow the message")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// A decoder panicked.
    #[error("the message made a decoder panic")]
    DecoderPanicked,
    /// A value refused to be encoded.
    #[error("the message could not be encoded: {reason}")]
    Unencodable {
        /// What postcard says of it.
        reason: postcard::Error,
    },
}

/// Appends the encoding of `value` to `out`. After an error `out` may hold a part of it.
pub(super) fn encode_into<T: Serialize>(value: &T, out: &mut BytesMut) -> Result<(), CodecError> {
    postcard::serialize_with_flavor(value, Appender(out))
        .map_err(|reason| CodecError::Unencodable { reason })
}

/// Reads one value that fills `bytes` exactly.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let decoded = catch_unwind(AssertUnwindSafe(|| postcard::take_from_bytes::<T>(bytes)));
    match decoded {
        Err(_panic) => Err(CodecError::DecoderPanicked),
        Ok(Err(reason)) => Err(CodecError::Malformed { reason }),
        Ok(Ok((value, []))) => Ok(value),
        Ok(Ok((_, rest))) => Err(CodecError::TrailingBytes { bytes: rest.len() }),
    }
}

/// Lets postcard append to the buffer of the frame, slice by slice.
struct Appender<'out>(&'out mut BytesMut);

impl Flavor for Appender<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.put_u8(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Deserializer};

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let value = (7_u64, "text".to_owned(), bytes::Bytes::from_static(b"bytes"));
        let mut out = BytesMut::from(&b"before"[..]);
        encode_into(&value, &mut out).expect("encodable");
        assert_eq!(&out[..6], b"before");
        assert_eq!(decode(&out[6..]), Ok(value));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(decode::<u8>(&[1, 2, 3]), Err(CodecError::TrailingBytes { bytes: 2 }));
    }

    #[test]
    fn a_cut_message_is_refused() {
        assert!(matches!(decode::<String>(&[5, b'a']), Err(CodecError::Malformed { .. })));
        assert!(matches!(decode::<u8>(&[]), Err(CodecError::Malformed { .. })));
    }

    #[test]
    fn an_announced_length_costs_no_memory() {
        // A vector of 2^60 elements, and no element.
        let bytes = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(CodecError::Malformed { .. })));
    }

    #[test]
    fn a_panicking_decoder_is_an_error() {
        #[derive(Debug, PartialEq)]
        struct Panics;
        impl<'de> Deserialize<'de> for Panics {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("a decoder's bug");
            }
        }
        assert_eq!(decode::<Panics>(&[0]), Err(CodecError::DecoderPanicked));
    }
}
