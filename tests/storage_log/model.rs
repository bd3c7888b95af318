//! Random histories against a naive model: a vector, a purged id, a vote.

use std::collections::BTreeMap;

use chainfire::consensus::{RaftEntry, RaftLogId, RaftVote};
use chainfire::storage::{LogOptions, LogStore};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::support::{SMALL, entry, log_id, open, start_append};

#[derive(Clone, Debug)]
enum Step {
    /// Append so many entries of so many bytes, in a term that is so much higher; wait or not.
    Append {
        count: u64,
        payload_bytes: usize,
        term_step: u64,
        wait: bool,
    },
    /// Keep this share of the entries, in percent.
    Truncate {
        share: u64,
    },
    /// Purge this share of the entries, in percent; above 100 beyond the end.
    Purge {
        share: u64,
    },
    Vote {
        term: u64,
    },
    Read {
        from: u64,
        count: u64,
    },
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40u64, 16..600usize, 0..2u64, any::<bool>()).prop_map(
            |(count, payload_bytes, term_step, wait)| {
                Step::Append { count, payload_bytes, term_step, wait }
            }
        ),
        2 => (0..=100u64).prop_map(|share| Step::Truncate { share }),
        2 => (0..=110u64).prop_map(|share| Step::Purge { share }),
        1 => (0..9u64).prop_map(|term| Step::Vote { term }),
        5 => (0..300u64, 0..100u64).prop_map(|(from, count)| Step::Read { from, count }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, RaftEntry>,
    purged: Option<RaftLogId>,
    vote: Option<RaftVote>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<RaftLogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.purged)
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// The index at `share` percent of the entries.
    fn at(&self, share: u64) -> u64 {
        let (first, next) = (self.first_index(), self.next_index());
        first + (next - first) * share / 100
    }
}

async fn run(steps: Vec<Step>, options: LogOptions) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path(), options).unwrap().0;
    let mut model = Model::default();
    let mut waiting = Vec::new();
    for step in steps {
        match step {
            Step::Append { count, payload_bytes, term_step, wait } => {
                model.term += term_step;
                let next = model.next_index();
                let entries: Vec<_> = (next..next + count)
                    .map(|index| entry(model.term, index, payload_bytes))
                    .collect();
                model
                    .entries
                    .extend(entries.iter().map(|entry| (entry.log_id.index, entry.clone())));
                let flushed = start_append(&log, entries).await.unwrap();
                if wait {
                    flushed.await.unwrap().unwrap();
                } else {
                    waiting.push(flushed);
                }
            }
            Step::Truncate { share } => {
                let mut kept = model.entries.clone();
                let _ = kept.split_off(&model.at(share));
                model.entries = kept;
                model.term += 1;
                log.truncate_after(model.last()).await.unwrap();
            }
            Step::Purge { share } => {
                let index = model.at(share);
                let purged = model
                    .entries
                    .get(&index)
                    .map_or(log_id(model.term, index), |entry| entry.log_id);
                model.entries = model.entries.split_off(&(index + 1));
                model.purged = Some(purged);
                log.purge(purged).await.unwrap();
            }
            Step::Vote { term } => {
                let vote = RaftVote::new(term, 1);
                model.vote = Some(vote);
                log.save_vote(&vote).await.unwrap();
            }
            Step::Read { from, count } => {
                let from = model.first_index().saturating_sub(20) + from;
                check_reads(&log, &model, from, from + count).await?;
            }
            Step::Reopen => {
                drop(log);
                log = open(directory.path(), options).unwrap().0;
            }
        }
        check_ends(&mut log, &model).await?;
    }
    check_reads(&log, &model, 0, u64::MAX).await?;
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    drop(log);
    log = open(directory.path(), options).unwrap().0;
    check_ends(&mut log, &model).await?;
    check_reads(&log, &model, 0, u64::MAX).await
}

async fn check_ends(log: &mut LogStore, model: &Model) -> Result<(), TestCaseError> {
    let state = log.get_log_state().await.unwrap();
    prop_assert_eq!(state.last_purged_log_id, model.purged);
    prop_assert_eq!(state.last_log_id, model.last());
    prop_assert_eq!(log.reader().read_vote().await.unwrap(), model.vote);
    Ok(())
}

async fn check_reads(
    log: &LogStore,
    model: &Model,
    from: u64,
    to: u64,
) -> Result<(), TestCaseError> {
    let expected: Vec<_> = model.entries.range(from..to).map(|(_, entry)| entry.clone()).collect();
    let mut reader = log.reader();
    prop_assert_eq!(&reader.try_get_log_entries(from..to).await.unwrap(), &expected);
    let limited = reader.limited_get_log_entries(from, to).await.unwrap();
    if model.entries.contains_key(&from) && from < to {
        prop_assert!(!limited.is_empty());
        prop_assert_eq!(&limited[..], &expected[..limited.len()]);
    } else {
        prop_assert!(limited.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model_says(
        steps in prop::collection::vec(any_step(), 1..40),
        tail_bytes_max in prop_oneof![Just(0usize), Just(4_000), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps, LogOptions { tail_bytes_max, ..SMALL }))?;
    }
}
