//! Moving the history that is still in a file into the tables, in bounded steps.
//!
//! Each step is a transaction of its own, with the mark that says how far it came: a restart goes
//! on where it stopped. Between two steps the flusher rests for several times as long as the step
//! took, so that a node which has just joined does not take from its neighbours, or from its own
//! requests, what it gained by joining early.
//!
//! The records come in revision order, below those that were flushed since. LMDB fills a page to
//! its end when what is put comes after everything in it, also in the middle of a tree: the table
//! grows as if it had been appended to.

use super::backlog::{Backlog, contradiction, revision_of};
use super::layout::Table;
use super::layout::meta::BacklogMark;
use super::write::TableWriter;
use crate::storage::StorageError;

/// Moves records of `backlog` from `mark` on, about `bytes_max` of them. Answers what is left; none
/// when all of it is in the tables.
pub(crate) fn settle_step(
    writer: &mut TableWriter<'_>,
    backlog: &Backlog,
    mut mark: BacklogMark,
    bytes_max: usize,
) -> Result<Option<BacklogMark>, StorageError> {
    let file = backlog.file();
    let mut bytes = 0;
    let mut place = backlog.place_of(mark.next).unwrap_or(0);
    while let Some(chunk) = backlog.chunk(place)? {
        let mut records = chunk.records();
        while let Some((key, value)) = backlog.next_record(&mut records)? {
            let revision = revision_of(file, key)?;
            if revision < mark.next {
                continue;
            }
            if bytes >= bytes_max {
                mark.next = revision;
                return Ok(Some(mark));
            }
            writer.put(Table::History, key, value)?;
            bytes += key.len() + value.len();
            mark.records = mark.records.checked_sub(1).ok_or_else(|| miscounted(backlog))?;
        }
        place += 1;
    }
    if mark.records == 0 { Ok(None) } else { Err(miscounted(backlog)) }
}

fn miscounted(backlog: &Backlog) -> StorageError {
    contradiction(backlog.file(), "it has another number of versions than the state was built with")
}
