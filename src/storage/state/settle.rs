//! Moving the history that is still in a file into the tables, in bounded steps.
//!
//! Each step is a transaction of its own, with the mark that says how far it came: a restart goes
//! on where it stopped. Between two steps the flusher rests for several times as long as the step
//! took, so that a node which has just joined does not take from its neighbours, or from its own
//! requests, what it gained by joining early.
//!
//! The history must come in revision order: LMDB fills pages only at the end of a table, and in its
//! middle leaves a third of each empty. So what is written meanwhile goes to the table `recent`, and
//! is taken back when the file's part is complete; then without much rest, for it grows with every
//! flush.

use super::backlog::{Backlog, revision_of};
use super::layout::Table;
use super::layout::meta::BacklogMark;
use super::write::TableWriter;
use crate::storage::StorageError;

/// Moves records of `backlog` from `mark` on, about `bytes_max` of them, and when there are none,
/// those of `recent`. Answers what is left; none when all of it is in its place.
pub(crate) fn settle_step(
    writer: &mut TableWriter<'_>,
    backlog: &Backlog,
    mark: BacklogMark,
    bytes_max: usize,
) -> Result<Option<BacklogMark>, StorageError> {
    if mark.records > 0 {
        return move_from_file(writer, backlog, mark, bytes_max).map(Some);
    }
    let is_all = writer.take_back_history(bytes_max)?;
    Ok((!is_all).then_some(mark))
}

fn move_from_file(
    writer: &mut TableWriter<'_>,
    backlog: &Backlog,
    mut mark: BacklogMark,
    bytes_max: usize,
) -> Result<BacklogMark, StorageError> {
    let file = backlog.file();
    let mut bytes = 0;
    let mut place = backlog.place_of(mark.next).unwrap_or(0);
    while let Some(chunk) = backlog.chunk(place)? {
        let mut records = chunk.records();
        while let Some((key, value)) = file.next_record(&mut records)? {
            let revision = revision_of(file, key)?;
            if revision < mark.next {
                continue;
            }
            mark.next = revision;
            if bytes >= bytes_max {
                return Ok(mark);
            }
            writer.append(Table::History, key, value)?;
            bytes += key.len() + value.len();
            mark.records = mark.records.checked_sub(1).ok_or_else(|| miscounted(backlog))?;
        }
        place += 1;
    }
    if mark.records == 0 { Ok(mark) } else { Err(miscounted(backlog)) }
}

fn miscounted(backlog: &Backlog) -> StorageError {
    backlog.file().contradiction("it has another number of versions than the state was built with")
}
