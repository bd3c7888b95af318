//! The session table in memory: every client's session, as of the last applied command.
//!
//! Only the one who applies reads it, between two commands; so it is kept at "now" and not at a
//! view's revision. It is bounded by the replicated limits on sessions and answers. An answer
//! too long for its session's record is kept here until it is on the disk, and then only there.
//!
//! Which sessions are overdue is asked with each command, and which session is used changes with
//! each command. So the index by [`due_ms`] is not kept up to date: a session stays in it where it
//! was, which is never after its time, and is moved when a search meets it there.
//!
//! # What must stay true
//! - `by_due`, and the one of each owner, hold exactly one pair for each session: the same in both,
//!   at or before the session's time.
//! - An owner's bytes are those of its sessions' answers, and `answer_bytes` is the sum of all.
//! - What a search finds depends on the sessions alone, not on when they were moved: a member that
//!   has just started finds the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::sessions::{AnswerRecord, AnswerSlot, SessionRecord};
use super::signatures::SignatureTable;
use crate::machine::{AnswerBytes, Recorded, SessionTotals, due_ms};
use crate::types::{ClientId, Principal};

/// Every client's session.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    sessions: HashMap<ClientId, KeptSession>,
    by_due: BTreeSet<(u64, ClientId)>,
    owners: HashMap<Principal, OwnedSessions>,
    answer_bytes: u64,
    /// Signed requests that stand alone.
    pub(crate) signatures: SignatureTable,
}

/// The sessions of one user.
#[derive(Debug)]
struct OwnedSessions {
    owner: Arc<Owner>,
    by_due: BTreeSet<(u64, ClientId)>,
}

/// A user with sessions.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) name: Principal,
    /// What the answers of its sessions take. Changed by whoever has the table for itself.
    answer_bytes: AtomicU64,
}

/// One client's session.
#[derive(Clone, Debug)]
pub(crate) struct KeptSession {
    /// Whose it is.
    pub(crate) owner: Arc<Owner>,
    /// Replicated time of the client's last command, in milliseconds.
    pub(crate) last_active_ms: u64,
    /// For how long after its first try the client may send a write again, in milliseconds.
    pub(crate) window_ms: u64,
    /// Sequences below this were answered and their answers forgotten.
    pub(crate) lowest_unanswered: u64,
    /// The answers from there on, by sequence.
    pub(crate) answers: BTreeMap<u64, AnswerRecord>,
    /// What they take.
    answer_bytes: u64,
    /// Where it is in the indexes.
    indexed_ms: u64,
}

impl KeptSession {
    fn due_ms(&self) -> u64 {
        due_ms(self.last_active_ms, self.window_ms)
    }

    /// What the answers of this session, of its user and of all take.
    pub(crate) fn kept(&self, table: &SessionTable) -> AnswerBytes {
        AnswerBytes {
            session: self.answer_bytes,
            user: self.owner.answer_bytes.load(Ordering::Relaxed),
            store: table.answer_bytes,
        }
    }
}

impl SessionTable {
    /// Takes a session as it lies on the disk.
    pub(crate) fn load(&mut self, client: ClientId, record: SessionRecord) {
        let SessionRecord { owner, last_active_ms, window_ms, lowest_unanswered, answers } = record;
        self.expire(client);
        let mut session = self.begun(client, owner, due_ms(last_active_ms, window_ms));
        session.last_active_ms = last_active_ms;
        session.window_ms = window_ms;
        session.lowest_unanswered = lowest_unanswered;
        session.answers = answers.into_iter().collect();
        session.answer_bytes = session.answers.values().map(AnswerRecord::kept_bytes).sum();
        self.answer_bytes += session.answer_bytes;
        session.owner.answer_bytes.fetch_add(session.answer_bytes, Ordering::Relaxed);
        self.sessions.insert(client, session);
    }

    /// An empty session, in the indexes and not in the table yet.
    fn begun(&mut self, client: ClientId, name: Principal, indexed_ms: u64) -> KeptSession {
        let owned = self.owners.entry(name).or_insert_with_key(|name| OwnedSessions {
            owner: Arc::new(Owner { name: name.clone(), answer_bytes: AtomicU64::new(0) }),
            by_due: BTreeSet::new(),
        });
        owned.by_due.insert((indexed_ms, client));
        self.by_due.insert((indexed_ms, client));
        KeptSession {
            owner: Arc::clone(&owned.owner),
            last_active_ms: 0,
            window_ms: 0,
            lowest_unanswered: 0,
            answers: BTreeMap::new(),
            answer_bytes: 0,
            indexed_ms,
        }
    }

    /// A client's session.
    pub(crate) fn get(&self, client: ClientId) -> Option<&KeptSession> {
        self.sessions.get(&client)
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How much is kept, of a user and in all.
    pub(crate) fn totals(&self, user: &Principal) -> SessionTotals {
        let owned = self.owners.get(user);
        let user_bytes = owned.map(|owned| owned.owner.answer_bytes.load(Ordering::Relaxed));
        SessionTotals {
            sessions: self.sessions.len(),
            user_sessions: owned.map_or(0, |owned| owned.by_due.len()),
            kept: AnswerBytes {
                session: 0,
                user: user_bytes.unwrap_or(0),
                store: self.answer_bytes,
            },
        }
    }

    /// Whether a search for what is overdue before `before_ms` has anything to look at.
    pub(crate) fn may_be_overdue(&self, before_ms: u64) -> bool {
        self.by_due.first().is_some_and(|(indexed_ms, _)| *indexed_ms < before_ms)
    }

    /// Up to `limit` sessions, of one user or of all, that are due before `before_ms`, by
    /// `(due_ms, client)`: each with its last activity.
    pub(crate) fn overdue(
        &mut self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Vec<(ClientId, u64)> {
        let mut found = Vec::new();
        let mut from = (0, ClientId(0));
        while found.len() < limit {
            let index = match user {
                None => &self.by_due,
                Some(user) => match self.owners.get(user) {
                    Some(owned) => &owned.by_due,
                    None => break,
                },
            };
            let Some(&(indexed_ms, client)) = index.range(from..).next() else { break };
            if indexed_ms >= before_ms {
                break;
            }
            let session = self.sessions.get(&client).expect("an index names sessions there are");
            if session.due_ms() == indexed_ms {
                found.push((client, session.last_active_ms));
                from = (indexed_ms, ClientId(client.0.saturating_add(1)));
            } else {
                self.move_in_indexes(client);
            }
        }
        found
    }

    fn move_in_indexes(&mut self, client: ClientId) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let (old, new) = (session.indexed_ms, session.due_ms());
        session.indexed_ms = new;
        let owned = self.owners.get_mut(&session.owner.name);
        for index in [Some(&mut self.by_due), owned.map(|owned| &mut owned.by_due)] {
            let index = index.expect("a session has an owner");
            index.remove(&(old, client));
            index.insert((new, client));
        }
    }

    /// A command was answered.
    pub(crate) fn record(&mut self, client: ClientId, recorded: Recorded) {
        let Recorded { begins, sequence, lowest_unanswered, now_ms, window_ms, answer } = recorded;
        if let Some(owner) = begins
            && !self.sessions.contains_key(&client)
        {
            let session = self.begun(client, owner, due_ms(now_ms, window_ms));
            self.sessions.insert(client, session);
        }
        let session =
            self.sessions.get_mut(&client).expect("a session begins with its first write");
        session.last_active_ms = now_ms;
        session.window_ms = session.window_ms.max(window_ms);
        session.lowest_unanswered = session.lowest_unanswered.max(lowest_unanswered);
        let record = AnswerRecord::inline(answer);
        let added = record.kept_bytes();
        let replaced = session.answers.insert(sequence, record);
        let mut dropped = replaced.map_or(0, |record| record.kept_bytes());
        while let Some(first) = session.answers.first_entry()
            && *first.key() < session.lowest_unanswered
        {
            dropped += first.remove().kept_bytes();
        }
        let adjust = |bytes: u64| (bytes + added).saturating_sub(dropped);
        session.answer_bytes = adjust(session.answer_bytes);
        self.answer_bytes = adjust(self.answer_bytes);
        let owners = &session.owner.answer_bytes;
        owners.store(adjust(owners.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// A session is forgotten.
    pub(crate) fn expire(&mut self, client: ClientId) {
        let Some(session) = self.sessions.remove(&client) else { return };
        let place = (session.indexed_ms, client);
        self.by_due.remove(&place);
        self.answer_bytes -= session.answer_bytes;
        session.owner.answer_bytes.fetch_sub(session.answer_bytes, Ordering::Relaxed);
        if let Some(owned) = self.owners.get_mut(&session.owner.name) {
            owned.by_due.remove(&place);
            if owned.by_due.is_empty() {
                self.owners.remove(&session.owner.name);
            }
        }
    }

    /// An answer too long for its session's record is on the disk, and need not be kept here.
    ///
    /// When the session has begun anew since, the answer of that number may be another one; a
    /// short one must stay, for it will not be in the `answers` table. A long one will: until it
    /// is, it is found in the memory table.
    pub(crate) fn release_answer(&mut self, client: ClientId, sequence: u64) {
        let session = self.sessions.get_mut(&client);
        let record = session.and_then(|session| session.answers.get_mut(&sequence));
        if let Some(record) = record.filter(|record| record.slot.is_long()) {
            record.slot = AnswerSlot::Overflow { kept_bytes: record.kept_bytes() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{KeptAnswer, StoredAnswer, kept_bytes};
    use crate::storage::state::layout::sessions::INLINE_ANSWER_BYTES_MAX;
    use crate::types::limits::SESSION_GRACE_MS;
    use crate::types::{Answer, OperationError};

    fn user(name: &str) -> Principal {
        Principal(name.to_owned())
    }

    fn recorded(sequence: u64, lowest_unanswered: u64, now_ms: u64) -> Recorded {
        let answer = KeptAnswer { fingerprint: sequence, answer: Ok(Answer::RegisterMember) };
        let begins = Some(user("ann"));
        Recorded { begins, sequence, lowest_unanswered, now_ms, window_ms: 0, answer }
    }

    const LATE: u64 = u64::MAX;

    #[test]
    fn the_longest_overdue_come_first_and_each_client_once() {
        let mut table = SessionTable::default();
        let [one, two] = [ClientId(1), ClientId(2)];
        table.record(one, recorded(1, 1, 0));
        table.record(two, recorded(1, 1, 5));
        assert_eq!(table.overdue(None, LATE, 9), [(one, 0), (two, 5)]);
        table.record(one, recorded(2, 2, 9));
        assert_eq!(table.overdue(None, LATE, 9), [(two, 5), (one, 9)]);
        assert_eq!(table.overdue(None, LATE, 1), [(two, 5)]);
        assert_eq!(table.overdue(None, SESSION_GRACE_MS + 9, 9), [(two, 5)]);
        assert_eq!(table.overdue(None, SESSION_GRACE_MS + 5, 9), []);
        table.expire(two);
        assert_eq!(table.overdue(None, LATE, 9), [(one, 9)]);
        assert!(table.get(two).is_none());
    }

    #[test]
    fn users_are_counted_each_for_itself() {
        let mut table = SessionTable::default();
        for (client, name) in [(1, "ann"), (2, "bob"), (3, "ann")] {
            let recorded = Recorded { begins: Some(user(name)), ..recorded(1, 1, client) };
            table.record(ClientId(client.into()), recorded);
        }
        let one = kept_bytes(&Ok(Answer::RegisterMember));
        let totals = table.totals(&user("ann"));
        assert_eq!((totals.sessions, totals.user_sessions), (3, 2));
        assert_eq!(totals.kept, AnswerBytes { session: 0, user: 2 * one, store: 3 * one });
        let anns = table.overdue(Some(&user("ann")), LATE, 9);
        assert_eq!(anns, [(ClientId(1), 1), (ClientId(3), 3)]);
        assert_eq!(table.overdue(Some(&user("cyd")), LATE, 9), []);
        for client in [1, 2, 3] {
            table.expire(ClientId(client));
        }
        assert_eq!(table.totals(&user("ann")), SessionTotals::default());
    }

    fn long_answer() -> StoredAnswer {
        Err(OperationError::InvalidMember { reason: "x".repeat(INLINE_ANSWER_BYTES_MAX) })
    }

    #[test]
    fn answers_are_kept_from_the_lowest_unanswered_on_and_counted() {
        let mut table = SessionTable::default();
        let client = ClientId(1);
        for sequence in 1..=4 {
            let mut recorded = recorded(sequence, sequence.min(3), 7);
            if sequence < 4 {
                recorded.answer.answer = long_answer();
            }
            table.record(client, recorded);
        }
        let bytes = kept_bytes(&long_answer()) + kept_bytes(&Ok(Answer::RegisterMember));
        for sequence in [3, 4, 99] {
            table.release_answer(client, sequence);
        }
        let session = table.get(client).expect("the session was recorded");
        let all = AnswerBytes { session: bytes, user: bytes, store: bytes };
        assert_eq!(session.kept(&table), all, "on the disk they count as much");
        let slots: Vec<_> =
            session.answers.iter().map(|(sequence, record)| (*sequence, &record.slot)).collect();
        let long = AnswerSlot::Overflow { kept_bytes: kept_bytes(&long_answer()) };
        let short = AnswerSlot::Inline(Ok(Answer::RegisterMember));
        assert_eq!(slots, [(3, &long), (4, &short)]);
    }
}
