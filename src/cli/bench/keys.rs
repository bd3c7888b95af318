//! The keys of a benchmark: `bench/` and a number, zero-padded to the length asked for.
//!
//! The same number is the same key in every workload, so what `load` stored is what `get` reads.

use std::io::Write;

use bytes::Bytes;

/// What every key begins with.
const PREFIX: &str = "bench/";

/// The length of a key, in bytes, unless told.
pub(super) const KEY_BYTES_DEFAULT: usize = 24;

/// A number of keys, all of one length.
#[derive(Clone, Debug)]
pub(super) struct KeySpace {
    count: u64,
    digits: usize,
}

impl KeySpace {
    /// `count` keys of `key_bytes` bytes each, if they can be told apart.
    pub(super) fn new(count: u64, key_bytes: usize) -> Result<Self, String> {
        let needed = PREFIX.len() + (count - 1).to_string().len();
        if key_bytes < needed {
            return Err(format!(
                "{count} keys need {needed} bytes each; give --key-size {needed} or more"
            ));
        }
        Ok(Self { count, digits: key_bytes - PREFIX.len() })
    }

    /// How many keys there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The key of a number below the count.
    pub(super) fn key(&self, number: u64) -> Bytes {
        let mut key = Vec::with_capacity(PREFIX.len() + self.digits);
        write!(key, "{PREFIX}{number:0digits$}", digits = self.digits)
            .expect("a vector takes every byte");
        key.into()
    }

    /// Any key.
    pub(super) fn random(&self) -> Bytes {
        self.key(rand::random_range(0..self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_length_asked_for_and_are_in_order() {
        let keys = KeySpace::new(1_000, 24).expect("long enough");
        assert_eq!(keys.key(7), "bench/000000000000000007");
        assert!(keys.key(9) < keys.key(10));
        assert_eq!(keys.random().len(), 24);
    }

    #[test]
    fn keys_that_would_coincide_are_refused() {
        assert_eq!(KeySpace::new(10, 7).expect("just enough").key(9), "bench/9");
        let error = KeySpace::new(11, 7).expect_err("two digits");
        assert!(error.contains("--key-size 8"), "{error}");
    }
}
