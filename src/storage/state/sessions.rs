//! The session table in memory: every client's session, as of the last applied command.
//!
//! Only the one who applies reads it, between two commands; so it is kept at "now" and not at a
//! view's revision. It is bounded by the replicated limits on sessions and answers. An answer
//! too long for its session's record is kept here until it is on the disk, and then only there.
//!
//! Invariant: `by_activity` holds exactly one pair for each session.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::layout::sessions::{AnswerSlot, SessionRecord};
use super::session_delta::drop_below;
use crate::machine::StoredAnswer;
use crate::types::ClientId;

/// Every client's session.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    sessions: HashMap<ClientId, KeptSession>,
    by_activity: BTreeSet<(u64, ClientId)>,
}

/// One client's session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptSession {
    /// Replicated time of the client's last command, in milliseconds.
    pub(crate) last_active_ms: u64,
    /// Sequences below this were answered and their answers forgotten.
    pub(crate) lowest_unanswered: u64,
    /// The answers from there on, by sequence.
    pub(crate) answers: BTreeMap<u64, AnswerSlot>,
}

impl SessionTable {
    /// Takes a session as it lies on the disk.
    pub(crate) fn load(&mut self, client: ClientId, record: SessionRecord) {
        let SessionRecord { last_active_ms, lowest_unanswered, answers } = record;
        let answers = answers.into_iter().collect();
        let session = KeptSession { last_active_ms, lowest_unanswered, answers };
        self.expire(client);
        self.by_activity.insert((last_active_ms, client));
        self.sessions.insert(client, session);
    }

    /// A client's session.
    pub(crate) fn get(&self, client: ClientId) -> Option<&KeptSession> {
        self.sessions.get(&client)
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Up to `limit` clients, the longest silent first.
    pub(crate) fn oldest(&self, limit: usize) -> Vec<(ClientId, u64)> {
        self.by_activity
            .iter()
            .take(limit)
            .map(|(active_ms, client)| (*client, *active_ms))
            .collect()
    }

    /// A command was answered.
    pub(crate) fn record(
        &mut self,
        client: ClientId,
        sequence: u64,
        lowest_unanswered: u64,
        now_ms: u64,
        answer: StoredAnswer,
    ) {
        let session = match self.sessions.entry(client) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                self.by_activity.insert((0, client));
                vacant.insert(KeptSession::default())
            }
        };
        if session.last_active_ms != now_ms {
            self.by_activity.remove(&(session.last_active_ms, client));
            self.by_activity.insert((now_ms, client));
        }
        session.last_active_ms = now_ms;
        session.lowest_unanswered = session.lowest_unanswered.max(lowest_unanswered);
        session.answers.insert(sequence, AnswerSlot::Inline(answer));
        drop_below(&mut session.answers, session.lowest_unanswered);
    }

    /// A session is forgotten.
    pub(crate) fn expire(&mut self, client: ClientId) {
        if let Some(session) = self.sessions.remove(&client) {
            self.by_activity.remove(&(session.last_active_ms, client));
        }
    }

    /// An answer too long for its session's record is on the disk, and need not be kept here.
    ///
    /// When the session has begun anew since, the answer of that number may be another one; a
    /// short one must stay, for it will not be in the `answers` table. A long one will: until it
    /// is, it is found in the memory table.
    pub(crate) fn release_answer(&mut self, client: ClientId, sequence: u64) {
        let session = self.sessions.get_mut(&client);
        let slot = session.and_then(|session| session.answers.get_mut(&sequence));
        match slot {
            Some(slot) if slot.is_long() => *slot = AnswerSlot::Overflow,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::state::layout::sessions::INLINE_ANSWER_BYTES_MAX;
    use crate::types::{Answer, OperationError};

    fn answer() -> StoredAnswer {
        Ok(Answer::RegisterMember)
    }

    #[test]
    fn the_longest_silent_come_first_and_each_client_once() {
        let mut table = SessionTable::default();
        let [one, two] = [ClientId(1), ClientId(2)];
        table.record(one, 1, 1, 0, answer());
        table.record(two, 1, 1, 5, answer());
        assert_eq!(table.oldest(9), [(one, 0), (two, 5)]);
        table.record(one, 2, 2, 9, answer());
        assert_eq!(table.oldest(9), [(two, 5), (one, 9)]);
        assert_eq!(table.oldest(1), [(two, 5)]);
        table.expire(two);
        assert_eq!((table.oldest(9), table.len()), (vec![(one, 9)], 1));
        assert!(table.get(two).is_none());
    }

    fn long_answer() -> StoredAnswer {
        Err(OperationError::InvalidMember { reason: "x".repeat(INLINE_ANSWER_BYTES_MAX) })
    }

    #[test]
    fn answers_are_kept_from_the_lowest_unanswered_on() {
        let mut table = SessionTable::default();
        let client = ClientId(1);
        for sequence in 1..=4 {
            let answer = if sequence == 4 { answer() } else { long_answer() };
            table.record(client, sequence, sequence.min(3), 7, answer);
        }
        for sequence in [3, 4, 99] {
            table.release_answer(client, sequence);
        }
        let session = table.get(client).expect("the session was recorded");
        let expected = [(3, AnswerSlot::Overflow), (4, AnswerSlot::Inline(answer()))];
        assert_eq!(session.answers, BTreeMap::from(expected));
    }
}
