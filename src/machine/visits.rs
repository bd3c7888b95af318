//! What a walk over keys may cost, and when it ends early.
//!
//! A command has a replicated budget ([`KEYS_VISITED_MAX`]): it is applied on every member, and
//! again at every replay. A read has none, and ends when nobody waits for its answer any more.
//!
//! # What counts
//! Every member must come to the same sum, whatever compaction has got to on its disk. So a key
//! counts when it exists at the revision read, when it was deleted after the last compaction, and
//! when it has a later version: its record is there on every member then. What compaction will
//! remove is passed over without being counted.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::types::OperationError;
use crate::types::limits::{
    DELETE_KEYS_AT_ONCE_MAX, DELETE_STEP_KEYS, DELETES_STAGED_MAX, KEYS_VISITED_MAX,
    VALUE_BYTES_PER_VISIT, VISITS_PER_DELETED_KEY,
};

use super::failure::{Failure, Outcome};
use super::{SessionLimits, SignatureLimits};

/// Keys that a read passes before it looks whether somebody still waits for it.
const KEYS_BETWEEN_LOOKS: u32 = 1_024;

/// The replicated limits of what one command does. Tests alone use others than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyLimits {
    /// See [`KEYS_VISITED_MAX`].
    pub keys_visited_max: u64,
    /// See [`DELETE_KEYS_AT_ONCE_MAX`].
    pub delete_keys_at_once_max: u64,
    /// See [`DELETE_STEP_KEYS`].
    pub delete_step_keys: u64,
    /// See [`DELETES_STAGED_MAX`].
    pub deletes_staged_max: usize,
    /// What is kept for retries.
    pub sessions: SessionLimits,
    /// Of signed requests that stand alone.
    pub signatures: SignatureLimits,
}

impl Default for ApplyLimits {
    fn default() -> Self {
        Self {
            keys_visited_max: KEYS_VISITED_MAX,
            delete_keys_at_once_max: DELETE_KEYS_AT_ONCE_MAX,
            delete_step_keys: DELETE_STEP_KEYS,
            deletes_staged_max: DELETES_STAGED_MAX,
            sessions: SessionLimits::REPLICATED,
            signatures: SignatureLimits::REPLICATED,
        }
    }
}

/// Why a walk ended before its range did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It visited as many keys as it may.
    Spent,
    /// Nobody waits for it.
    Abandoned,
}

/// What is left of a walk's keys, over as many ranges as it has.
pub struct Visits<'a> {
    max: u64,
    left: Cell<u64>,
    is_abandoned: Option<&'a dyn Fn() -> bool>,
    until_look: Cell<u32>,
    ended: Cell<Option<Ended>>,
    stopped_at: RefCell<Option<Bytes>>,
}

impl<'a> Visits<'a> {
    /// As many keys as there are.
    pub fn unlimited() -> Self {
        Self::up_to(u64::MAX)
    }

    /// Up to `max` keys.
    pub fn up_to(max: u64) -> Self {
        Self {
            max,
            left: Cell::new(max),
            is_abandoned: None,
            until_look: Cell::new(KEYS_BETWEEN_LOOKS),
            ended: Cell::new(None),
            stopped_at: RefCell::new(None),
        }
    }

    /// As many keys as there are, until `is_abandoned`, which is asked every thousand keys.
    pub fn until(is_abandoned: &'a dyn Fn() -> bool) -> Self {
        Self { is_abandoned: Some(is_abandoned), ..Self::unlimited() }
    }

    /// A key lies on the way; `counts` as the module's head says. Breaks when the walk must end
    /// before this key.
    pub fn key(&self, key: &[u8], counts: bool) -> ControlFlow<()> {
        self.so_far()?;
        if counts && self.charge(1).is_break() {
            self.stopped_at.replace(Some(Bytes::copy_from_slice(key)));
            return ControlFlow::Break(());
        }
        if let Some(is_abandoned) = self.is_abandoned {
            let until_look = self.until_look.get() - 1;
            self.until_look.set(if until_look == 0 { KEYS_BETWEEN_LOOKS } else { until_look });
            if until_look == 0 && is_abandoned() {
                self.ended.set(Some(Ended::Abandoned));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes `visits` off, or ends the walk.
    fn charge(&self, visits: u64) -> ControlFlow<()> {
        match self.left.get().checked_sub(visits) {
            Some(left) => {
                self.left.set(left);
                ControlFlow::Continue(())
            }
            None => {
                self.ended.set(Some(Ended::Spent));
                ControlFlow::Break(())
            }
        }
    }

    /// A value of so many bytes was read on the way.
    pub(super) fn value(&self, bytes: usize) {
        // What it exceeds ends the walk at the next key, and is refused by `check`.
        let _ends_later = self.charge((bytes / VALUE_BYTES_PER_VISIT) as u64);
    }

    /// Breaks when the walk must end.
    pub(super) fn so_far(&self) -> ControlFlow<()> {
        match self.ended.get() {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    }

    /// `keys` were deleted.
    pub(super) fn deleted(&self, keys: u64) -> Result<(), OperationError> {
        match self.charge(keys.saturating_mul(VISITS_PER_DELETED_KEY)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.refusal()),
        }
    }

    /// The first key that was too many; none of a walk that got to its end.
    pub(super) fn stopped_at(&self) -> Option<Bytes> {
        self.stopped_at.borrow().clone()
    }

    /// Whether the walk ended because it visited as many keys as it may.
    pub(super) fn is_spent(&self) -> bool {
        self.ended.get() == Some(Ended::Spent)
    }

    /// Whether the walk got to its end.
    pub(super) fn check<E>(&self) -> Outcome<(), E> {
        match self.ended.get() {
            None => Ok(()),
            Some(Ended::Spent) => Err(Failure::Refused(self.refusal())),
            Some(Ended::Abandoned) => Err(Failure::Abandoned),
        }
    }

    fn refusal(&self) -> OperationError {
        OperationError::TooManyKeysVisited { max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(visits: &Visits<'_>) -> Outcome<(), std::convert::Infallible> {
        visits.check()
    }

    #[test]
    fn what_does_not_count_is_passed_and_the_budget_is_used_up_to_its_last_key() {
        let visits = Visits::up_to(2);
        assert!(visits.key(b"k", true).is_continue());
        assert!(visits.key(b"k", false).is_continue());
        assert!(visits.key(b"k", true).is_continue());
        assert!(visits.key(b"k", false).is_continue());
        assert!(check(&visits).is_ok());
        assert!(visits.key(b"k", true).is_break());
        assert!(visits.key(b"k", false).is_break(), "what has ended stays so");
        let refused = Err(OperationError::TooManyKeysVisited { max: 2 });
        assert_eq!(super::super::failure::settle(check(&visits)), Ok(Some(refused)));
    }

    #[test]
    fn long_values_and_deleted_keys_count_more() {
        let visits = Visits::up_to(2 + VISITS_PER_DELETED_KEY);
        visits.value(VALUE_BYTES_PER_VISIT - 1);
        visits.value(2 * VALUE_BYTES_PER_VISIT);
        assert_eq!(visits.deleted(1), Ok(()));
        assert!(visits.deleted(1).is_err());
    }

    #[test]
    fn a_read_that_nobody_waits_for_ends_within_a_thousand_keys() {
        let abandoned = Cell::new(false);
        let is_abandoned = || abandoned.get();
        let visits = Visits::until(&is_abandoned);
        for _ in 0..10_000 {
            assert!(visits.key(b"k", true).is_continue());
        }
        abandoned.set(true);
        let passed = (0..).take_while(|_| visits.key(b"k", false).is_continue()).count();
        assert!(passed < KEYS_BETWEEN_LOOKS as usize, "{passed}");
        assert!(matches!(check(&visits), Err(Failure::Abandoned)));
    }
}
