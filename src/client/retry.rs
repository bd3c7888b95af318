//! What to do after an attempt that brought no answer: a pure decision.
//!
//! `(what came of the attempt, time left, jitter) -> retry, renew the session, or give up`. The
//! state between attempts is small: how often, and whether some attempt may have been applied
//! (the *doubt*). Rules:
//!
//! - A write is retried under the same request id, so retrying never applies it twice.
//! - Once there is doubt it stays: whatever refuses a later attempt says nothing about the
//!   earlier one, unless the state machine itself decides under the same request id.
//! - Doubt at the end of the time means [`Error::Unknown`]; no doubt means [`Error::Failed`].
//! - Reads have no doubt: what was not answered can be asked again.

use std::time::Duration;

use super::error::{Error, Failure};
use crate::types::{OperationError, RequestError};

/// The first wait between two attempts; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// The longest wait: short, because elections take about a second.
const BACKOFF_MAX: Duration = Duration::from_millis(400);

/// How often one write may start over in a new session. A second time is already strange.
const RENEWALS_MAX: u32 = 3;

/// What came of an attempt without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptError {
    /// Surely never sent: there was no connection.
    NotSent {
        /// Why.
        reason: String,
    },
    /// Sent, perhaps, and not answered: the connection was cut, or time ran out.
    Lost {
        /// Why.
        reason: String,
    },
    /// Cannot be put on the wire.
    Unsendable {
        /// Why.
        reason: String,
    },
    /// Executed, and the answer cannot be brought back; nor could another one.
    Unanswerable {
        /// Why.
        reason: String,
    },
    /// A node answered with an error.
    Refused(RequestError),
}

impl AttemptError {
    /// That the cluster forgot the session, and the replicated time at which it said so.
    pub(super) fn session_expired_at(&self) -> Option<u64> {
        match self {
            Self::Refused(RequestError::Operation(OperationError::SessionExpired { now_ms })) => {
                Some(*now_ms)
            }
            _ => None,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Send it again, under the same request id.
    Retry {
        /// Wait this long first.
        delay: Duration,
        /// Prefer another endpoint.
        elsewhere: bool,
    },
    /// Send it again under a request id of a new session: nothing was applied so far.
    Renew,
    /// Tell the caller.
    GiveUp(Error),
}

/// The attempts at one request so far.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    is_write: bool,
    /// Attempts at other endpoints that need no wait before them.
    moves_without_wait: usize,
    endpoints: usize,
    waits: u32,
    renewals: u32,
    /// Why an attempt may have been applied.
    doubt: Option<String>,
}

impl Attempts {
    /// No attempt yet, with this many endpoints to try.
    pub(super) fn new(is_write: bool, endpoints: usize) -> Self {
        let moves_without_wait = endpoints.saturating_sub(1).max(1);
        Self { is_write, moves_without_wait, endpoints, waits: 0, renewals: 0, doubt: None }
    }

    /// Decides. `remaining` until the caller's deadline, `jitter` drawn from `[0, 1)`.
    pub(super) fn next(&mut self, error: AttemptError, remaining: Duration, jitter: f64) -> Next {
        use RequestError as Refusal;
        if let AttemptError::Lost { reason }
        | AttemptError::Unanswerable { reason }
        | AttemptError::Refused(Refusal::OutcomeUnknown { reason }) = &error
        {
            self.note_doubt(reason);
        }
        if let AttemptError::Refused(under_way @ Refusal::DeleteUnderWay { .. }) = &error {
            self.note_doubt(&under_way.to_string());
        }
        let (delay, elsewhere) = match &error {
            AttemptError::NotSent { .. } | AttemptError::Lost { .. } => {
                (self.move_on(jitter), true)
            }
            AttemptError::Refused(Refusal::OutcomeUnknown { .. } | Refusal::Unavailable { .. }) => {
                // The only endpoint will hardly say something else at once.
                let delay =
                    if self.endpoints > 1 { self.move_on(jitter) } else { self.wait(jitter) };
                (delay, true)
            }
            AttemptError::Refused(Refusal::Overloaded { retry_after_ms }) => {
                let asked = Duration::from_millis(*retry_after_ms).mul_f64(1.0 + jitter / 2.0);
                (asked.max(self.wait(jitter)), false)
            }
            // The node has waited for the end as long as it could.
            AttemptError::Refused(Refusal::DeleteUnderWay { .. }) => (BACKOFF_MIN, false),
            AttemptError::Refused(Refusal::Operation(OperationError::TooManySessions {
                retry_after_ms,
                ..
            })) => {
                let asked = Duration::from_millis(*retry_after_ms).mul_f64(1.0 + jitter / 2.0);
                (asked, false)
            }
            AttemptError::Refused(
                Refusal::DeadlinePassed
                | Refusal::Operation(
                    OperationError::TooManyInFlight { .. }
                    | OperationError::TooManyAnswersKept { .. },
                ),
            ) => (self.wait(jitter), false),
            AttemptError::Refused(Refusal::Operation(OperationError::SessionExpired {
                ..
            })) if self.doubt.is_none() && self.renewals < RENEWALS_MAX => {
                self.renewals += 1;
                return Next::Renew;
            }
            AttemptError::Unsendable { .. }
            | AttemptError::Unanswerable { .. }
            | AttemptError::Refused(_) => {
                return Next::GiveUp(self.verdict(error));
            }
        };
        if delay >= remaining {
            return Next::GiveUp(self.verdict(error));
        }
        Next::Retry { delay, elsewhere }
    }

    /// The end, when time ran out before an attempt could be made.
    pub(super) fn out_of_time(&self, waiting_for: &str) -> Error {
        let reason = format!("no time left while waiting for {waiting_for}");
        self.verdict(AttemptError::NotSent { reason })
    }

    fn note_doubt(&mut self, reason: &str) {
        if self.is_write && self.doubt.is_none() {
            self.doubt = Some(reason.to_owned());
        }
    }

    /// The wait before trying elsewhere: none until every endpoint was tried.
    fn move_on(&mut self, jitter: f64) -> Duration {
        match self.moves_without_wait.checked_sub(1) {
            Some(left) => {
                self.moves_without_wait = left;
                Duration::ZERO
            }
            None => self.wait(jitter),
        }
    }

    fn wait(&mut self, jitter: f64) -> Duration {
        let delay = backoff(BACKOFF_MIN, BACKOFF_MAX, self.waits, jitter);
        self.waits = self.waits.saturating_add(1);
        delay
    }

    /// What the caller is told when there will be no further attempt.
    fn verdict(&self, last: AttemptError) -> Error {
        // The state machine decides under the request id: its word covers every attempt.
        if let AttemptError::Refused(RequestError::Operation(error)) = &last
            && !matches!(
                error,
                OperationError::SessionExpired { .. }
                    | OperationError::TooManyInFlight { .. }
                    | OperationError::TooManySessions { .. }
                    | OperationError::TooManyAnswersKept { .. }
            )
        {
            return error.clone().into();
        }
        if let AttemptError::Refused(under_way @ RequestError::DeleteUnderWay { .. }) = &last {
            return Error::Unknown {
                reason: format!("{under_way}; how many it deletes is not known yet"),
            };
        }
        if let Some(doubt) = &self.doubt {
            let reason = match &last {
                AttemptError::Lost { .. } | AttemptError::Unanswerable { .. } => doubt.clone(),
                _ => format!("{doubt}; then {}", describe(&last)),
            };
            return Error::Unknown { reason };
        }
        Error::Failed(failure(last))
    }
}

/// Exponential backoff with jitter: after `waits` earlier waits, between half and all of
/// `min * 2^waits`, which stops growing at `max`.
pub(super) fn backoff(min: Duration, max: Duration, waits: u32, jitter: f64) -> Duration {
    let full = min.saturating_mul(1 << waits.min(16)).min(max);
    full.mul_f64(0.5 + jitter / 2.0)
}

fn describe(error: &AttemptError) -> String {
    match error {
        AttemptError::NotSent { reason }
        | AttemptError::Lost { reason }
        | AttemptError::Unsendable { reason }
        | AttemptError::Unanswerable { reason } => reason.clone(),
        AttemptError::Refused(refusal) => refusal.to_string(),
    }
}

fn failure(last: AttemptError) -> Failure {
    match last {
        AttemptError::NotSent { reason } | AttemptError::Lost { reason } => {
            Failure::Unavailable { reason }
        }
        AttemptError::Unsendable { reason } | AttemptError::Unanswerable { reason } => {
            Failure::Invalid { reason }
        }
        AttemptError::Refused(refusal) => match refusal {
            // Not applied, and only for want of patience: the texts of these two say otherwise.
            RequestError::Operation(OperationError::SessionExpired { .. }) => {
                Failure::Unavailable {
                    reason: "the cluster forgot this client's session several times".into(),
                }
            }
            RequestError::Operation(OperationError::TooManyInFlight { .. }) => Failure::Overloaded,
            RequestError::Operation(error) => Failure::Operation(error),
            RequestError::OutcomeUnknown { reason } | RequestError::Unavailable { reason } => {
                Failure::Unavailable { reason }
            }
            RequestError::DeleteUnderWay { .. } => {
                unreachable!("the verdict on it is that the outcome is unknown")
            }
            RequestError::Overloaded { .. } => Failure::Overloaded,
            RequestError::DeadlinePassed => {
                Failure::Unavailable { reason: "the node had no time to start the request".into() }
            }
            RequestError::Invalid { reason } => Failure::Invalid { reason },
            RequestError::PermissionDenied { reason } => Failure::PermissionDenied { reason },
            RequestError::Refused { reason } => Failure::Refused { reason },
            no_space @ RequestError::NoSpace { .. } => Failure::NoSpace(no_space.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn not_sent() -> AttemptError {
        AttemptError::NotSent { reason: "refused".into() }
    }
    fn lost() -> AttemptError {
        AttemptError::Lost { reason: "cut".into() }
    }
    fn unavailable() -> AttemptError {
        AttemptError::Refused(RequestError::Unavailable { reason: "no leader".into() })
    }
    fn unknown() -> AttemptError {
        AttemptError::Refused(RequestError::OutcomeUnknown { reason: "leader lost".into() })
    }
    fn under_way() -> AttemptError {
        AttemptError::Refused(RequestError::DeleteUnderWay { revision: 7, deleted: 3 })
    }
    fn overloaded(retry_after_ms: u64) -> AttemptError {
        AttemptError::Refused(RequestError::Overloaded { retry_after_ms })
    }
    fn refused(error: OperationError) -> AttemptError {
        AttemptError::Refused(RequestError::Operation(error))
    }
    fn expired() -> AttemptError {
        refused(OperationError::SessionExpired { now_ms: 7 })
    }
    fn crowded() -> AttemptError {
        refused(OperationError::TooManySessions { max: 1, retry_after_ms: 1_000 })
    }
    fn denied() -> AttemptError {
        AttemptError::Refused(RequestError::PermissionDenied { reason: "no write".into() })
    }
    fn unsendable() -> AttemptError {
        AttemptError::Unsendable { reason: "too long".into() }
    }

    fn unanswerable() -> AttemptError {
        AttemptError::Unanswerable { reason: "answer too long".into() }
    }

    /// The end of a story: what the last decision was.
    #[derive(Debug, PartialEq)]
    enum End {
        Retry(u64, bool),
        Renew,
        Failed,
        Applied,
        Unknown,
    }

    fn tell(is_write: bool, endpoints: usize, remaining: Duration, story: &[AttemptError]) -> End {
        let mut attempts = Attempts::new(is_write, endpoints);
        let (last, before) = story.split_last().expect("a story has an end");
        for error in before {
            let next = attempts.next(error.clone(), LONG, 0.0);
            assert!(!matches!(next, Next::GiveUp(_)), "gave up early at {error:?}");
        }
        match attempts.next(last.clone(), remaining, 0.0) {
            Next::Retry { delay, elsewhere } => End::Retry(delay.as_millis() as u64, elsewhere),
            Next::Renew => End::Renew,
            Next::GiveUp(Error::Failed(_)) => End::Failed,
            Next::GiveUp(Error::Unknown { .. }) => End::Unknown,
            Next::GiveUp(Error::Applied { .. }) => End::Applied,
        }
    }

    #[test]
    fn what_follows_an_attempt_by_table() {
        use End::{Applied, Failed, Renew, Retry, Unknown};
        use OperationError::{AnswerNotKept, KeyNotFound, RequestIdReused};
        let over = Duration::ZERO;
        let table: Vec<(bool, usize, Duration, Vec<AttemptError>, End)> = vec![
            // Connections: the next endpoint at once, then a wait.
            (true, 3, LONG, vec![not_sent()], Retry(0, true)),
            (true, 3, LONG, vec![not_sent(), lost()], Retry(0, true)),
            (true, 3, LONG, vec![not_sent(), lost(), not_sent()], Retry(5, true)),
            (true, 1, LONG, vec![lost()], Retry(0, true)),
            (true, 1, LONG, vec![lost(), lost()], Retry(5, true)),
            // A node without a leader: elsewhere at once, or a wait for the only one.
            (true, 3, LONG, vec![unavailable()], Retry(0, true)),
            (true, 1, LONG, vec![unavailable()], Retry(5, true)),
            (true, 1, LONG, vec![unavailable(), unavailable()], Retry(10, true)),
            (true, 1, LONG, vec![unknown()], Retry(5, true)),
            // Overload: as long as asked, at the same place.
            (true, 3, LONG, vec![overloaded(70)], Retry(70, false)),
            (true, 3, LONG, vec![overloaded(0)], Retry(5, false)),
            (
                true,
                1,
                LONG,
                vec![refused(OperationError::TooManyInFlight { max: 1 })],
                Retry(5, false),
            ),
            // A delete that goes on: asked again, and known to be applied.
            (true, 3, LONG, vec![under_way()], Retry(10, false)),
            (true, 3, LONG, vec![under_way(), unavailable()], Retry(0, true)),
            (true, 3, over, vec![under_way()], Unknown),
            (true, 3, over, vec![under_way(), unavailable()], Unknown),
            // The end of time: doubt decides.
            (true, 3, over, vec![not_sent()], Failed),
            (true, 3, over, vec![unavailable()], Failed),
            (true, 3, over, vec![overloaded(1)], Failed),
            (true, 3, over, vec![lost()], Unknown),
            (true, 3, over, vec![unknown()], Unknown),
            (true, 3, over, vec![lost(), not_sent()], Unknown),
            (true, 3, over, vec![unknown(), overloaded(1)], Unknown),
            (true, 3, over, vec![lost(), unavailable()], Unknown),
            // Reads have no doubt.
            (false, 3, over, vec![lost()], Failed),
            (false, 3, over, vec![lost(), unknown()], Failed),
            (false, 3, LONG, vec![unknown()], Retry(0, true)),
            // Refusals: final, unless they cannot speak for an earlier attempt.
            (true, 3, LONG, vec![refused(KeyNotFound)], Failed),
            (true, 3, LONG, vec![lost(), refused(KeyNotFound)], Failed),
            (true, 3, LONG, vec![denied()], Failed),
            (true, 3, LONG, vec![lost(), denied()], Unknown),
            (true, 3, LONG, vec![unsendable()], Failed),
            (false, 3, LONG, vec![lost(), denied()], Failed),
            (false, 3, LONG, vec![unanswerable()], Failed),
            (true, 3, LONG, vec![unanswerable()], Unknown),
            // An expired session: start over only when nothing can have been applied.
            (true, 3, LONG, vec![expired()], Renew),
            (true, 3, LONG, vec![unavailable(), expired()], Renew),
            (true, 3, LONG, vec![lost(), expired()], Unknown),
            // No room for a session: as long as asked, and no word about an earlier attempt.
            (true, 3, LONG, vec![crowded()], Retry(1_000, false)),
            (true, 3, over, vec![crowded()], Failed),
            (true, 3, over, vec![lost(), crowded()], Unknown),
            // What the state machine says of the request id is the end of every doubt.
            (true, 3, LONG, vec![lost(), refused(RequestIdReused)], Failed),
            (true, 3, LONG, vec![lost(), refused(AnswerNotKept { revision: 7 })], Applied),
        ];
        for (is_write, endpoints, remaining, story, end) in table {
            assert_eq!(
                tell(is_write, endpoints, remaining, &story),
                end,
                "write {is_write}, {endpoints} endpoints, {remaining:?} left: {story:?}"
            );
        }
    }

    #[test]
    fn a_write_starts_over_in_new_sessions_only_a_few_times() {
        let mut attempts = Attempts::new(true, 1);
        for _ in 0..RENEWALS_MAX {
            assert_eq!(attempts.next(expired(), LONG, 0.0), Next::Renew);
        }
        assert!(matches!(attempts.next(expired(), LONG, 0.0), Next::GiveUp(Error::Failed(_))));
    }

    #[test]
    fn waits_double_up_to_a_limit_and_jitter_takes_at_most_half() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let halves: Vec<_> = (0..6).map(|n| backoff(min, max, n, 0.0).as_millis()).collect();
        assert_eq!(halves, [5, 10, 20, 40, 50, 50]);
        assert_eq!(backoff(min, max, 40, 1.0), max);
    }

    #[test]
    fn an_unknown_outcome_tells_what_caused_the_doubt() {
        let mut attempts = Attempts::new(true, 3);
        attempts.next(lost(), LONG, 0.0);
        let Next::GiveUp(Error::Unknown { reason }) =
            attempts.next(unavailable(), Duration::ZERO, 0.0)
        else {
            panic!("must be unknown");
        };
        assert_eq!(reason, "cut; then unavailable: no leader");
    }
}
