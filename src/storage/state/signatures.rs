//! The signatures in memory: every signed request that is remembered, as of the last applied
//! command. Like the session table, only the one who applies reads it.
//!
//! Bounded by the replicated limits. An answer is kept as its bytes: they are short, and a value of
//! its type would take several times the room.
//!
//! Invariant: the counts of the users are those of the signatures.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::machine::{KeptSignature, SignatureTotals, StoredAnswer};
use crate::types::{OperationError, Principal, SignatureKey};

/// Every signature that is remembered, by date.
#[derive(Debug, Default)]
pub(crate) struct SignatureTable {
    signatures: BTreeMap<SignatureKey, Remembered>,
    users: HashMap<Arc<Principal>, usize>,
}

#[derive(Debug)]
struct Remembered {
    owner: Arc<Principal>,
    kept_until_ms: u64,
    /// In postcard.
    answer: Box<[u8]>,
}

impl SignatureTable {
    /// A request was answered; or the answer to one that was staged is there.
    pub(crate) fn record(&mut self, key: SignatureKey, kept: &KeptSignature) {
        self.forget(&key);
        let owner = match self.users.get_key_value(&kept.owner) {
            Some((owner, _)) => Arc::clone(owner),
            None => Arc::new(kept.owner.clone()),
        };
        *self.users.entry(Arc::clone(&owner)).or_default() += 1;
        let answer = postcard::to_stdvec(&kept.answer)
            .expect("no field of an answer refuses to be serialised")
            .into();
        let kept_until_ms = kept.kept_until_ms;
        self.signatures.insert(key, Remembered { owner, kept_until_ms, answer });
    }

    /// A signature is forgotten.
    pub(crate) fn forget(&mut self, key: &SignatureKey) {
        let Some(remembered) = self.signatures.remove(key) else { return };
        if let Some(count) = self.users.get_mut(&remembered.owner) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&remembered.owner);
            }
        }
    }

    /// A signature's answer.
    pub(crate) fn get(&self, key: &SignatureKey) -> Option<KeptSignature> {
        let Remembered { owner, kept_until_ms, answer } = self.signatures.get(key)?;
        let answer: StoredAnswer = postcard::from_bytes(answer)
            .unwrap_or(Err(OperationError::AnswerNotKept { revision: 0 }));
        let (owner, kept_until_ms) = ((**owner).clone(), *kept_until_ms);
        Some(KeptSignature { owner, kept_until_ms, answer })
    }

    /// How many there are.
    pub(crate) fn totals(&self, user: &Principal) -> SignatureTotals {
        SignatureTotals {
            signatures: self.signatures.len(),
            user_signatures: self.users.get(user).copied().unwrap_or(0),
        }
    }

    /// Up to `limit`, the earliest dated first, each with how long it is kept.
    pub(crate) fn oldest(&self, limit: usize) -> Vec<(SignatureKey, u64)> {
        let oldest = self.signatures.iter().take(limit);
        oldest.map(|(key, remembered)| (*key, remembered.kept_until_ms)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Answer;

    #[test]
    fn they_are_counted_for_each_user_and_forgotten_by_date() {
        let mut table = SignatureTable::default();
        let key = |dated_seconds| SignatureKey { dated_seconds, signature: [7; 32] };
        let of = |name: &str| Principal(name.to_owned());
        let kept = |name: &str, kept_until_ms| KeptSignature {
            owner: of(name),
            kept_until_ms,
            answer: Ok(Answer::RegisterMember),
        };
        table.record(key(9), &kept("ann", 1));
        table.record(key(3), &kept("bob", 2));
        table.record(key(5), &kept("ann", 3));
        table.record(key(5), &kept("ann", 3));
        assert_eq!(table.oldest(2), [(key(3), 2), (key(5), 3)]);
        let totals = SignatureTotals { signatures: 3, user_signatures: 2 };
        assert_eq!(table.totals(&of("ann")), totals);
        assert_eq!(table.get(&key(9)), Some(kept("ann", 1)));
        for dated in [3, 5, 9] {
            table.forget(&key(dated));
        }
        assert_eq!(table.totals(&of("ann")), SignatureTotals::default());
        assert!(table.users.is_empty() && table.get(&key(9)).is_none());
    }
}
