//! The requests that are under way, so that a node that stops can wait for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Far above the number of connections that a node has.
const REQUESTS_MAX: u32 = 1 << 24;

/// See the module.
#[derive(Debug)]
pub(super) struct UnderWay {
    places: Semaphore,
    ended: AtomicBool,
}

impl UnderWay {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(REQUESTS_MAX as usize), ended: AtomicBool::new(false) }
    }

    /// One more, until it is dropped; none after the end.
    pub(super) fn begin(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.places.try_acquire().ok()?;
        // Looked at with the place in hand: whoever ends sees either the place or this refusal.
        (!self.ended.load(Ordering::SeqCst)).then_some(place)
    }

    /// Lets no more begin. Answers whether all have ended in time.
    pub(super) async fn end(&self, within: Duration) -> bool {
        self.ended.store(true, Ordering::SeqCst);
        timeout(within, self.places.acquire_many(REQUESTS_MAX)).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_what_began_and_lets_nothing_more_begin() {
        let under_way = UnderWay::new();
        let one = under_way.begin().expect("taken");
        assert!(!under_way.end(Duration::from_secs(1)).await);
        assert!(under_way.begin().is_none());
        drop(one);
        assert!(under_way.end(Duration::from_secs(1)).await);
        assert!(under_way.begin().is_none());
    }
}
