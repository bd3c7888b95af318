//! A retry applies once; sessions expire by replicated time.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use chainfire::machine::{Change, Session, StateView, VersionVisitor, Visits, apply};
use chainfire::types::limits::{
    SESSION_ANSWERS_MAX, SESSION_TTL_MS, SESSIONS_EXPIRED_PER_COMMAND_MAX, SESSIONS_MAX,
};
use chainfire::types::{
    AccessTables, Answer, ClientId, KeyRange, Operation, OperationError, PutAnswer, Revision,
    Roster, StagedDelete, VersionMeta,
};

use crate::read_all;
use crate::support::memory_view::MemoryView;
use crate::support::requests::{command, delete, put, put_request};

fn expired_at(now_ms: u64) -> Result<Answer, OperationError> {
    Err(OperationError::SessionExpired { now_ms })
}

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 10, put("a", "1"));
    let first = store.apply(&write);
    store.apply(&command(2, 1, 1, 20, put("a", "2")));
    let before = store.clone();
    let mut retry = write;
    retry.leader_time_ms = 30;
    let second = store.apply(&retry);
    assert_eq!((second.response, second.changes), (first.response, vec![]));
    assert_eq!(store, before);
}

#[test]
fn a_refusal_is_recorded_and_answered_again() {
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 0, Operation::Put(put_request("", "")));
    let refused = store.apply(&write).response;
    assert_eq!(refused, Err(OperationError::EmptyKey));
    assert_eq!(store.sessions[&ClientId(1)].answers[&1], refused);
    assert_eq!(store.apply(&write).changes, []);
}

#[test]
fn writes_of_one_client_may_arrive_in_any_order() {
    let mut store = MemoryView::new();
    for sequence in [3, 1, 2] {
        let write = command(1, sequence, 1, 0, put("a", "1"));
        assert!(store.apply(&write).response.is_ok(), "{sequence}");
    }
    assert_eq!(read_all(&store).kvs[0].version, 3);
    let kept: Vec<_> = store.sessions[&ClientId(1)].answers.keys().copied().collect();
    assert_eq!(kept, [1, 2, 3]);
}

#[test]
fn answers_below_the_lowest_unanswered_are_forgotten_and_their_retries_unknown() {
    let mut store = MemoryView::new();
    for sequence in 1..=3 {
        store.apply(&command(1, sequence, 1, 0, put("a", "1"))).response.unwrap();
    }
    store.apply(&command(1, 4, 3, 0, put("a", "1"))).response.unwrap();
    let session = &store.sessions[&ClientId(1)];
    assert_eq!(session.lowest_unanswered, 3);
    assert_eq!(session.answers.keys().copied().collect::<Vec<_>>(), [3, 4]);

    let before = store.clone();
    assert_eq!(store.apply(&command(1, 2, 1, 0, put("a", "2"))).response, expired_at(0));
    assert_eq!(store, before);
}

#[test]
fn an_overtaken_write_does_not_bring_the_lowest_unanswered_back() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 1, 1, 0, put("a", "1"))).response.unwrap();
    store.apply(&command(1, 5, 4, 0, put("a", "1"))).response.unwrap();
    store.apply(&command(1, 4, 2, 0, put("a", "1"))).response.unwrap();
    assert_eq!(store.sessions[&ClientId(1)].lowest_unanswered, 4);
}

#[test]
fn a_write_that_its_own_client_calls_answered_is_not_applied() {
    let mut store = MemoryView::new();
    for (sequence, lowest_unanswered) in [(0, 0), (0, 1)] {
        let write = command(1, sequence, lowest_unanswered, 0, put("a", "1"));
        assert_eq!(store.apply(&write).response, expired_at(0));
    }
    store.apply(&command(1, 1, 1, 0, put("a", "1"))).response.unwrap();
    assert_eq!(store.apply(&command(1, 3, 4, 0, put("a", "1"))).response, expired_at(0));
    assert_eq!(read_all(&store).revision, 2);
}

#[test]
fn a_client_without_a_session_that_had_answers_is_told_that_the_outcome_is_unknown() {
    let mut store = MemoryView::new();
    let write = command(1, 7, 2, 0, put("a", "1"));
    assert_eq!(store.apply(&write).response, expired_at(0));
    assert_eq!(store, MemoryView::new());
}

#[test]
fn a_session_expires_when_it_was_silent_for_longer_than_its_time() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 1, 1, 1_000, put("a", "1"))).response.unwrap();
    store.apply(&command(1, 2, 2, 2_000, put("a", "2"))).response.unwrap();

    store.apply(&command(2, 1, 1, 2_000 + SESSION_TTL_MS, put("b", "1"))).response.unwrap();
    assert!(store.sessions.contains_key(&ClientId(1)), "not longer than its time");
    store.apply(&command(2, 2, 1, 2_001 + SESSION_TTL_MS, put("b", "1"))).response.unwrap();
    assert!(!store.sessions.contains_key(&ClientId(1)));

    let now_ms = 2_002 + SESSION_TTL_MS;
    for sequence in [2, 3] {
        let retry = command(1, sequence, 2, now_ms, put("a", "3"));
        assert_eq!(store.apply(&retry).response, expired_at(now_ms));
    }
    assert_eq!(read_all(&store).kvs[0].value, "2");
}

#[test]
fn an_overdue_session_that_comes_back_before_it_is_swept_goes_on() {
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 0, put("a", "1"));
    let first = store.apply(&write).response;
    let late = 2 * SESSION_TTL_MS;
    let retry = command(1, 1, 1, late, put("a", "1"));
    assert_eq!(store.apply(&retry).response, first);
    store.apply(&command(1, 2, 2, late, put("a", "2"))).response.unwrap();
    assert_eq!(store.sessions[&ClientId(1)].last_active_ms, late);
}

#[test]
fn a_command_of_the_cluster_expires_sessions_and_has_none() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 1, 1, 0, put("a", "1"))).response.unwrap();
    let mut own = command(0, 0, 0, SESSION_TTL_MS + 1, delete(KeyRange::single("none")));
    own.request_id = None;
    assert_eq!(store.apply(&own).changes, [Change::ExpireSession(ClientId(1))]);
    assert!(store.sessions.is_empty());
}

#[test]
fn a_command_expires_a_bounded_number_of_sessions_the_longest_silent_first() {
    let mut store = MemoryView::new();
    let count = SESSIONS_EXPIRED_PER_COMMAND_MAX as u64 + 3;
    for client in 1..=count {
        store.apply(&command(client.into(), 1, 1, client, put("a", "1"))).response.unwrap();
    }
    let late = 10 * SESSION_TTL_MS;
    // The longest silent client is the one that writes: its own session stays.
    store.apply(&command(1, 2, 1, late, put("a", "1"))).response.unwrap();
    let left: Vec<_> = store.sessions.keys().map(|client| client.0).collect();
    assert_eq!(left, [1, u128::from(count) - 1, u128::from(count)]);
    store.apply(&command(1, 3, 1, late, put("a", "1"))).response.unwrap();
    assert_eq!(store.sessions.len(), 1);
}

#[test]
fn a_client_has_a_bounded_number_of_unanswered_writes() {
    let mut store = MemoryView::new();
    let max = SESSION_ANSWERS_MAX as u64;
    let nothing = || delete(KeyRange::single("none"));
    for sequence in 1..=max {
        store.apply(&command(1, sequence, 1, 0, nothing())).response.unwrap();
    }
    let before = store.clone();
    let refused = store.apply(&command(1, max + 1, 1, 0, put("a", "1")));
    assert_eq!(refused.response, Err(OperationError::TooManyInFlight { max }));
    assert_eq!((refused.changes, &store), (vec![], &before), "not recorded");
    assert!(store.apply(&command(1, 9, 1, 0, nothing())).response.is_ok(), "a retry is");

    let with_room = store.apply(&command(1, max + 1, 2, 0, put("a", "1")));
    assert!(with_room.response.is_ok());
    assert_eq!(store.sessions[&ClientId(1)].answers.len(), SESSION_ANSWERS_MAX);
}

/// A store with a given number of sessions, each as old as its number, and no key.
struct CrowdedView {
    sessions: usize,
    asked: RefCell<Vec<usize>>,
}

impl StateView for CrowdedView {
    type Error = Infallible;

    fn revision(&self) -> u64 {
        1
    }

    fn compact_revision(&self) -> u64 {
        0
    }

    fn staged_deletes(&self) -> &[StagedDelete] {
        &[]
    }

    fn written(&self, _: &[u8]) -> Result<Option<VersionMeta>, Infallible> {
        Ok(None)
    }

    fn scan(
        &self,
        _: &KeyRange,
        _: u64,
        _: &Visits<'_>,
        _: &mut VersionVisitor<'_>,
    ) -> Result<(), Infallible> {
        Ok(())
    }

    fn value(&self, revision: Revision) -> Result<Bytes, Infallible> {
        panic!("no value was put at {revision:?}")
    }

    fn session(&self, client: ClientId) -> Result<Option<Session>, Infallible> {
        let exists = client.0 < self.sessions as u128;
        Ok(exists.then(|| Session { last_active_ms: client.0 as u64, ..Session::default() }))
    }

    fn session_count(&self) -> usize {
        self.sessions
    }

    fn oldest_sessions(&self, limit: usize) -> Result<Vec<(ClientId, u64)>, Infallible> {
        self.asked.borrow_mut().push(limit);
        let oldest = 0..limit.min(self.sessions) as u64;
        Ok(oldest.map(|client| (ClientId(client.into()), client)).collect())
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::default()
    }

    fn access(&self) -> Arc<AccessTables> {
        Arc::default()
    }
}

#[test]
fn the_longest_silent_session_makes_room_for_a_new_one() {
    let expired_by = |sessions: usize, client: u128| {
        let view = CrowdedView { sessions, asked: RefCell::default() };
        let Ok(applied) = apply(&view, &command(client, 1, 1, 100, put("a", "1")));
        let expired = applied.changes.iter().filter_map(|change| match change {
            Change::ExpireSession(client) => Some(client.0),
            _ => None,
        });
        (expired.collect::<Vec<_>>(), view.asked.into_inner())
    };
    let newcomer = u128::MAX;
    assert_eq!(expired_by(SESSIONS_MAX - 1, newcomer), (vec![], vec![1]), "one look is enough");
    assert_eq!(expired_by(SESSIONS_MAX, newcomer).0, [0]);
    assert_eq!(expired_by(SESSIONS_MAX, 0).0, [], "an old client needs no room");
    assert_eq!(expired_by(SESSIONS_MAX + 1, 0).0, [1], "never the writer's own");
    let many = SESSIONS_MAX + 10 * SESSIONS_EXPIRED_PER_COMMAND_MAX;
    assert_eq!(expired_by(many, newcomer).0.len(), SESSIONS_EXPIRED_PER_COMMAND_MAX);
}

#[test]
fn the_same_command_on_the_same_state_is_the_same_outcome() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 1, 1, 0, put("a", "1"))).response.unwrap();
    let write = command(1, 2, 1, 5, put("a", "2"));
    let (Ok(first), Ok(second)) = (apply(&store, &write), apply(&store, &write));
    assert_eq!(first, second);
    assert_eq!(first.response, Ok(Answer::Put(PutAnswer { revision: 3, prev_kv: None })));
}
