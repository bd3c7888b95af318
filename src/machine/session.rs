//! Sessions: what makes a client's retry apply once.
//!
//! Each write of a client carries `(client, sequence, lowest unanswered)`. The answer to a write is
//! a change of the state like any other, so whichever member leads next finds it and gives it back
//! instead of applying the write again. Answers below the lowest sequence that the client still
//! waits for are forgotten.
//!
//! ```text
//!   known session:    answered before -> that answer, if the operation is the same
//!                     below the lowest unanswered -> outcome unknown
//!                     else apply
//!   unknown session:  begun when nothing that was forgotten was still in use -> apply
//!                     else -> outcome unknown
//! ```
//!
//! # What must stay true
//! - **A session that the state does not know is begun only when it cannot have been forgotten.**
//!   Its client says when it began: a replicated time that some node had applied before the first
//!   write was sent. Whatever the client wrote was therefore applied at that time or later. Of
//!   everything that was forgotten the state remembers one number, a time after which none of it
//!   was in use ([`Forgotten`](super::Forgotten)); a client that began at or after it was never
//!   forgotten. No clock and no window has to be right for this.
//! - A session is not forgotten for want of room while its client may retry (its own window and
//!   [`SESSION_GRACE_MS`](crate::types::limits::SESSION_GRACE_MS)): only overdue ones make room for
//!   a new one, of the same user where that user has as many as it may. Without an overdue one the
//!   new session is refused by name. So a flood of clients costs nobody an answer.
//! - A name stands for one operation: the answer is given only to the operation that it belongs to.
//! - What is kept is bounded, in sessions and in bytes, for each client, user and in all. Of an
//!   answer that does not fit, the revision is kept, and a retry is told that.
//! - The sessions of a user end with the user.
//!
//! Time here is replicated time, the larger of the command's and of what the state has seen. A
//! session that is overdue and still there answers: being forgotten later than promised does no
//! harm.

use crate::failpoint::{Fault, planted};
use crate::types::limits::{
    KEPT_ANSWER_OVERHEAD_BYTES, RETRY_WINDOW_MS, SESSION_ANSWER_BYTES_MAX, SESSION_ANSWERS_MAX,
    SESSION_GRACE_MS, SESSION_RETRY_AFTER_MS, SESSION_TTL_MS, SESSIONS_EXPIRED_PER_COMMAND_MAX,
    SESSIONS_MAX, SESSIONS_PER_USER_MAX, STORE_ANSWER_BYTES_MAX, USER_ANSWER_BYTES_MAX,
};
use crate::types::{
    AccessOperation, Answer, ClientId, Command, Operation, OperationError, Principal, RequestId,
    RequestName, SignedRequest,
};

use super::fingerprint::fingerprint;
use super::signature;
use super::{AnswerBytes, ApplyLimits, Change, KeptAnswer, Recorded, StateView, StoredAnswer};

/// How much is kept for retries. *Replicated:* every member uses [`REPLICATED`](Self::REPLICATED);
/// others are for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one user.
    pub sessions_per_user: usize,
    /// Answers of one session.
    pub answers: usize,
    /// Bytes of answers of one session, one user, and in all.
    pub answer_bytes: AnswerBytes,
}

impl SessionLimits {
    /// What every member uses.
    pub const REPLICATED: Self = Self {
        sessions: SESSIONS_MAX,
        sessions_per_user: SESSIONS_PER_USER_MAX,
        answers: SESSION_ANSWERS_MAX,
        answer_bytes: AnswerBytes {
            session: SESSION_ANSWER_BYTES_MAX,
            user: USER_ANSWER_BYTES_MAX,
            store: STORE_ANSWER_BYTES_MAX,
        },
    };
}

/// What a session says to a write.
pub(super) enum Admission {
    /// It is new: apply it and record the answer.
    Apply(Writer),
    /// This is its answer, and nothing changes.
    Answered(StoredAnswer),
}

/// On whose behalf a command is applied.
pub(super) enum Writer {
    /// The cluster itself: nothing is recorded.
    Cluster,
    /// A client whose answer is recorded.
    Client(Box<ClientWrite>),
    /// Whoever signed a request that stands alone.
    Signed(SignedRequest),
}

/// A write whose answer is recorded.
pub(super) struct ClientWrite {
    id: RequestId,
    fingerprint: u64,
    /// From where on the session keeps answers once this one is recorded.
    lowest_unanswered: u64,
    /// The session's last activity; of one that begins with this write, when it says that it did.
    last_active_ms: u64,
    begins: bool,
    /// What is kept already.
    kept: AnswerBytes,
    /// Whether that is without what this write's `lowest_unanswered` drops.
    is_without_dropped: bool,
    /// Overdue sessions whose room it takes, with their last activity.
    makes_room: Vec<(ClientId, u64)>,
}

/// A command that was executed.
#[derive(Clone, Copy)]
pub(super) struct Conclusion<'a> {
    pub(super) command: &'a Command,
    pub(super) now_ms: u64,
    pub(super) answer: &'a StoredAnswer,
    pub(super) limits: &'a ApplyLimits,
}

/// Until when, in replicated milliseconds, a session's client may still be retrying.
pub fn due_ms(last_active_ms: u64, window_ms: u64) -> u64 {
    last_active_ms.saturating_add(window_ms.min(RETRY_WINDOW_MS)).saturating_add(SESSION_GRACE_MS)
}

/// What an answer counts that is kept, in bytes.
pub fn kept_bytes(answer: &StoredAnswer) -> u64 {
    let bytes = postcard::experimental::serialized_size(answer)
        .expect("no field of an answer refuses to be serialised");
    bytes as u64 + KEPT_ANSWER_OVERHEAD_BYTES
}

/// Decides whether a write is to be applied, at `now_ms`.
pub(super) fn admit<V: StateView>(
    view: &V,
    command: &Command,
    now_ms: u64,
    limits: &ApplyLimits,
) -> Result<Admission, V::Error> {
    let id = match &command.request_id {
        None => return Ok(Admission::Apply(Writer::Cluster)),
        Some(RequestName::Signature(request)) => {
            let user = &command.principal;
            let answered = signature::answered(view, request, user, now_ms, &limits.signatures)?;
            return Ok(match answered {
                Some(answer) => Admission::Answered(answer),
                None => Admission::Apply(Writer::Signed(*request)),
            });
        }
        Some(RequestName::Session(id)) => *id,
    };
    let limits = &limits.sessions;
    let RequestId { client, sequence, lowest_unanswered, begun_ms, .. } = id;
    let sessions_before_ms = view.forgotten().sessions_before_ms;
    // When a session may begin that is begun because of this refusal. It may lie a moment ahead of
    // the time, for what was forgotten may have been in use just now.
    let newest_begin_ms = now_ms.max(sessions_before_ms);
    let refusal = OperationError::SessionExpired { now_ms: newest_begin_ms };
    let unknown = Admission::Answered(Err(refusal));
    let fingerprint = fingerprint(command);
    let Some(session) = view.session_lookup(client, sequence)? else {
        let was_never_forgotten = planted(Fault::SessionEvicted)
            || (sessions_before_ms..=newest_begin_ms).contains(&begun_ms);
        if !was_never_forgotten || sequence < lowest_unanswered.max(1) {
            return Ok(unknown);
        }
        return begin(view, id, command, fingerprint, now_ms, limits);
    };
    if let Some(kept) = session.answer {
        let is_same = kept.fingerprint == fingerprint;
        return Ok(Admission::Answered(match is_same {
            true => kept.answer,
            false => Err(OperationError::RequestIdReused),
        }));
    }
    // Requests overtake one another: an older one does not bring forgotten answers back.
    let lowest_unanswered = lowest_unanswered.max(session.lowest_unanswered);
    if sequence < lowest_unanswered.max(1) {
        return Ok(unknown);
    }
    let mut kept = session.kept;
    let is_full = session.answers_kept >= limits.answers
        || kept.plus(KEPT_ANSWER_OVERHEAD_BYTES * 2).exceeds(&limits.answer_bytes);
    if is_full {
        let left = left_of(view, client, lowest_unanswered)?;
        if left.answers >= limits.answers {
            let max = limits.answers as u64;
            return Ok(Admission::Answered(Err(OperationError::TooManyInFlight { max })));
        }
        kept = kept.minus(left.freed_bytes);
    }
    if let Some(refusal) = no_room_for_an_outcome(&kept, limits) {
        return Ok(Admission::Answered(Err(refusal)));
    }
    Ok(Admission::Apply(Writer::Client(Box::new(ClientWrite {
        id,
        fingerprint,
        lowest_unanswered,
        last_active_ms: session.last_active_ms,
        begins: false,
        kept,
        is_without_dropped: is_full,
        makes_room: Vec::new(),
    }))))
}

/// Begins a session, if there is room for one more.
fn begin<V: StateView>(
    view: &V,
    id: RequestId,
    command: &Command,
    fingerprint: u64,
    now_ms: u64,
    limits: &SessionLimits,
) -> Result<Admission, V::Error> {
    let totals = view.session_totals(&command.principal);
    let crowded = if totals.user_sessions >= limits.sessions_per_user {
        Some((Some(&command.principal), limits.sessions_per_user))
    } else if totals.sessions >= limits.sessions {
        Some((None, limits.sessions))
    } else {
        None
    };
    let mut makes_room = Vec::new();
    if let Some((of, max)) = crowded {
        let due_by_ms = if planted(Fault::SessionEvicted) { u64::MAX } else { now_ms };
        makes_room = view.overdue_sessions(of, due_by_ms, 1)?;
        if makes_room.is_empty() {
            let (max, retry_after_ms) = (max as u64, SESSION_RETRY_AFTER_MS);
            let refusal = OperationError::TooManySessions { max, retry_after_ms };
            return Ok(Admission::Answered(Err(refusal)));
        }
    }
    let AnswerBytes { user, store, .. } = totals.kept;
    let kept = AnswerBytes { session: 0, user, store };
    if let Some(refusal) = no_room_for_an_outcome(&kept, limits) {
        return Ok(Admission::Answered(Err(refusal)));
    }
    Ok(Admission::Apply(Writer::Client(Box::new(ClientWrite {
        id,
        fingerprint,
        lowest_unanswered: id.lowest_unanswered,
        last_active_ms: id.begun_ms,
        begins: true,
        kept,
        is_without_dropped: true,
        makes_room,
    }))))
}

/// The refusal when not even an answer's revision could be kept.
fn no_room_for_an_outcome(kept: &AnswerBytes, limits: &SessionLimits) -> Option<OperationError> {
    let max_bytes = limits.answer_bytes.user;
    // An outcome takes a few bytes beyond the overhead; twice that is surely enough.
    kept.plus(KEPT_ANSWER_OVERHEAD_BYTES * 2)
        .exceeds(&limits.answer_bytes)
        .then_some(OperationError::TooManyAnswersKept { max_bytes })
}

/// What is left of a session's answers from `lowest` on, and what the others took.
struct Left {
    answers: usize,
    freed_bytes: u64,
}

fn left_of<V: StateView>(view: &V, client: ClientId, lowest: u64) -> Result<Left, V::Error> {
    let session = view.session(client)?.unwrap_or_default();
    let freed = session.answers.range(..lowest);
    Ok(Left {
        answers: session.answers.range(lowest..).count(),
        freed_bytes: freed.map(|(_, kept)| kept_bytes(&kept.answer)).sum(),
    })
}

/// Appends the changes of sessions that a command makes: overdue ones expire, at most
/// [`SESSIONS_EXPIRED_PER_COMMAND_MAX`] of them; those of a removed user end; one that can no longer
/// be retrying makes room for a new one where there is none; the writer's gets the answer.
pub(super) fn conclude<V: StateView>(
    view: &V,
    writer: Writer,
    conclusion: Conclusion<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), V::Error> {
    let Conclusion { command, now_ms, answer, limits } = conclusion;
    let removed = removed_user(command, answer);
    let writes_itself_off = removed.is_some_and(|name| command.principal.0 == name);
    let (own, mut ended) = match &writer {
        Writer::Client(write) => (Some(write.id.client), write.makes_room.clone()),
        Writer::Cluster | Writer::Signed(_) => (None, Vec::new()),
    };
    let signed = match &writer {
        Writer::Signed(request) => Some(request),
        Writer::Cluster | Writer::Client(_) => None,
    };
    signature::conclude(view, signed, conclusion, changes)?;
    let swept_before = now_ms.saturating_sub(SESSION_TTL_MS);
    let swept = view.overdue_sessions(None, swept_before, SESSIONS_EXPIRED_PER_COMMAND_MAX + 1)?;
    let of_others = swept.into_iter().filter(|(client, _)| Some(*client) != own);
    ended.extend(of_others.take(SESSIONS_EXPIRED_PER_COMMAND_MAX));
    if let Some(name) = removed {
        let user = Principal(name.to_owned());
        ended.extend(view.overdue_sessions(
            Some(&user),
            u64::MAX,
            limits.sessions.sessions_per_user,
        )?);
    }
    forget(view, ended, changes);
    if let Writer::Client(write) = writer
        && !writes_itself_off
    {
        changes.push(record(view, *write, conclusion)?);
    }
    Ok(())
}

/// Forgets sessions, and with them what began before their last activity.
fn forget<V: StateView>(view: &V, mut ended: Vec<(ClientId, u64)>, changes: &mut Vec<Change>) {
    if ended.is_empty() {
        return;
    }
    ended.sort_unstable();
    ended.dedup();
    let last_active_ms = ended.iter().map(|(_, active_ms)| *active_ms).max().unwrap_or(0);
    if last_active_ms >= view.forgotten().sessions_before_ms {
        changes.push(Change::RefuseBegun { before_ms: last_active_ms.saturating_add(1) });
    }
    changes.extend(ended.into_iter().map(|(client, _)| Change::ExpireSession(client)));
}

fn record<V: StateView>(
    view: &V,
    write: ClientWrite,
    conclusion: Conclusion<'_>,
) -> Result<Change, V::Error> {
    let Conclusion { command, now_ms, answer, limits } = conclusion;
    let limits = &limits.sessions;
    let ClientWrite { id, fingerprint, lowest_unanswered, last_active_ms, begins, kept, .. } =
        write;
    let bytes = kept_bytes(answer);
    let mut fits = !kept.plus(bytes).exceeds(&limits.answer_bytes);
    if !fits && !write.is_without_dropped {
        let freed_bytes = left_of(view, id.client, lowest_unanswered)?.freed_bytes;
        fits = !kept.minus(freed_bytes).plus(bytes).exceeds(&limits.answer_bytes);
    }
    let answer = match answer {
        Ok(answer) if !fits => Err(OperationError::AnswerNotKept { revision: revision_of(answer) }),
        answer => answer.clone(),
    };
    let recorded = Recorded {
        begins: begins.then(|| command.principal.clone()),
        sequence: id.sequence,
        lowest_unanswered,
        // Never before it began, whatever the time is: else it could be forgotten unnoticed.
        now_ms: now_ms.max(last_active_ms),
        window_ms: id.window_ms.min(RETRY_WINDOW_MS),
        answer: KeptAnswer { fingerprint, answer },
    };
    Ok(Change::RecordAnswer { client: id.client, recorded })
}

/// The user that a command has removed.
fn removed_user<'a>(command: &'a Command, answer: &StoredAnswer) -> Option<&'a str> {
    match (&command.operation, answer) {
        (Operation::Access(AccessOperation::RemoveUser { name }), Ok(_)) => Some(name),
        _ => None,
    }
}

/// The revision that an answer tells; 0 for one that tells none.
pub(super) fn revision_of(answer: &Answer) -> u64 {
    match answer {
        Answer::Put(answer) => answer.revision,
        Answer::DeleteRange(answer) => answer.revision,
        Answer::Txn(answer) => answer.revision,
        Answer::Compact(answer) => answer.revision,
        Answer::Access(answer) => answer.auth_revision,
        Answer::DeleteStaged { revision } => *revision,
        Answer::RegisterMember
        | Answer::Cluster(_)
        | Answer::DeleteContinued { .. }
        | Answer::Again(_) => 0,
    }
}
