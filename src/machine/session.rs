//! Sessions: what makes a client's retry apply once.
//!
//! Each write carries `(client, sequence, lowest unanswered)`. The answer to a write is a change
//! of the state like any other, so whichever member leads next finds it and gives it back instead
//! of applying the write again. Answers below the lowest sequence that the client still waits for
//! are forgotten.
//!
//! A session that is gone cannot tell a retry from a new write. Such a write is refused
//! (`SessionExpired`: outcome unknown), unless the client says that it has had no answer at all
//! yet, which is how a session begins. That last case is safe because clients give up on retries
//! long before sessions expire ([`RETRY_WINDOW_MS`](crate::types::limits::RETRY_WINDOW_MS)).
//!
//! Sessions expire by replicated time, a few with each command. One that is overdue but not swept
//! yet still answers: being forgotten later than promised does no harm.

use crate::types::limits::{
    SESSION_ANSWERS_MAX, SESSION_TTL_MS, SESSIONS_EXPIRED_PER_COMMAND_MAX, SESSIONS_MAX,
};
use crate::types::{ClientId, Command, OperationError, RequestId, RequestName};

use super::{Change, StateView, StoredAnswer};

/// What a session says to a write.
pub(super) enum Admission {
    /// It is new: apply it and record the answer.
    Apply(Writer),
    /// This is its answer, and nothing changes.
    Answered(StoredAnswer),
}

/// On whose behalf a command is applied.
#[derive(Clone, Copy)]
pub(super) enum Writer {
    /// The cluster itself: nothing is recorded.
    Cluster,
    /// A client whose answer is recorded.
    Client {
        request_id: RequestId,
        /// From where on the session keeps answers once this one is recorded.
        lowest_unanswered: u64,
        /// The session's last activity; 0 when the session begins with this write.
        last_active_ms: u64,
        begins: bool,
    },
}

/// Decides whether a write is to be applied.
pub(super) fn admit<V: StateView>(view: &V, command: &Command) -> Result<Admission, V::Error> {
    let Some(RequestName::Session(request_id)) = command.request_id else {
        return Ok(Admission::Apply(Writer::Cluster));
    };
    let RequestId { client, sequence, lowest_unanswered, .. } = request_id;
    let expired =
        Admission::Answered(Err(OperationError::SessionExpired { now_ms: command.leader_time_ms }));
    let Some(session) = view.session_lookup(client, sequence)? else {
        if lowest_unanswered > 1 || sequence < lowest_unanswered.max(1) {
            return Ok(expired);
        }
        let (last_active_ms, begins) = (0, true);
        return Ok(Admission::Apply(Writer::Client {
            request_id,
            lowest_unanswered,
            last_active_ms,
            begins,
        }));
    };
    if let Some(answer) = session.answer {
        return Ok(Admission::Answered(answer));
    }
    // Requests overtake one another: an older one does not bring forgotten answers back.
    let lowest_unanswered = lowest_unanswered.max(session.lowest_unanswered);
    if sequence < lowest_unanswered.max(1) {
        return Ok(expired);
    }
    if session.answers_kept >= SESSION_ANSWERS_MAX
        && answers_kept_from(view, client, lowest_unanswered)? >= SESSION_ANSWERS_MAX
    {
        let max = SESSION_ANSWERS_MAX as u64;
        return Ok(Admission::Answered(Err(OperationError::TooManyInFlight { max })));
    }
    let (last_active_ms, begins) = (session.last_active_ms, false);
    Ok(Admission::Apply(Writer::Client { request_id, lowest_unanswered, last_active_ms, begins }))
}

fn answers_kept_from<V: StateView>(
    view: &V,
    client: ClientId,
    lowest: u64,
) -> Result<usize, V::Error> {
    let session = view.session(client)?.unwrap_or_default();
    Ok(session.answers.range(lowest..).count())
}

/// Appends the changes of sessions that a command makes: overdue ones expire, at most
/// [`SESSIONS_EXPIRED_PER_COMMAND_MAX`] of them; the longest silent make room for a new one
/// beyond [`SESSIONS_MAX`]; the writer's gets the answer.
pub(super) fn conclude<V: StateView>(
    view: &V,
    writer: Writer,
    now_ms: u64,
    answer: &StoredAnswer,
    changes: &mut Vec<Change>,
) -> Result<(), V::Error> {
    let expired = to_expire(view, writer, now_ms)?;
    changes.extend(expired.into_iter().map(Change::ExpireSession));
    if let Writer::Client { request_id, lowest_unanswered, last_active_ms, .. } = writer {
        changes.push(Change::RecordAnswer {
            client: request_id.client,
            sequence: request_id.sequence,
            lowest_unanswered,
            now_ms: now_ms.max(last_active_ms),
            answer: answer.clone(),
        });
    }
    Ok(())
}

/// The sessions to forget, longest silent first; never the writer's own.
fn to_expire<V: StateView>(
    view: &V,
    writer: Writer,
    now_ms: u64,
) -> Result<Vec<ClientId>, V::Error> {
    let (own, begins) = match writer {
        Writer::Cluster => (None, false),
        Writer::Client { request_id, begins, .. } => (Some(request_id.client), begins),
    };
    let surplus = (view.session_count() + usize::from(begins)).saturating_sub(SESSIONS_MAX);
    let is_overdue = |last_active_ms: u64| last_active_ms.saturating_add(SESSION_TTL_MS) < now_ms;
    if surplus == 0 {
        // Nearly always nothing is overdue, and one look tells.
        let oldest = view.oldest_sessions(1)?;
        if !oldest.first().is_some_and(|(_, last_active_ms)| is_overdue(*last_active_ms)) {
            return Ok(Vec::new());
        }
    }
    let oldest = view.oldest_sessions(SESSIONS_EXPIRED_PER_COMMAND_MAX + 1)?;
    let expired = oldest
        .into_iter()
        .filter(|(client, _)| Some(*client) != own)
        .take(SESSIONS_EXPIRED_PER_COMMAND_MAX)
        .enumerate()
        .take_while(|(place, (_, last_active_ms))| *place < surplus || is_overdue(*last_active_ms))
        .map(|(_, (client, _))| client)
        .collect();
    Ok(expired)
}
