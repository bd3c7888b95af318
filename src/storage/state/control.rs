//! When the flusher works: the meeting place of those who make changes and the thread that writes
//! them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// What the flusher should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Write the changes there are.
    Flush,
    /// Go on moving history into the tables.
    Settle,
    /// Nothing is to be written: go on removing what was compacted.
    Compact,
    /// Write what is left, and end.
    Stop,
}

/// Wakes the flusher.
#[derive(Debug, Default)]
pub(crate) struct FlushControl {
    /// Whether the state below already knows of changes; spares the lock for every one of them.
    dirty: AtomicBool,
    /// Likewise of a full generation.
    full: AtomicBool,
    state: Mutex<ControlState>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct ControlState {
    dirty_since: Option<Instant>,
    full: bool,
    forced: bool,
    /// When the next part of the history may be moved; none when all of it was.
    settle_at: Option<Instant>,
    compacting: bool,
    stopping: bool,
}

impl FlushControl {
    /// Changes are there; `full` when they should be written without waiting for more. Called
    /// after they can be frozen.
    pub(crate) fn changed(&self, full: bool) {
        let newly_dirty = !self.dirty.swap(true, Ordering::AcqRel);
        let newly_full = full && !self.full.swap(true, Ordering::AcqRel);
        if newly_dirty || newly_full {
            let mut state = self.lock();
            state.dirty_since.get_or_insert_with(clock::monotonic);
            state.full |= full;
            self.wake.notify_one();
        }
    }

    /// Somebody waits for what is there to be written.
    pub(crate) fn force(&self) {
        self.lock().forced = true;
        self.wake.notify_one();
    }

    /// Whether there is history left to move: in how long from now the flusher goes on with it.
    pub(crate) fn set_settling(&self, rest: Option<Duration>) {
        self.lock().settle_at = rest.and_then(|rest| clock::monotonic().checked_add(rest));
        self.wake.notify_one();
    }

    /// Whether there is something left to remove.
    pub(crate) fn set_compacting(&self, compacting: bool) {
        self.lock().compacting = compacting;
        self.wake.notify_one();
    }

    /// Asks the flusher to end. Answers false when it was asked before.
    pub(crate) fn stop(&self) -> bool {
        let first = !std::mem::replace(&mut self.lock().stopping, true);
        self.wake.notify_one();
        first
    }

    /// Whether the flusher was asked to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits until there is work; for changes, until `interval` after the first of them. History
    /// comes first when its time has come, for it rests between two steps and a flush need not.
    pub(crate) fn wait(&self, interval: Duration) -> Work {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return Work::Stop;
            }
            let now = clock::monotonic();
            let rest = state.settle_at.map(|at| at.saturating_duration_since(now));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Work::Settle;
            }
            let wait = match state.dirty_since {
                Some(since) => interval.checked_sub(now.duration_since(since)),
                None if state.forced => None,
                None if state.compacting => return Work::Compact,
                None => Some(Duration::MAX),
            };
            match wait {
                Some(wait) if !state.forced && !state.full => {
                    let wait = wait.min(rest.unwrap_or(LONGEST_WAIT)).min(LONGEST_WAIT);
                    let woken = self.wake.wait_timeout(state, wait);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => {
                    // Before the freeze: what is changed after it must wake the flusher again.
                    self.dirty.store(false, Ordering::Release);
                    self.full.store(false, Ordering::Release);
                    (state.dirty_since, state.full, state.forced) = (None, false, false);
                    return Work::Flush;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ControlState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bound for systems that cannot add [`Duration::MAX`] to their clock; waking early is harmless.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn changes_wait_for_the_interval_unless_full_or_forced() {
        let control = FlushControl::default();
        control.changed(false);
        assert_eq!(control.wait(Duration::ZERO), Work::Flush);
        control.changed(false);
        control.changed(true);
        assert_eq!(control.wait(LONG), Work::Flush);
        control.changed(false);
        control.force();
        assert_eq!(control.wait(LONG), Work::Flush);
    }

    #[test]
    fn stopping_comes_first_and_compacting_last() {
        let control = FlushControl::default();
        control.set_compacting(true);
        assert_eq!(control.wait(LONG), Work::Compact);
        control.changed(true);
        assert_eq!(control.wait(LONG), Work::Flush);
        assert_eq!(control.wait(LONG), Work::Compact);
        assert!(control.stop());
        assert!(!control.stop());
        assert_eq!(control.wait(LONG), Work::Stop);
    }

    #[test]
    fn history_is_moved_when_its_time_has_come() {
        let control = FlushControl::default();
        control.set_compacting(true);
        control.changed(true);
        control.set_settling(Some(Duration::ZERO));
        assert_eq!(control.wait(LONG), Work::Settle);
        control.set_settling(Some(LONG));
        assert_eq!(control.wait(LONG), Work::Flush);
        assert_eq!(control.wait(LONG), Work::Compact);
        control.set_compacting(false);
        control.set_settling(Some(Duration::from_millis(1)));
        assert_eq!(control.wait(LONG), Work::Settle);
        control.set_settling(None);
        control.stop();
        assert_eq!(control.wait(LONG), Work::Stop);
    }

    #[test]
    fn a_waiting_flusher_is_woken() {
        let control = FlushControl::default();
        std::thread::scope(|scope| {
            let flusher = scope.spawn(|| control.wait(Duration::ZERO));
            control.changed(false);
            assert_eq!(flusher.join().unwrap(), Work::Flush);
        });
    }
}
