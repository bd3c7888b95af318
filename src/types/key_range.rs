//! Ranges of keys, in etcd's convention.

use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// A set of keys: one key, a half-open interval, or everything from a key on.
///
/// `range_end` empty: the one key. `range_end` = `\0`: every key >= `key`. Otherwise
/// `[key, range_end)`, which is empty when `range_end <= key`. A `key` of `\0` with a `range_end`
/// of `\0` is every key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key.
    pub key: Bytes,
    /// The end (exclusive), or empty, or `\0`.
    pub range_end: Bytes,
}

/// The `range_end` that means "to the last key".
const TO_THE_END: &[u8] = &[0];

impl KeyRange {
    /// One key.
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), range_end: Bytes::new() }
    }

    /// `[key, end)`.
    pub fn between(key: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { key: key.into(), range_end: end.into() }
    }

    /// Every key >= `key`.
    pub fn from(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), range_end: Bytes::from_static(TO_THE_END) }
    }

    /// Every key.
    pub fn all() -> Self {
        Self::from(Bytes::from_static(TO_THE_END))
    }

    /// Every key that starts with `prefix`; an empty prefix is every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        if prefix.is_empty() {
            return Self::all();
        }
        let end = prefix_end(&prefix);
        Self { key: prefix, range_end: end }
    }

    /// Whether the range names one key.
    pub fn is_single(&self) -> bool {
        self.range_end.is_empty()
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.is_single() {
            return self.key == key;
        }
        key >= &self.key[..] && (self.range_end == TO_THE_END || key < &self.range_end[..])
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        !self.is_single() && self.range_end != TO_THE_END && self.range_end <= self.key
    }

    /// The range as bounds over byte strings.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = Bound::Included(&self.key[..]);
        if self.is_single() {
            (start, Bound::Included(&self.key[..]))
        } else if self.range_end == TO_THE_END {
            (start, Bound::Unbounded)
        } else if self.range_end <= self.key {
            // An interval that ends before it starts is empty, and must not panic in BTreeMap.
            (start, Bound::Excluded(&self.key[..]))
        } else {
            (start, Bound::Excluded(&self.range_end[..]))
        }
    }

    /// The rest of the range after `last`: where the next page of an answer starts.
    pub fn after(&self, last: &[u8]) -> Self {
        let mut next = BytesMut::with_capacity(last.len() + 1);
        next.put_slice(last);
        next.put_u8(0);
        Self { key: next.freeze(), range_end: self.range_end.clone() }
    }
}

/// The first key after every key with `prefix`, or `\0` ("to the end") when there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    match prefix.iter().rposition(|byte| *byte != u8::MAX) {
        None => Bytes::from_static(TO_THE_END),
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use super::*;

    #[test]
    fn a_prefix_ends_at_the_next_byte_string() {
        assert_eq!(KeyRange::prefix("a").range_end, "b");
        assert_eq!(KeyRange::prefix(&b"a\xff"[..]).range_end, "b");
        assert_eq!(KeyRange::prefix(&b"\xff\xff"[..]).range_end, &[0][..]);
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
    }

    #[test]
    fn a_range_contains_what_its_bounds_contain() {
        let keys: [&[u8]; 6] = [b"\0", b"a", b"a\0", b"b", b"\xff", b"\xff\xff"];
        let ranges = [
            KeyRange::single("a"),
            KeyRange::between("a", "b"),
            KeyRange::between("b", "a"),
            KeyRange::from("b"),
            KeyRange::all(),
            KeyRange::prefix(&b"\xff"[..]),
        ];
        for range in &ranges {
            for key in keys {
                let in_bounds = RangeBounds::<[u8]>::contains(&range.bounds(), key);
                assert_eq!(range.contains(key), in_bounds, "{range:?} {key:?}");
            }
        }
        assert!(KeyRange::between("b", "a").is_empty());
    }
}
