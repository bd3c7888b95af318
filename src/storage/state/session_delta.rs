//! What happened to one client's session since the last flush: the net of it, so that a flush
//! writes one record for each client however many writes the client made.

use std::collections::BTreeMap;

use super::layout::answers::answer_bytes;
use crate::machine::{KeptAnswer, Recorded};
use crate::types::Principal;

/// What an answer costs beside its encoded bytes; an estimate that errs upwards.
const ANSWER_OVERHEAD_BYTES: usize = 256;

/// The net change of a session. The default is "no change".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionDelta {
    /// Whether what was there before is forgotten.
    pub(crate) forgets_earlier: bool,
    /// The session afterwards, as far as it changed; none when it was only forgotten.
    pub(crate) changed: Option<ChangedSession>,
}

/// A session's new fields and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangedSession {
    /// Whose it is, when it has begun since.
    pub(crate) owner: Option<Principal>,
    /// Replicated time of the client's last command, in milliseconds.
    pub(crate) last_active_ms: u64,
    /// The longest time in which one of the new writes may be sent again, in milliseconds.
    pub(crate) window_ms: u64,
    /// Answers below this are forgotten, earlier ones too.
    pub(crate) lowest_unanswered: u64,
    /// The new answers, by sequence.
    pub(crate) answers: BTreeMap<u64, KeptAnswer>,
}

impl SessionDelta {
    /// A command was answered. Returns the memory it takes, in bytes.
    pub(crate) fn record(&mut self, recorded: Recorded) -> usize {
        let Recorded { begins, sequence, lowest_unanswered, now_ms, window_ms, answer } = recorded;
        let bytes = answer_bytes(&answer.answer) + ANSWER_OVERHEAD_BYTES;
        let changed = self.changed.get_or_insert_default();
        if begins.is_some() {
            changed.owner = begins;
        }
        changed.last_active_ms = now_ms;
        changed.window_ms = changed.window_ms.max(window_ms);
        changed.lowest_unanswered = changed.lowest_unanswered.max(lowest_unanswered);
        changed.answers.insert(sequence, answer);
        drop_below(&mut changed.answers, changed.lowest_unanswered);
        bytes
    }

    /// The session is forgotten; what follows begins a new one.
    pub(crate) fn expire(&mut self) {
        *self = Self { forgets_earlier: true, changed: None };
    }
}

/// Drops the answers below `lowest`.
pub(crate) fn drop_below<T>(answers: &mut BTreeMap<u64, T>, lowest: u64) {
    while let Some(first) = answers.first_entry().filter(|first| *first.key() < lowest) {
        first.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::StoredAnswer;
    use crate::types::{Answer, OperationError};

    fn record(
        delta: &mut SessionDelta,
        [sequence, lowest_unanswered, now_ms]: [u64; 3],
        answer: StoredAnswer,
    ) {
        let (begins, window_ms) = (Some(Principal("ann".to_owned())), now_ms);
        let answer = KeptAnswer { fingerprint: sequence, answer };
        let recorded = Recorded { begins, sequence, lowest_unanswered, now_ms, window_ms, answer };
        delta.record(recorded);
    }

    #[test]
    fn answers_below_the_lowest_unanswered_are_dropped_and_it_never_runs_back() {
        let mut delta = SessionDelta::default();
        record(&mut delta, [1, 1, 10], Ok(Answer::RegisterMember));
        record(&mut delta, [3, 3, 11], Err(OperationError::KeyNotFound));
        record(&mut delta, [4, 1, 12], Ok(Answer::RegisterMember));
        let changed = delta.changed.expect("answers were recorded");
        assert_eq!(changed.lowest_unanswered, 3);
        assert_eq!((changed.last_active_ms, changed.window_ms), (12, 12));
        assert_eq!(changed.answers.keys().copied().collect::<Vec<_>>(), [3, 4]);
        assert!(!delta.forgets_earlier);
    }

    #[test]
    fn a_session_that_begins_anew_forgets_the_earlier_one() {
        let mut delta = SessionDelta::default();
        record(&mut delta, [7, 7, 10], Ok(Answer::RegisterMember));
        delta.expire();
        assert_eq!(delta, SessionDelta { forgets_earlier: true, changed: None });
        record(&mut delta, [1, 1, 20], Ok(Answer::RegisterMember));
        let changed = delta.changed.as_ref().expect("an answer was recorded");
        assert_eq!(changed.answers.keys().copied().collect::<Vec<_>>(), [1]);
        assert!(delta.forgets_earlier);
    }
}
