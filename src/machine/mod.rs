//! The state machine, pure: a view of the state and a command in, an answer and changes out.
//!
//! No clock, no I/O, no randomness: the same log gives the same state on every member. The view
//! may read a disk behind the trait; its errors pass through untouched and are fatal to the node.
//!
//! In reading order: [`apply()`] is the way of a command (is it a retry? is it well formed? what
//! does it change?). Writes gather in a `Draft`, which reads as the state with those writes
//! already made; only a command that succeeds as a whole turns its draft into changes. [`range()`]
//! and [`read_txn`] are the same evaluation for reads that do not go through the log.

mod access;
mod apply;
mod budget;
mod compact;
mod compare;
mod delete_range;
mod draft;
mod duplicate;
mod event;
mod failure;
mod fingerprint;
mod member;
mod permission;
mod put;
mod range;
mod roster;
mod session;
mod signature;
mod sorted;
mod staged_delete;
mod txn;
mod validate;
mod view;
mod visits;

pub use apply::{Applied, apply, apply_within};
pub use event::events;
pub use range::{range, range_within};
pub use roster::roster_after_membership;
pub use session::{SessionLimits, due_ms, kept_bytes};
pub use signature::SignatureLimits;
pub use txn::{read_txn, read_txn_within};
pub use validate::{validate, validate_range, validate_txn};
pub use view::{
    AnswerBytes, Change, Forgotten, KeptAnswer, KeptSignature, Recorded, Session, SessionLookup,
    SessionTotals, SignatureTotals, StateView, StoredAnswer, VersionVisitor,
};
pub use visits::{ApplyLimits, Visits};
