//! The checks: strict serializability by revision, and linearizability of each register by search.
//!
//! A violation is a fact about what clients saw. Nothing here knows which faults were at work: a
//! node may refuse to start, heal itself or be away, and no answer may be wrong.

mod invariants;
mod order;
mod registers;
mod replay;
mod revisions;
mod search;

use std::collections::BTreeMap;

use crate::history::{Names, Op, Seen};

pub use replay::Replay;

/// How many violations of a kind are kept in words.
const TEXTS_MAX: usize = 6;

/// What the checks found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By kind: how many, and some of them in words.
    pub violations: BTreeMap<&'static str, (u64, Vec<String>)>,
    /// Registers that were searched.
    pub searched: u64,
    /// Registers whose search gave up.
    pub undecided: u64,
    /// Serializable reads that went back across a restart of their node: how many, how far.
    pub went_back: (u64, u64),
}

impl Report {
    fn violation(&mut self, kind: &'static str, text: String) {
        let entry = self.violations.entry(kind).or_default();
        entry.0 += 1;
        if entry.1.len() < TEXTS_MAX {
            entry.1.push(text);
        }
    }

    pub fn total(&self) -> u64 {
        self.violations.values().map(|v| v.0).sum()
    }

    pub fn kinds(&self) -> String {
        self.violations.iter().map(|(k, v)| format!("{k}:{}", v.0)).collect::<Vec<_>>().join(" ")
    }
}

/// What every check reads.
struct Evidence<'a> {
    names: &'a Names,
    history: &'a [Op],
    replay: &'a Replay,
}

impl Evidence<'_> {
    fn say(&self, op: &Op) -> String {
        op.describe(self.names)
    }
}

pub fn check(names: &Names, history: &[Op], replay: &Replay) -> Report {
    let mut report = Report::default();
    let evidence = Evidence { names, history, replay };
    let placed = revisions::check(&evidence, &mut report);
    order::real_time(&evidence, &placed, &mut report);
    order::future(&evidence, &placed, &mut report);
    order::serializable_reads(&evidence, &mut report);
    invariants::check(&evidence, &mut report);
    registers::check(&evidence, &mut report);
    report
}

/// Whether two sights of a version agree; an unknown version (0) agrees with any.
fn same(a: Option<Seen>, b: Option<Seen>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let versions = a.version == b.version && a.create_revision == b.create_revision;
            a.value == b.value
                && a.mod_revision == b.mod_revision
                && (a.version == 0 || b.version == 0 || versions)
        }
        _ => false,
    }
}
