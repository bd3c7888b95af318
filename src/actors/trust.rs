//! Whether this node trusts what it holds, and what it must not do while it does not.
//!
//! Whoever finds something wrong says so here ([`Trust::distrust`]); whoever is about to do
//! something that rests on it asks first ([`Trust::may`]). The reasons are published as one
//! immutable value; what they forbid is one load of an atomic, so that a request may ask.
//!
//! | reason | votes | serves | gives | counts |
//! |---|---|---|---|---|
//! | its state is damaged, or differs | no | no | no | yes: its log is whole |
//! | its log lost acknowledged entries | no | no | yes: its state holds what is committed | no |
//! | its claim to its identity is not applied | no | no | no | no |
//! | it verifies what it holds | no | no | no | yes |
//!
//! # What must stay true
//! - A reason forbids from the moment `distrust` returns: nothing that asks afterwards is let in.
//! - A reason stays until the one who found it, or who repaired it, takes it back.
//! - There is one reason of each kind: a later one replaces what an earlier one said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use crate::types::{Distrust, RequestError};

/// What rests on what a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Granting votes and pre-votes, and standing for election.
    Votes,
    /// Reads and writes of clients through this node, linearizable or not.
    Serves,
    /// Giving its state to others: snapshots, seeds, backups.
    Gives,
    /// Counting for a quorum by what it acknowledges.
    Counts,
}

impl Duty {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a reason forbids.
fn forbids(reason: &Distrust) -> u8 {
    let duties: &[Duty] = match reason {
        Distrust::StateDamaged { .. } | Distrust::StateDiffers { .. } | Distrust::Verifying => {
            &[Duty::Votes, Duty::Serves, Duty::Gives]
        }
        Distrust::LogLostEntries { .. } => &[Duty::Votes, Duty::Serves, Duty::Counts],
        Distrust::Unclaimed => &[Duty::Votes, Duty::Serves, Duty::Gives, Duty::Counts],
    };
    duties.iter().fold(0, |bits, duty| bits | duty.bit())
}

/// The reasons of the moment; none = the node trusts what it holds.
pub type Reasons = Arc<[Distrust]>;

/// A node's trust in what it holds. Clones share it.
#[derive(Clone, Debug)]
pub struct Trust {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reasons: watch::Sender<Reasons>,
    /// What they forbid together: a bit for each [`Duty`]. Changed with them, under their lock.
    forbidden: AtomicU8,
}

impl Trust {
    /// Of a node that has found nothing wrong.
    pub fn new() -> Self {
        let reasons = watch::Sender::new(Reasons::from([]));
        Self { shared: Arc::new(Shared { reasons, forbidden: AtomicU8::new(0) }) }
    }

    /// From now on the node does not trust what it holds, for this reason as well.
    pub fn distrust(&self, reason: Distrust) {
        let changed = self.change(|reasons| {
            if reasons.contains(&reason) {
                return false;
            }
            reasons.retain(|known| known.name() != reason.name());
            reasons.push(reason.clone());
            true
        });
        if changed {
            tracing::error!(%reason, "this node does not trust what it holds");
        }
    }

    /// Takes back the reason of this name, when what it speaks of has been made good.
    pub fn regain(&self, name: &'static str) {
        let changed = self.change(|reasons| {
            let before = reasons.len();
            reasons.retain(|known| known.name() != name);
            reasons.len() != before
        });
        if changed {
            tracing::info!(reason = name, "a reason for distrust is gone");
        }
    }

    /// Whether nothing forbids it.
    pub fn may(&self, duty: Duty) -> bool {
        self.shared.forbidden.load(Ordering::Acquire) & duty.bit() == 0
    }

    /// Refuses a request when the node must not serve: another node can.
    pub fn check_serves(&self) -> Result<(), RequestError> {
        if self.may(Duty::Serves) { Ok(()) } else { Err(self.refusal()) }
    }

    /// Refuses to give away what the node does not trust.
    pub fn check_gives(&self) -> Result<(), RequestError> {
        if self.may(Duty::Gives) { Ok(()) } else { Err(self.refusal()) }
    }

    /// Whether the state must be replaced.
    pub fn reseeds(&self) -> bool {
        self.reasons().iter().any(Distrust::reseeds)
    }

    /// The reasons of the moment.
    pub fn reasons(&self) -> Reasons {
        Arc::clone(&self.shared.reasons.borrow())
    }

    /// The reasons, as they change.
    pub fn watch(&self) -> watch::Receiver<Reasons> {
        self.shared.reasons.subscribe()
    }

    /// The reasons in one line; empty when there are none.
    pub fn describe(&self) -> String {
        let reasons: Vec<String> = self.reasons().iter().map(ToString::to_string).collect();
        reasons.join("; ")
    }

    #[cold]
    fn refusal(&self) -> RequestError {
        RequestError::Unavailable {
            reason: format!(
                "this node does not trust its state and repairs itself; ask another ({})",
                self.describe()
            ),
        }
    }

    fn change(&self, edit: impl FnOnce(&mut Vec<Distrust>) -> bool) -> bool {
        self.shared.reasons.send_if_modified(|published| {
            let mut reasons = published.to_vec();
            if !edit(&mut reasons) {
                return false;
            }
            let forbidden = reasons.iter().fold(0, |bits, reason| bits | forbids(reason));
            self.shared.forbidden.store(forbidden, Ordering::Release);
            *published = reasons.into();
            true
        })
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUTIES: [Duty; 4] = [Duty::Votes, Duty::Serves, Duty::Gives, Duty::Counts];

    fn allowed(trust: &Trust) -> [bool; 4] {
        DUTIES.map(|duty| trust.may(duty))
    }

    #[test]
    fn each_reason_forbids_what_rests_on_what_it_speaks_of() {
        let damaged = Distrust::StateDamaged { detail: "record 7".to_owned() };
        for (reason, expected) in [
            (damaged, [false, false, false, true]),
            (Distrust::StateDiffers { index: 9 }, [false, false, false, true]),
            (Distrust::LogLostEntries { until: Some(3) }, [false, false, true, false]),
            (Distrust::Unclaimed, [false; 4]),
            (Distrust::Verifying, [false, false, false, true]),
        ] {
            let trust = Trust::new();
            assert_eq!(allowed(&trust), [true; 4]);
            trust.distrust(reason.clone());
            assert_eq!(allowed(&trust), expected, "{reason}");
            let refused = trust.check_serves().expect_err("it must not serve");
            assert!(refused.is_retryable(), "another node is to be asked: {refused}");
            assert!(refused.to_string().contains(&reason.to_string()), "{refused}");
            trust.regain(reason.name());
            assert_eq!(allowed(&trust), [true; 4]);
            assert_eq!(trust.check_serves(), Ok(()));
        }
    }

    #[test]
    fn a_reason_taken_back_leaves_the_others() {
        let trust = Trust::new();
        trust.distrust(Distrust::Unclaimed);
        trust.distrust(Distrust::LogLostEntries { until: Some(3) });
        trust.distrust(Distrust::LogLostEntries { until: Some(5) });
        assert_eq!(
            *trust.reasons(),
            [Distrust::Unclaimed, Distrust::LogLostEntries { until: Some(5) }]
        );
        trust.regain("unclaimed");
        assert_eq!(allowed(&trust), [false, false, true, false]);
    }

    #[test]
    fn watchers_hear_of_changes_only() {
        let trust = Trust::new();
        let watch = trust.watch();
        trust.regain("unclaimed");
        assert!(!watch.has_changed().expect("it lives"));
        trust.distrust(Distrust::Verifying);
        assert!(watch.has_changed().expect("it lives"));
    }
}
