//! The bytes of requests and answers that are in memory at one time.
//!
//! A body takes its bytes before it is read, and finds none left rather than wait. An answer takes
//! what it has, also beyond the limit, since what was done cannot be refused any more; then the
//! next requests are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    max: usize,
    used: Arc<AtomicUsize>,
}

/// Bytes that are taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The bytes of an answer with what they take.
struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self { max, used: Arc::default() }
    }

    /// Takes `bytes`; none when they are not there.
    pub(super) fn take(&self, bytes: usize) -> Option<Held> {
        let within = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).ok()?;
        Some(Held { used: Arc::clone(&self.used), bytes })
    }

    /// The same bytes, counted until the last holder of them is gone.
    pub(super) fn hold(&self, bytes: Bytes) -> Bytes {
        self.used.fetch_add(bytes.len(), Ordering::AcqRel);
        let held = Held { used: Arc::clone(&self.used), bytes: bytes.len() };
        Bytes::from_owner(HeldBytes { bytes, _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_refused_beyond_the_limit_and_answers_are_counted_until_they_are_gone() {
        let memory = Memory::new(10);
        let body = memory.take(6).expect("room");
        assert!(memory.take(5).is_none());
        drop(body);
        let answer = memory.hold(Bytes::from_static(b"twelve bytes"));
        let (copy, part) = (answer.clone(), answer.slice(0..3));
        assert!(memory.take(1).is_none(), "beyond the limit");
        drop((answer, copy));
        assert!(memory.take(1).is_none(), "a part holds the whole");
        drop(part);
        assert!(memory.take(10).is_some());
    }
}
