//! The way of a command: is it a retry, is it well formed, is it still permitted, what does it
//! change.
//!
//! Apply never fails for what a client asked: a refusal is an answer, recorded like any other, so
//! that a retry is refused in the same words. It fails only when the state cannot be read.

use std::sync::Arc;

use crate::types::{Answer, Command, Operation, OperationError};

use super::access;
use super::budget::Budget;
use super::compact::compact;
use super::delete_range::delete_range;
use super::draft::Draft;
use super::failure::settle_command;
use super::permission;
use super::put::put;
use super::roster;
use super::session::{self, Admission, Conclusion};
use super::staged_delete;
use super::txn::txn;
use super::validate::validate;
use super::{ApplyLimits, Change, StateView, StoredAnswer};

/// What one command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the client is answered.
    pub response: StoredAnswer,
    /// What changes, in order; to be applied together or not at all. Puts and deletes follow the
    /// `SetRevision` they belong to; changes of sessions come last.
    pub changes: Vec<Change>,
}

/// Applies a command to a state. Pure: the same state and command give the same outcome.
///
/// # Errors
/// The view's, when the state could not be read; nothing is known about the command then.
pub fn apply<V: StateView>(view: &V, command: &Command) -> Result<Applied, V::Error> {
    apply_within(view, command, &ApplyLimits::default())
}

/// [`apply`] with other limits than every member has: for tests, which reach them sooner.
///
/// # Errors
/// As for [`apply`].
pub fn apply_within<V: StateView>(
    view: &V,
    command: &Command,
    limits: &ApplyLimits,
) -> Result<Applied, V::Error> {
    let now_ms = command.leader_time_ms.max(view.leader_time_ms());
    let writer = match session::admit(view, command, now_ms, limits)? {
        Admission::Apply(writer) => writer,
        Admission::Answered(response) => return Ok(Applied { response, changes: Vec::new() }),
    };
    let (response, mut changes) = match execute(view, command, limits)? {
        Ok((answer, changes)) => (Ok(answer), changes),
        Err(refusal) => (Err(refusal), Vec::new()),
    };
    let conclusion = Conclusion { command, now_ms, answer: &response, limits };
    session::conclude(view, writer, conclusion, &mut changes)?;
    Ok(Applied { response, changes })
}

/// The answer and the changes of an operation, or its refusal.
type Executed = Result<(Answer, Vec<Change>), OperationError>;

fn execute<V: StateView>(
    view: &V,
    command: &Command,
    limits: &ApplyLimits,
) -> Result<Executed, V::Error> {
    let Command { operation, leader_time_ms: now_ms, .. } = command;
    if let Err(refusal) = validate(operation) {
        return Ok(Err(refusal));
    }
    if let Some(refusal) = permission::refusal(view, command) {
        return Ok(Err(refusal));
    }
    let mut draft = Draft::new(view);
    let mut budget = Budget::of_command(limits);
    let answer = match operation {
        Operation::Put(request) => put(&mut draft, request, &mut budget).map(Answer::Put),
        Operation::DeleteRange(request) => {
            let staged = staged_delete::stage(view, request, command.request_id, limits);
            match settle_command(staged)? {
                Ok(Some(staged)) => return Ok(Ok(staged)),
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            delete_range(&mut draft, request, &mut budget).map(Answer::DeleteRange)
        }
        Operation::Txn(request) => txn(&mut draft, request, &mut budget).map(Answer::Txn),
        Operation::ContinueDelete { revision, keys } => {
            return settle_command(staged_delete::go_on(view, *revision, *keys, limits));
        }
        Operation::Compact(request) => {
            let compacted = compact(view, *request);
            return Ok(compacted.map(|(answer, change)| (Answer::Compact(answer), vec![change])));
        }
        Operation::RegisterMember { node_id, address, client_addr } => {
            let change = Change::SetMember {
                node_id: *node_id,
                address: address.clone(),
                client_addr: client_addr.clone(),
            };
            return Ok(Ok((Answer::RegisterMember, vec![change])));
        }
        Operation::Access(operation) => {
            let changed = access::change(&view.access(), operation);
            return Ok(changed
                .map(|(answer, change)| (Answer::Access(answer), change.into_iter().collect()))
                .map_err(OperationError::from));
        }
        Operation::Cluster(operation) => {
            let changed = roster::change(&view.roster(), operation, *now_ms);
            return Ok(changed.map(|(answer, roster)| {
                let change = roster.map(|roster| Change::SetRoster(Arc::new(roster)));
                (Answer::Cluster(answer), change.into_iter().collect())
            }));
        }
    };
    Ok(settle_command(answer)?.map(|answer| (answer, draft.into_changes())))
}
