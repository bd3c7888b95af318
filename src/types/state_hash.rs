//! The name of a state, by everything that ever changed it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A rolling hash over the changes that led to a state, each with its table, key, value and
/// revision. Two members at the same applied entry hold the same state only if theirs are equal.
///
/// It is made of what applying the log *did*, not of the commands in it: a member that decided
/// something otherwise has another hash from there on. It finds faults, not forgers: the function
/// behind it is fast and not cryptographic.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateHash(pub [u8; 16]);

impl StateHash {
    /// That of an empty store, before the first entry.
    pub const EMPTY: Self = Self([0; 16]);
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_in_hexadecimal_and_sixteen_bytes() {
        let hash = StateHash([0xab; 16]);
        assert_eq!(hash.to_string(), "ab".repeat(16));
        assert_eq!(postcard::to_stdvec(&hash).expect("encodable"), [0xab; 16]);
    }
}
