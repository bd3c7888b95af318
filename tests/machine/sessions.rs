//! A retry applies once; sessions expire by replicated time.

use chainfire::machine::{AnswerBytes, ApplyLimits, Change, SessionLimits, apply, due_ms};
use chainfire::types::limits::{
    SESSION_ANSWERS_MAX, SESSION_RETRY_AFTER_MS, SESSION_TTL_MS, SESSIONS_EXPIRED_PER_COMMAND_MAX,
    SESSIONS_MAX,
};
use chainfire::types::{
    AccessOperation, Answer, ClientId, Command, KeyRange, Operation, OperationError, Principal,
    PutAnswer, PutRequest, RequestName,
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
    let mut before = store.clone();
    let mut retry = write;
    retry.leader_time_ms = 30;
    let second = store.apply(&retry);
    assert_eq!((second.response, second.changes), (first.response, vec![]));
    before.leader_time_ms = 30;
    assert_eq!(store, before);
}

#[test]
fn a_refusal_is_recorded_and_answered_again() {
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 0, Operation::Put(put_request("", "")));
    let refused = store.apply(&write).response;
    assert_eq!(refused, Err(OperationError::EmptyKey));
    assert_eq!(store.sessions[&ClientId(1)].answers[&1].answer, refused);
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
fn a_session_begins_with_whichever_write_comes_first() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 7, 5, 0, put("a", "1"))).response.unwrap();
    assert!(store.apply(&command(1, 6, 5, 0, put("a", "1"))).response.is_ok());
    assert_eq!(store.apply(&command(1, 4, 4, 0, put("a", "1"))).response, expired_at(0));
}

#[test]
fn a_session_expires_when_it_was_silent_for_longer_than_its_time() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 1, 1, 1_000, put("a", "1"))).response.unwrap();
    store.apply(&command(1, 2, 2, 2_000, put("a", "2"))).response.unwrap();

    let due = due_ms(2_000, 0) + SESSION_TTL_MS;
    store.apply(&command(2, 1, 1, due, put("b", "1"))).response.unwrap();
    assert!(store.sessions.contains_key(&ClientId(1)), "not longer than its time");
    store.apply(&command(2, 2, 1, due + 1, put("b", "1"))).response.unwrap();
    assert!(!store.sessions.contains_key(&ClientId(1)));

    let now_ms = due + 2;
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
    let late = due_ms(0, 0) + SESSION_TTL_MS + 1;
    let mut own = command(0, 0, 0, late, delete(KeyRange::single("none")));
    own.request_id = None;
    let expected = [Change::RefuseBegun { before_ms: 1 }, Change::ExpireSession(ClientId(1))];
    assert_eq!(store.apply(&own).changes, expected);
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

/// Limits that a test reaches.
fn lowered(sessions: usize, sessions_per_user: usize) -> ApplyLimits {
    let sessions = SessionLimits { sessions, sessions_per_user, ..SessionLimits::REPLICATED };
    ApplyLimits { sessions, ..ApplyLimits::default() }
}

fn by(user: &str, mut command: Command) -> Command {
    command.principal = Principal(user.to_owned());
    command
}

fn begun(begun_ms: u64, mut command: Command) -> Command {
    let Some(RequestName::Session(id)) = &mut command.request_id else { panic!("a session") };
    id.begun_ms = begun_ms;
    command
}

const CROWDED: OperationError =
    OperationError::TooManySessions { max: 3, retry_after_ms: SESSION_RETRY_AFTER_MS };

#[test]
fn a_flood_of_clients_costs_nobody_the_answer_to_a_retry() {
    let limits = lowered(6, 3);
    let mut store = MemoryView::new();
    let write = by("ann", command(1, 1, 1, 10, put("a", "1")));
    let first = store.apply_within(&write, &limits).response;
    for client in 2..100 {
        let flood = by("eve", command(client, 1, 1, 20, put("b", "1")));
        let answer = store.apply_within(&flood, &limits).response;
        assert_eq!(answer.is_ok(), client < 5, "{client}: {answer:?}");
        if client >= 5 {
            assert_eq!(answer, Err(CROWDED));
        }
    }
    let revision = store.revision;
    assert_eq!(store.apply_within(&write, &limits).response, first);
    assert_eq!(store.revision, revision);
    let other = by("bob", command(200, 1, 1, 20, put("c", "1")));
    assert!(store.apply_within(&other, &limits).response.is_ok(), "other users have room");
}

/// With the limits that every member has: what a flood of 65,537 clients did to a retry.
#[test]
fn a_retry_is_answered_after_as_many_other_clients_as_there_is_room_for() {
    let mut store = MemoryView::new();
    let nothing = || delete(KeyRange::single("none"));
    let write = by("ann", command(1, 1, 1, 10, put("a", "1")));
    let first = store.apply(&write).response;
    let mut refused = 0;
    for client in 0..=SESSIONS_MAX as u128 {
        let user = format!("user{}", client % 5);
        let flood = by(&user, command(1_000 + client, 1, 1, 20, nothing()));
        refused += usize::from(store.apply(&flood).response.is_err());
    }
    assert_eq!(store.sessions.len(), SESSIONS_MAX);
    assert_eq!(refused, 2, "one more than there is room for, beside ann's");
    assert_eq!(store.apply(&write).response, first);
    assert_eq!(read_all(&store).revision, 2, "applied once");
}

#[test]
fn an_overdue_session_makes_room_and_its_late_retry_is_told_that_nobody_knows() {
    let limits = lowered(9, 1);
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 10, put("a", "1"));
    store.apply_within(&write, &limits).response.unwrap();
    let due = due_ms(10, 0);
    let newcomer = begun(11, command(2, 1, 1, due, put("b", "1")));
    let refused = store.apply_within(&newcomer, &limits).response;
    assert!(matches!(refused, Err(OperationError::TooManySessions { max: 1, .. })), "{refused:?}");
    let now_ms = due + 1;
    let newcomer = Command { leader_time_ms: now_ms, ..newcomer };
    let applied = store.apply_within(&newcomer, &limits);
    applied.response.unwrap();
    assert!(applied.changes.contains(&Change::ExpireSession(ClientId(1))));
    assert_eq!(store.forgotten.sessions_before_ms, 11, "what began until its last activity");

    assert_eq!(store.apply_within(&write, &limits).response, expired_at(now_ms));
    let late = begun(10, command(3, 1, 1, now_ms, put("c", "1")));
    assert_eq!(store.apply(&late).response, expired_at(now_ms), "it might have been one of them");
    let later = begun(11, command(3, 1, 1, now_ms, put("c", "1")));
    assert!(store.apply(&later).response.is_ok());
}

#[test]
fn a_client_that_says_it_begins_in_the_future_is_not_believed() {
    let mut store = MemoryView::new();
    store.apply(&command(1, 1, 1, 100, put("a", "1"))).response.unwrap();
    let liar = begun(101, command(2, 1, 1, 100, put("a", "2")));
    assert_eq!(store.apply(&liar).response, expired_at(100));
    // The state's time counts where the command's is behind.
    let behind = begun(100, command(2, 1, 1, 40, put("a", "2")));
    assert!(store.apply(&behind).response.is_ok());
    assert_eq!(store.sessions[&ClientId(2)].last_active_ms, 100);
}

#[test]
fn an_id_is_not_given_the_answer_to_another_operation_or_user() {
    let mut store = MemoryView::new();
    let write = command(1, 1, 1, 0, put("a", "1"));
    store.apply(&write).response.unwrap();
    let before = store.clone();
    for other in [
        command(1, 1, 1, 0, put("a", "2")),
        command(1, 1, 1, 0, delete(KeyRange::single("a"))),
        by("somebody else", write.clone()),
    ] {
        let reused = store.apply(&other);
        assert_eq!(
            (reused.response, reused.changes),
            (Err(OperationError::RequestIdReused), vec![])
        );
    }
    assert_eq!(store, before);
}

#[test]
fn the_sessions_of_a_user_end_with_the_user() {
    let mut store = MemoryView::new();
    let access = |operation| Operation::Access(operation);
    let ann = || "ann".to_owned();
    store.execute(access(AccessOperation::AddUser { name: ann() })).unwrap();
    let root = |sequence, operation| by("@cluster", command(9, sequence, 1, 60, operation));
    let write = by("ann", command(1, 1, 1, 50, delete(KeyRange::single("none"))));
    store.apply(&write);
    store.apply(&by("bob", command(2, 1, 1, 50, delete(KeyRange::single("none")))));
    assert_eq!(store.sessions.len(), 2);
    let removal = root(1, access(AccessOperation::RemoveUser { name: ann() }));
    store.apply(&removal).response.unwrap();
    let left: Vec<_> = store.sessions.keys().map(|client| client.0).collect();
    assert_eq!(left, [2, 9]);
    store.apply(&root(2, access(AccessOperation::AddUser { name: ann() }))).response.unwrap();
    assert_eq!(store.apply(&write).response, expired_at(60), "not the old answer, nor a new one");
}

#[test]
fn of_an_answer_that_does_not_fit_the_revision_is_kept() {
    let max = AnswerBytes { session: 400, user: 700, store: 900 };
    let sessions = SessionLimits { answer_bytes: max, ..SessionLimits::REPLICATED };
    let limits = ApplyLimits { sessions, ..ApplyLimits::default() };
    let mut store = MemoryView::new();
    let large = "x".repeat(300);
    store.apply(&command(9, 1, 1, 0, Operation::Put(put_request("a", large))));
    store.apply(&command(9, 2, 2, 0, delete(KeyRange::single("none")))).response.unwrap();
    let read_back = Operation::Put(PutRequest { prev_kv: true, ..put_request("a", "1") });
    let write = command(1, 1, 1, 0, read_back);
    let first = store.apply_within(&write, &limits).response;
    assert!(matches!(&first, Ok(Answer::Put(put)) if put.prev_kv.is_some()), "{first:?}");
    let retry = store.apply_within(&write, &limits).response;
    assert_eq!(retry, Err(OperationError::AnswerNotKept { revision: 3 }));

    // Small answers go on to be kept until not even a revision would fit.
    let small = |sequence, lowest| command(1, sequence, lowest, 0, put("a", "2"));
    assert!(store.apply_within(&small(2, 1), &limits).response.is_ok());
    let full = store.apply_within(&small(3, 1), &limits).response;
    assert_eq!(full, Err(OperationError::TooManyAnswersKept { max_bytes: max.user }));
    let with_room = store.apply_within(&small(3, 3), &limits).response;
    assert!(with_room.is_ok(), "{with_room:?}");
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
