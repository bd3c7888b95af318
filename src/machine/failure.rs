//! The ways an evaluation ends early, kept apart.
//!
//! A refusal is an answer: the same on every member, recorded for the client's retries. A state
//! that cannot be read is not an answer at all: it stops the node. A read that nobody waits for any
//! more has neither. Inside the machine all travel through `?` as one [`Failure`]; at its edge
//! [`settle`] takes them apart again.

use crate::types::OperationError;

/// Why an evaluation ended without an answer.
#[derive(Debug)]
pub(super) enum Failure<E> {
    /// The operation is refused.
    Refused(OperationError),
    /// Nobody waits for the answer. Never of a command.
    Abandoned,
    /// The state could not be read.
    State(E),
}

/// What an evaluation inside the machine ends in.
pub(super) type Outcome<T, E> = Result<T, Failure<E>>;

impl<E> From<OperationError> for Failure<E> {
    fn from(refusal: OperationError) -> Self {
        Self::Refused(refusal)
    }
}

/// Takes a refusal, which is an answer, apart from a state that could not be read; none when nobody
/// waits for the answer.
pub(super) fn settle<T, E>(outcome: Outcome<T, E>) -> Result<Option<Result<T, OperationError>>, E> {
    match outcome {
        Ok(answer) => Ok(Some(Ok(answer))),
        Err(Failure::Refused(refusal)) => Ok(Some(Err(refusal))),
        Err(Failure::Abandoned) => Ok(None),
        Err(Failure::State(error)) => Err(error),
    }
}

/// [`settle`] of what is never abandoned.
pub(super) fn settle_command<T, E>(outcome: Outcome<T, E>) -> Result<Result<T, OperationError>, E> {
    let settled = settle(outcome)?;
    Ok(settled.unwrap_or_else(|| unreachable!("only reads are abandoned")))
}
