//! Signed requests that stand alone: what makes a captured one, or one that is sent again, apply
//! once, at whichever node it arrives.
//!
//! A mutation over HTTP has no session. Its signature covers all that decides what is written and
//! the date, so whoever sends the same bytes again sends the same request: the signature is its
//! request id, and the answer to it is kept in the state like one of a session.
//!
//! # What must stay true
//! - **A signature that the state does not know is taken for new only when it cannot have been
//!   forgotten.** Signatures are forgotten in the order of their dates, and of all that were
//!   forgotten the state remembers the latest date ([`Forgotten`](super::Forgotten)). What is dated
//!   then or earlier is refused. Replicated time is no date: it only says how long one was kept.
//! - None is forgotten before its window has passed in replicated time: until then a retry gets its
//!   answer. A few thousand are kept beyond it, so that a cluster with little of such traffic forgets
//!   none, and a client whose clock is behind is not refused for it.
//! - What is kept is bounded, in all and for each user: a new one beyond it is refused by name.
//! - A request that is denied for want of rights is not kept.
//!
//! A node whose clock is ahead may let in a request of a later date. It is forgotten after all that
//! are dated before it, and only for one that is dated later still: it refuses nobody whose clock is
//! right.

use crate::types::limits::{
    SESSION_RETRY_AFTER_MS, SIGNATURE_ANSWER_BYTES_MAX, SIGNATURE_GRACE_MS,
    SIGNATURE_WINDOW_MS_MAX, SIGNATURES_FORGOTTEN_PER_COMMAND_MAX, SIGNATURES_KEPT_FREELY,
    SIGNATURES_MAX, SIGNATURES_PER_USER_MAX,
};
use crate::types::{Answer, OperationError, Principal, SignatureKey, SignedRequest};

use super::session::{Conclusion, kept_bytes, revision_of};
use super::{Change, KeptSignature, StateView, StoredAnswer};

/// How many signatures are kept. *Replicated:* every member uses [`REPLICATED`](Self::REPLICATED);
/// others are for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureLimits {
    /// In all.
    pub signatures: usize,
    /// Of one user.
    pub per_user: usize,
    /// Up to how many none is forgotten.
    pub kept_freely: usize,
}

impl SignatureLimits {
    /// What every member uses.
    pub const REPLICATED: Self = Self {
        signatures: SIGNATURES_MAX,
        per_user: SIGNATURES_PER_USER_MAX,
        kept_freely: SIGNATURES_KEPT_FREELY,
    };
}

/// The answer to a request that must not be applied: the first one, or a refusal; none of one that
/// is new.
pub(super) fn answered<V: StateView>(
    view: &V,
    request: &SignedRequest,
    user: &Principal,
    now_ms: u64,
    limits: &SignatureLimits,
) -> Result<Option<StoredAnswer>, V::Error> {
    let key = request.key();
    if let Some(kept) = view.signature(&key)? {
        return Ok(Some(Ok(Answer::Again(Box::new(kept.answer)))));
    }
    let through_seconds = view.forgotten().signatures_through_seconds;
    let dated_seconds = key.dated_seconds;
    if dated_seconds <= through_seconds {
        return Ok(Some(Err(OperationError::RequestExpired { dated_seconds, through_seconds })));
    }
    let totals = view.signature_totals(user);
    let max = if totals.user_signatures >= limits.per_user {
        limits.per_user
    } else if totals.signatures >= limits.signatures {
        limits.signatures
    } else {
        return Ok(None);
    };
    if !passed(view, request, now_ms, 1)?.is_empty() {
        // It makes room.
        return Ok(None);
    }
    let retry_after_ms = SESSION_RETRY_AFTER_MS;
    Ok(Some(Err(OperationError::TooManySignatures { max: max as u64, retry_after_ms })))
}

/// Appends the changes of signatures that a command makes: its own is kept, and some whose window
/// has passed are forgotten.
pub(super) fn conclude<V: StateView>(
    view: &V,
    request: Option<&SignedRequest>,
    conclusion: Conclusion<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), V::Error> {
    let Some(request) = request else { return Ok(()) };
    let Conclusion { command, now_ms, answer, .. } = conclusion;
    if matches!(answer, Err(OperationError::PermissionDenied { .. })) {
        return Ok(());
    }
    let window_ms = request.window_ms.min(SIGNATURE_WINDOW_MS_MAX);
    let answer = match answer {
        Ok(answer) if kept_bytes(&Ok(answer.clone())) > SIGNATURE_ANSWER_BYTES_MAX => {
            Err(OperationError::AnswerNotKept { revision: revision_of(answer) })
        }
        answer => answer.clone(),
    };
    let kept = KeptSignature {
        owner: command.principal.clone(),
        kept_until_ms: now_ms.saturating_add(window_ms).saturating_add(SIGNATURE_GRACE_MS),
        answer,
    };
    forget(view, request, conclusion, changes)?;
    changes.push(Change::RecordSignature { key: request.key(), kept });
    Ok(())
}

/// Forgets the earliest dated whose windows have passed, where more are kept than freely, and raises
/// the date up to which requests are refused.
fn forget<V: StateView>(
    view: &V,
    request: &SignedRequest,
    conclusion: Conclusion<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), V::Error> {
    let Conclusion { command, now_ms, limits, .. } = conclusion;
    let kept = view.signature_totals(&command.principal).signatures;
    let surplus = (kept + 1).saturating_sub(limits.signatures.kept_freely);
    let limit = surplus.min(SIGNATURES_FORGOTTEN_PER_COMMAND_MAX);
    let passed = match limit {
        0 => Vec::new(),
        limit => passed(view, request, now_ms, limit)?,
    };
    if let Some(latest) = passed.last() {
        let through_seconds = latest.dated_seconds;
        changes.push(Change::RefuseDated { through_seconds });
        changes.extend(passed.into_iter().map(Change::ForgetSignature));
    }
    Ok(())
}

/// Up to `limit` of the earliest dated whose windows have passed, and which are dated before
/// `request`: no request raises the date to its own.
fn passed<V: StateView>(
    view: &V,
    request: &SignedRequest,
    now_ms: u64,
    limit: usize,
) -> Result<Vec<SignatureKey>, V::Error> {
    let oldest = view.oldest_signatures(limit)?.into_iter();
    let passed = oldest.take_while(|(key, kept_until_ms)| {
        *kept_until_ms < now_ms && key.dated_seconds < request.dated_seconds
    });
    Ok(passed.map(|(key, _)| key).collect())
}
