//! Mutations are taken once: the memory of signatures that were seen.
//!
//! A request is good for [`SKEW_SECONDS_MAX`] seconds after its date. Until then its signature is
//! remembered, by the minute of its date, and refused when it comes again. What must stay true:
//! - Nothing is forgotten before it could no longer be let in anyway.
//! - When as much is remembered as may be, mutations are refused rather than let in unremembered.
//! - What this process does not remember, because it had not started, it refuses by its date.
//!
//! Two clients that send the same mutation in the same second, or one that means it twice, sign a
//! `x-chainfire-nonce` header; that makes two signatures.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::error::AuthError;
use super::verify::{SKEW_SECONDS_MAX, Verified};
use super::{AmzDate, Signature};

/// Most signatures remembered: 2,300 mutations a second for as long as they are good for, in about
/// 40 MB.
pub const REMEMBERED_MAX: usize = 2 * 1_024 * 1_024;

/// Seconds of dates whose signatures are remembered and forgotten together.
const BUCKET_SECONDS: u64 = 60;

/// See the module. One for each node.
#[derive(Debug)]
pub struct ReplayGuard {
    started: AmzDate,
    max: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Prefixes of signatures, by the minute of their date.
    buckets: BTreeMap<u64, HashSet<u64>>,
    count: usize,
    /// The latest time at which anything was forgotten: older dates are not let in any more, also
    /// when the clock is set back.
    forgotten_before: u64,
}

impl ReplayGuard {
    /// Remembers from `started` on, at most `max` signatures.
    pub fn new(started: AmzDate, max: usize) -> Self {
        Self { started, max, seen: Mutex::default() }
    }

    /// Lets a verified mutation in once.
    ///
    /// # Errors
    /// [`AuthError::RequestReplayed`]; [`AuthError::SlowDown`] when the memory is full.
    pub fn admit(&self, mutation: &Verified, now: AmzDate) -> Result<(), AuthError> {
        self.admit_signature(mutation.signature(), mutation.date(), now)
    }

    /// As [`admit`](Self::admit), of the parts.
    pub(super) fn admit_signature(
        &self,
        signature: Signature,
        date: AmzDate,
        now: AmzDate,
    ) -> Result<(), AuthError> {
        // Dates have whole seconds: one of the second in which the node started may be from
        // before.
        if date <= self.started {
            return Err(AuthError::RequestReplayed {
                reason: "it is dated before this node started; sign it again",
            });
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(now.unix_seconds());
        let bucket = date.unix_seconds() / BUCKET_SECONDS;
        if bucket < seen.forgotten_before {
            return Err(AuthError::RequestReplayed {
                reason: "its date is no longer remembered; sign it again",
            });
        }
        let prefix = *signature.0.first_chunk().expect("a signature has 32 bytes");
        let prefix = u64::from_be_bytes(prefix);
        if seen.buckets.get(&bucket).is_some_and(|bucket| bucket.contains(&prefix)) {
            return Err(AuthError::RequestReplayed {
                reason: "it was sent before; sign it again, with a x-chainfire-nonce header if \
                         it is meant twice",
            });
        }
        if seen.count >= self.max {
            return Err(AuthError::SlowDown { max: self.max });
        }
        seen.buckets.entry(bucket).or_default().insert(prefix);
        seen.count += 1;
        Ok(())
    }

    /// How many signatures are remembered.
    pub fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Seen {
    /// Forgets the minutes whose last second is too old to be let in.
    fn forget(&mut self, now: u64) {
        let oldest = now.saturating_sub(SKEW_SECONDS_MAX) / BUCKET_SECONDS;
        if oldest <= self.forgotten_before {
            return;
        }
        let kept = self.buckets.split_off(&oldest);
        self.buckets = kept;
        self.count = self.buckets.values().map(HashSet::len).sum();
        self.forgotten_before = oldest;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> AmzDate {
        AmzDate::from_unix(Duration::from_secs(seconds))
    }

    fn signature(number: u64) -> Signature {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Signature(bytes)
    }

    const START: u64 = 1_800_000_000;

    fn guard(max: usize) -> ReplayGuard {
        ReplayGuard::new(at(START), max)
    }

    fn replayed(outcome: Result<(), AuthError>) -> bool {
        matches!(outcome, Err(AuthError::RequestReplayed { .. }))
    }

    #[test]
    fn a_signature_is_let_in_once_for_as_long_as_it_is_good() {
        let guard = guard(100);
        let dated = at(START + 1_000);
        for early in [0, SKEW_SECONDS_MAX] {
            let first = at(START + 1_000 - early);
            let signature = signature(early);
            assert_eq!(guard.admit_signature(signature, dated, first), Ok(()));
            for later in 0..=early + SKEW_SECONDS_MAX {
                let now = at(first.unix_seconds() + later);
                assert!(replayed(guard.admit_signature(signature, dated, now)), "{later}");
            }
        }
    }

    #[test]
    fn a_mutation_dated_before_the_start_is_refused() {
        let guard = guard(100);
        for before in 0..=SKEW_SECONDS_MAX {
            assert!(replayed(guard.admit_signature(signature(1), at(START - before), at(START))));
        }
        assert_eq!(guard.admit_signature(signature(1), at(START + 1), at(START)), Ok(()));
    }

    #[test]
    fn a_full_memory_refuses_and_forgets_nothing_early() {
        let guard = guard(3);
        let dated = at(START + 60);
        for number in 0..3 {
            assert_eq!(guard.admit_signature(signature(number), dated, dated), Ok(()));
        }
        let full = guard.admit_signature(signature(9), dated, dated);
        assert_eq!(full, Err(AuthError::SlowDown { max: 3 }));
        assert!(replayed(guard.admit_signature(signature(0), dated, dated)));
        let later = at(START + 60 + SKEW_SECONDS_MAX + BUCKET_SECONDS);
        assert_eq!(guard.admit_signature(signature(9), later, later), Ok(()));
        assert_eq!(guard.len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_bring_a_forgotten_signature_back() {
        let guard = guard(100);
        let dated = at(START + 60);
        assert_eq!(guard.admit_signature(signature(1), dated, dated), Ok(()));
        let later = at(START + 10_000);
        assert_eq!(guard.admit_signature(signature(2), later, later), Ok(()));
        assert!(replayed(guard.admit_signature(signature(1), dated, dated)));
    }
}
