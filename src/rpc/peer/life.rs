//! Whether anything is heard on a connection.
//!
//! A connection may stay open and be of no use: what stands between takes the bytes and passes
//! nothing on, or the other process is stopped. When a call was under way for longer than the
//! usual answer takes and nothing at all came back meanwhile, the connection is asked for a sign of
//! life; without one it is retired, and the next call opens another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Of one connection, shared by the calls on it.
#[derive(Debug)]
pub(super) struct Life {
    opened: Instant,
    /// When something was last heard, in microseconds after `opened`.
    heard_us: AtomicU64,
    /// Somebody waits for a sign of life: one at a time.
    asking: AtomicBool,
    retired: AtomicBool,
}

impl Life {
    /// Of a connection that was opened just now.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            heard_us: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    /// Something came back.
    pub(super) fn heard(&self) {
        let age = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.heard_us.fetch_max(age, Ordering::Relaxed);
    }

    /// Whether nothing came back for so long.
    pub(super) fn is_silent_for(&self, time: Duration) -> bool {
        let heard_at = self.opened + Duration::from_micros(self.heard_us.load(Ordering::Relaxed));
        heard_at.elapsed() >= time
    }

    /// Whether the caller is to ask for a sign of life; then it calls [`asked`](Self::asked).
    pub(super) fn begin_asking(&self) -> bool {
        !self.asking.swap(true, Ordering::Relaxed)
    }

    /// The sign of life came, or did not.
    pub(super) fn asked(&self, lives: bool) {
        if lives {
            self.heard();
        } else {
            self.retire();
        }
        self.asking.store(false, Ordering::Relaxed);
    }

    /// No further call goes over this connection.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether it was retired.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_begins_with_what_was_heard_last() {
        let life = Life::new();
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(life.is_silent_for(Duration::from_millis(500)));
        life.heard();
        assert!(!life.is_silent_for(Duration::from_millis(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(life.is_silent_for(Duration::from_millis(1)));
    }

    #[test]
    fn one_asks_at_a_time_and_without_a_sign_of_life_it_is_retired() {
        let life = Life::new();
        assert!(life.begin_asking());
        assert!(!life.begin_asking());
        life.asked(true);
        assert!(!life.is_retired());
        assert!(life.begin_asking());
        life.asked(false);
        assert!(life.is_retired());
    }
}
