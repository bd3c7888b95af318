//! How fast snapshots are sent: one allowance for all who get one from this node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets bytes through at a rate. Clones share it.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes_per_second: u64,
    /// When the next bytes may go.
    next: Arc<Mutex<Option<Instant>>>,
}

impl Pace {
    /// At most so many bytes a second; 0 = as many as there are.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, next: Arc::default() }
    }

    /// Waits until `bytes` more may be sent.
    pub async fn admit(&self, bytes: usize) {
        if let Some(at) = self.reserve(bytes, Instant::now()) {
            sleep_until(at).await;
        }
    }

    /// Takes the next place for `bytes`; answers when it begins, or none for at once.
    fn reserve(&self, bytes: usize, now: Instant) -> Option<Instant> {
        if self.bytes_per_second == 0 {
            return None;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = next.map_or(now, |next| next.max(now));
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *next = Some(begins + takes);
        (begins > now).then_some(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_each_other_at_the_rate_and_pauses_are_not_saved_up() {
        let pace = Pace::new(1_000);
        let start = Instant::now();
        assert_eq!(pace.reserve(500, start), None);
        assert_eq!(pace.reserve(500, start), Some(start + Duration::from_millis(500)));
        assert_eq!(pace.clone().reserve(1, start), Some(start + Duration::from_secs(1)));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.reserve(1_000, later), None);
        assert_eq!(pace.reserve(1, later), Some(later + Duration::from_secs(1)));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let pace = Pace::new(0);
        assert!((0..100).all(|_| pace.reserve(usize::MAX, now).is_none()));
    }
}
