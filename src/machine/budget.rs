//! The bytes one answer may have.
//!
//! No answer is built beyond its budget: that is what keeps a range over the whole store from
//! exhausting a node's memory. A plain read is cut where the budget ends and says so (`more`), and
//! the client reads on from there. A transaction is not cut: its answers were asked for as a
//! whole, so one that does not fit is refused before anything is applied.

use bytes::Bytes;

use crate::types::limits::{ANSWER_BYTES_MAX, PAIR_OVERHEAD_BYTES, TXN_ANSWER_BYTES_MAX};
use crate::types::{KeyValue, OperationError, VersionMeta};

use super::visits::{ApplyLimits, Visits};

/// What one evaluation may cost: the bytes it answers and the keys it visits.
pub(super) struct Budget<'a> {
    pub(super) answer: AnswerBudget,
    pub(super) visits: Visits<'a>,
}

impl Budget<'static> {
    /// For one command.
    pub(super) fn of_command(limits: &ApplyLimits) -> Self {
        let visits = Visits::up_to(limits.keys_visited_max);
        Self { answer: AnswerBudget::of_command(), visits }
    }
}

/// What is left of an answer's bytes.
#[derive(Debug)]
pub(super) struct AnswerBudget {
    max: usize,
    used: usize,
    may_cut: bool,
}

impl AnswerBudget {
    /// For one plain range: up to [`ANSWER_BYTES_MAX`], cut there.
    pub(super) fn of_page() -> Self {
        Self { max: ANSWER_BYTES_MAX, used: 0, may_cut: true }
    }

    /// For everything that one command answers: up to [`TXN_ANSWER_BYTES_MAX`], or refused.
    pub(super) fn of_command() -> Self {
        Self { max: TXN_ANSWER_BYTES_MAX, used: 0, may_cut: false }
    }

    /// Whether an answer in key order may end early rather than be refused.
    pub(super) fn may_cut(&self) -> bool {
        self.may_cut
    }

    /// Bytes left.
    pub(super) fn left(&self) -> usize {
        self.max.saturating_sub(self.used)
    }

    /// Takes `bytes` off, or says that they do not fit.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), OperationError> {
        if bytes > self.left() {
            return Err(self.refusal());
        }
        self.used += bytes;
        Ok(())
    }

    /// What to answer when the budget is exceeded.
    pub(super) fn refusal(&self) -> OperationError {
        OperationError::AnswerTooLarge { max: self.max as u64 }
    }
}

/// What a pair with a key and a value of these lengths takes off a budget: an upper bound of its
/// encoding.
pub(super) fn pair_bytes(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + PAIR_OVERHEAD_BYTES
}

/// A pair as clients see it.
pub(super) fn pair(key: Bytes, meta: &VersionMeta, value: Bytes) -> KeyValue {
    KeyValue {
        key,
        value,
        create_revision: meta.create_revision,
        mod_revision: meta.mod_revision.main,
        version: meta.version,
        lease: meta.lease,
    }
}

#[cfg(test)]
mod tests {
    use crate::types::Revision;
    use crate::types::limits::{KEY_BYTES_MAX, REQUEST_BYTES_MAX};

    use super::*;

    #[test]
    fn what_a_pair_counts_bounds_its_encoding() {
        let key = Bytes::from(vec![b'k'; KEY_BYTES_MAX]);
        let value = Bytes::from(vec![b'v'; REQUEST_BYTES_MAX]);
        let meta = VersionMeta {
            create_revision: u64::MAX,
            mod_revision: Revision::new(u64::MAX, u32::MAX),
            version: u64::MAX,
            lease: i64::MIN,
        };
        let counted = pair_bytes(&key, &value);
        let encoded = postcard::to_stdvec(&pair(key, &meta, value)).unwrap();
        assert!(encoded.len() <= counted, "{} > {counted}", encoded.len());
    }

    #[test]
    fn a_budget_is_used_up_to_its_last_byte() {
        let mut budget = AnswerBudget::of_command();
        let max = TXN_ANSWER_BYTES_MAX as u64;
        assert_eq!(budget.take(TXN_ANSWER_BYTES_MAX - 1), Ok(()));
        assert_eq!(budget.take(2), Err(OperationError::AnswerTooLarge { max }));
        assert_eq!(budget.take(1), Ok(()));
        assert_eq!(budget.take(1), Err(OperationError::AnswerTooLarge { max }));
    }
}
