//! How far staged deletes are, for those who wait for one and those who drive it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::machine::Change;
use crate::types::StagedDelete;

/// Deletes that are finished and still remembered on this node, for those who wait for their answer.
const FINISHED_KEPT: usize = 64;

/// The staged deletes of this node's state.
#[derive(Clone, Debug, Default)]
pub struct StagedDeletes {
    /// Those that are not written out yet, in the order of their revisions.
    pub open: Arc<Vec<StagedDelete>>,
    /// The last that were finished since the node started: main revision and keys deleted.
    finished: VecDeque<(u64, u64)>,
}

impl StagedDeletes {
    /// Of a state that was just read.
    pub(crate) fn new(open: Arc<Vec<StagedDelete>>) -> Self {
        Self { open, finished: VecDeque::new() }
    }

    /// The one at a main revision.
    pub fn find(&self, revision: u64) -> Option<&StagedDelete> {
        self.open.iter().find(|staged| staged.revision == revision)
    }

    /// How many keys the delete at a main revision deleted, if it was finished not long ago.
    pub fn finished(&self, revision: u64) -> Option<u64> {
        let found = self.finished.iter().find(|(finished, _)| *finished == revision);
        found.map(|(_, deleted)| *deleted)
    }

    /// Remembers a delete that was finished.
    pub(crate) fn remember(&mut self, revision: u64, deleted: u64) {
        if self.finished.len() == FINISHED_KEPT {
            self.finished.pop_front();
        }
        self.finished.push_back((revision, deleted));
    }
}

/// Makes a change of the staged deletes; answers whether it was one.
pub(crate) fn change(open: &mut Arc<Vec<StagedDelete>>, change: &Change) -> bool {
    match change {
        Change::StageDelete(staged) => Arc::make_mut(open).push(staged.clone()),
        Change::WriteTombstone { revision, .. } => {
            update(open, revision.main, |staged| staged.next_sub = revision.sub + 1);
        }
        Change::AdvanceDelete { revision, cursor, deleted } => {
            update(open, *revision, |staged| {
                (staged.cursor, staged.deleted) = (cursor.clone(), *deleted);
            });
        }
        Change::FinishDelete { revision, .. } => {
            Arc::make_mut(open).retain(|staged| staged.revision != *revision);
        }
        _ => return false,
    }
    true
}

fn update(
    open: &mut Arc<Vec<StagedDelete>>,
    revision: u64,
    change: impl FnOnce(&mut StagedDelete),
) {
    let mut staged = Arc::make_mut(open).iter_mut();
    if let Some(staged) = staged.find(|staged| staged.revision == revision) {
        change(staged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_finished_deletes_are_remembered() {
        let mut deletes = StagedDeletes::default();
        for revision in 0..=FINISHED_KEPT as u64 {
            deletes.remember(revision, revision * 2);
        }
        assert_eq!(deletes.finished(0), None);
        assert_eq!(deletes.finished(1), Some(2));
        assert_eq!(deletes.finished(FINISHED_KEPT as u64), Some(2 * FINISHED_KEPT as u64));
    }
}
