//! What a request asks, in eight bytes: two requests under one name must have the same.
//!
//! It is computed at every apply, so it is a fast hash and no cryptographic one. That is enough: the
//! names of a user's writes are its own (they are hashed with the user's name before they enter the
//! log), so whoever finds two operations of one fingerprint deceives only itself. Every member must
//! come to the same, of every release: a change is a change of the command format.

use bytes::Bytes;
use postcard::ser_flavors::Flavor;

use crate::types::{AccessKey, AccessOperation, Command, Operation};

/// Odd numbers without a pattern, as multipliers.
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// Of who asks and of what.
pub(super) fn fingerprint(command: &Command) -> u64 {
    let principal = command.principal.0.as_str();
    match &command.operation {
        // A node draws the key anew for each attempt; what was asked for is a key of this user.
        Operation::Access(AccessOperation::CreateKey(key)) => {
            let key = AccessKey {
                id: String::new(),
                user: key.user.clone(),
                version: 0,
                active: true,
                sealed_secret: Bytes::new(),
            };
            of(&(principal, &Operation::Access(AccessOperation::CreateKey(key))))
        }
        operation => of(&(principal, operation)),
    }
}

fn of(asked: &impl serde::Serialize) -> u64 {
    postcard::serialize_with_flavor(asked, Mixer::default())
        .expect("a mixer takes every byte and no field refuses to be serialised")
}

/// Takes bytes in words of eight, wherever they are cut, and folds each in by a multiplication.
#[derive(Default)]
struct Mixer {
    state: u64,
    /// Bytes that make no whole word yet.
    pending: [u8; 8],
    /// How many there were in all.
    bytes: usize,
}

impl Mixer {
    fn absorb(&mut self, word: u64) {
        self.state = fold(self.state ^ word ^ MULTIPLIERS[1], MULTIPLIERS[0]);
    }
}

/// The two halves of a product, laid over one another.
fn fold(left: u64, right: u64) -> u64 {
    let [low, high] = {
        let product = u128::from(left) * u128::from(right);
        [product, product >> 64].map(|half| half & u128::from(u64::MAX))
    };
    u64::try_from(low ^ high).unwrap_or_default()
}

impl Flavor for Mixer {
    type Output = u64;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.pending[self.bytes % 8] = byte;
        self.bytes += 1;
        if self.bytes.is_multiple_of(8) {
            self.absorb(u64::from_le_bytes(self.pending));
        }
        Ok(())
    }

    fn try_extend(&mut self, mut bytes: &[u8]) -> postcard::Result<()> {
        while !self.bytes.is_multiple_of(8) {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            self.try_push(*first)?;
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.absorb(u64::from_le_bytes(*word));
        }
        self.bytes += words.len() * 8;
        rest.iter().try_for_each(|byte| self.try_push(*byte))
    }

    fn finalize(mut self) -> postcard::Result<u64> {
        let mut last = [0; 8];
        let pending = self.bytes % 8;
        last[..pending].copy_from_slice(&self.pending[..pending]);
        self.absorb(u64::from_le_bytes(last));
        // The number of bytes tells what ends with zeros from what is shorter.
        self.absorb(self.bytes as u64);
        Ok(fold(self.state, MULTIPLIERS[1]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::types::{CompactRequest, Principal, PutRequest};

    fn command(user: &str, operation: Operation) -> Command {
        Command {
            request_id: None,
            principal: Principal(user.to_owned()),
            auth_revision: 0,
            leader_time_ms: 0,
            operation,
        }
    }

    fn put(key: &str, value: &[u8]) -> Operation {
        let value = Bytes::copy_from_slice(value);
        Operation::Put(PutRequest { key: key.to_owned().into(), value, ..PutRequest::default() })
    }

    #[test]
    fn it_is_the_same_on_every_member_of_every_release() {
        let of = |operation| fingerprint(&command("ann", operation));
        let compact = Operation::Compact(CompactRequest { revision: 7 });
        let found = [of(put("key", b"value")), of(compact), of(put("", &[7; 300]))];
        assert_eq!(found.map(|found| format!("{found:016x}")), PINNED);
    }

    const PINNED: [&str; 3] = ["8d80bd7858e79772", "0475afac387dbb3b", "4cd01a8bb09db280"];

    #[test]
    fn another_operation_or_user_has_another() {
        let mut seen = HashSet::new();
        for length in 0..64 {
            for byte in [0, 1, 255] {
                let mut value = vec![0; length];
                if let Some(last) = value.last_mut() {
                    *last = byte;
                }
                if value.is_empty() && byte > 0 {
                    continue;
                }
                for user in ["ann", "bob"] {
                    for key in ["k", "l"] {
                        let command = command(user, put(key, &value));
                        assert!(seen.insert(fingerprint(&command)), "{user} {key} {value:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn it_does_not_depend_on_how_the_bytes_come() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = {
            let mut mixer = Mixer::default();
            mixer.try_extend(&bytes).expect("taken");
            mixer.finalize().expect("ends")
        };
        for cut in 0..bytes.len() {
            let mut mixer = Mixer::default();
            mixer.try_extend(&bytes[..cut]).expect("taken");
            mixer.try_push(bytes[cut]).expect("taken");
            mixer.try_extend(&bytes[cut + 1..]).expect("taken");
            assert_eq!(mixer.finalize(), Ok(whole), "{cut}");
        }
    }

    #[test]
    fn a_key_that_is_drawn_anew_is_the_same_request() {
        let key = |id: &str, user: &str| {
            Operation::Access(AccessOperation::CreateKey(AccessKey {
                id: id.to_owned(),
                user: user.to_owned(),
                version: 1,
                active: true,
                sealed_secret: id.to_owned().into(),
            }))
        };
        let of = |operation| fingerprint(&command("root", operation));
        assert_eq!(of(key("K1", "ann")), of(key("K2", "ann")));
        assert_ne!(of(key("K1", "ann")), of(key("K1", "bob")));
    }
}
