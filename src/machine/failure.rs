//! The two ways an evaluation ends early, kept apart.
//!
//! A refusal is an answer: the same on every member, recorded for the client's retries. A state
//! that cannot be read is not an answer at all: it stops the node. Inside the machine both travel
//! through `?` as one [`Failure`]; at its edge [`settle`] takes them apart again.

use crate::types::OperationError;

/// Why an evaluation ended without an answer.
#[derive(Debug)]
pub(super) enum Failure<E> {
    /// The operation is refused.
    Refused(OperationError),
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

/// Takes a refusal, which is an answer, apart from a state that could not be read.
pub(super) fn settle<T, E>(outcome: Outcome<T, E>) -> Result<Result<T, OperationError>, E> {
    match outcome {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        Err(Failure::State(error)) => Err(error),
    }
}
