//! A bound on how deep a decoder recurses.
//!
//! A nested transaction is four bytes of encoding, so one request of random bytes could nest them
//! hundreds of thousands deep: decoding it would overflow the stack, which no guard can catch.
//! Decoding stops well beyond what a valid transaction needs, and well before the stack's end.

use std::cell::Cell;

use serde::{Deserialize, Deserializer, de};

use super::limits::TXN_DEPTH_MAX;

/// Deepest nesting that is decoded. Beyond [`TXN_DEPTH_MAX`], so that what is only a little too
/// deep is refused by name rather than as malformed.
const DECODE_DEPTH_MAX: usize = 2 * TXN_DEPTH_MAX;

thread_local! {
    /// How many values the decoder of this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One level of nesting; left when dropped, also by an error or a panic.
struct Level;

impl Level {
    fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < DECODE_DEPTH_MAX).then(|| {
            DEPTH.set(depth + 1);
            Self
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Decodes a value that may contain others of its kind, unless it lies too deep.
pub(super) fn deserialize_nested<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let _level = Level::enter().ok_or_else(|| {
        de::Error::custom(format_args!("nested more than {DECODE_DEPTH_MAX} deep"))
    })?;
    T::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use crate::types::{TxnAnswer, TxnOperation, TxnRequest};

    use super::*;

    /// A transaction with `depth` more inside it, encoded by hand.
    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = [0, 1, 3].repeat(depth);
        bytes.extend([0, 0, 0]);
        bytes.extend(std::iter::repeat_n(0, depth));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<TxnRequest, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    #[test]
    fn a_nested_transaction_decodes_as_it_was_encoded() {
        let mut request = TxnRequest::default();
        for _ in 0..DECODE_DEPTH_MAX {
            request =
                TxnRequest { success: vec![TxnOperation::Txn(request)], ..TxnRequest::default() };
        }
        let bytes = postcard::to_stdvec(&request).unwrap();
        assert_eq!(bytes, nested(DECODE_DEPTH_MAX));
        assert_eq!(decode(&bytes), Ok(request));
    }

    #[test]
    fn nesting_that_would_overflow_the_stack_is_malformed() {
        for depth in [DECODE_DEPTH_MAX + 1, 1_000, 400_000] {
            assert!(decode(&nested(depth)).is_err(), "{depth}");
        }
        assert!(decode(&nested(1)).is_ok(), "a refusal leaves the count where it was");
    }

    #[test]
    fn an_answer_nested_too_deeply_is_malformed() {
        // Revision 0, succeeded, one answer: that of a nested transaction.
        for depth in [DECODE_DEPTH_MAX + 1, 400_000] {
            let mut bytes = [0, 1, 1, 3].repeat(depth);
            bytes.extend([0, 1, 0]);
            assert!(postcard::from_bytes::<TxnAnswer>(&bytes).is_err(), "{depth}");
        }
        assert!(postcard::from_bytes::<TxnAnswer>(&[0, 1, 1, 3, 0, 1, 0]).is_ok());
    }
}
