//! Appends to one follower, several of them under way at once when the follower is far.
//!
//! One at a time is best for a near follower: what is proposed while an append is under way goes
//! out together in the next, and is written there with one sync. Over a long way one at a time
//! would cost each write two round trips, since the word that the write before is committed is an
//! append as well. So further ones are sent while the first is under way, at little intervals: what
//! is proposed in one goes out together.
//!
//! # What must stay true
//! - The requests are begun in their order, and the answers are told in that order. That they
//!   arrive in their order is likely, no more: two that wait for one connection to open may leave
//!   it in any. One that overtook another is refused, and the user of this stream must not take
//!   that for a fault of the other end. Until the first answer there is one request, so that the
//!   connection is open when the second leaves.
//! - At most [`UNDER_WAY_MAX`] requests and [`BYTES_UNDER_WAY_MAX`] and one request are under way.
//! - The first failure ends the stream: what was sent behind it counts for nothing.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

/// Most requests under way to one follower.
const UNDER_WAY_MAX: usize = 16;

/// Bytes of requests under way to one follower beyond which no further one is sent.
const BYTES_UNDER_WAY_MAX: usize = 8 * 1_024 * 1_024;

/// A round trip from which on a second request is sent behind the first.
const FAR: Duration = Duration::from_millis(2);

/// The requests of one stream, and those of them that are under way.
pub(super) struct Pipeline<R, F: Future> {
    requests: R,
    under_way: FuturesOrdered<F>,
    /// Of each request under way.
    bytes: VecDeque<usize>,
    sent_at: Instant,
    /// There are no more requests.
    exhausted: bool,
    /// The first answer came.
    answered: bool,
}

impl<R: Stream + Unpin, F: Future> Pipeline<R, F> {
    /// Nothing is under way yet.
    pub(super) fn new(requests: R) -> Self {
        Self {
            requests,
            under_way: FuturesOrdered::new(),
            bytes: VecDeque::new(),
            sent_at: Instant::now(),
            exhausted: false,
            answered: false,
        }
    }

    /// The outcome of the next request; none after the last. Sends further requests meanwhile, as
    /// `distance`, the round trip, allows. `send` tells the bytes of a request and begins it.
    pub(super) async fn next(
        &mut self,
        distance: impl Fn() -> Option<Duration>,
        mut send: impl FnMut(R::Item) -> (usize, F),
    ) -> Option<F::Output> {
        loop {
            let not_before = self.not_before(distance());
            let request = async {
                match not_before {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
                self.requests.next().await
            };
            tokio::select! {
                biased;
                Some(outcome) = self.under_way.next() => {
                    self.bytes.pop_front();
                    self.answered = true;
                    return Some(outcome);
                }
                request = request, if !self.exhausted => match request {
                    None => self.exhausted = true,
                    Some(request) => {
                        let (bytes, begun) = send(request);
                        self.bytes.push_back(bytes);
                        self.under_way.push_back(begun);
                        self.sent_at = Instant::now();
                    }
                },
                else => return None,
            }
        }
    }

    /// When the next request may be sent; none = not before an answer came.
    fn not_before(&self, distance: Option<Duration>) -> Option<Instant> {
        if self.under_way.is_empty() {
            return Some(self.sent_at);
        }
        let distance = distance.filter(|distance| *distance >= FAR)?;
        let has_room = self.answered
            && self.under_way.len() < UNDER_WAY_MAX
            && self.bytes.iter().sum::<usize>() < BYTES_UNDER_WAY_MAX;
        has_room.then(|| self.sent_at + distance / UNDER_WAY_MAX as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(160);

    /// Sends `count` requests of `bytes`; tells how many were under way at most and the outcomes.
    async fn run(count: usize, bytes: usize, distance: Option<Duration>) -> (usize, Vec<usize>) {
        let under_way = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let mut pipeline = Pipeline::new(stream::iter(0..count));
        let mut outcomes = Vec::new();
        let send = |request: usize| {
            let now = under_way.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(now, Ordering::Relaxed);
            let under_way = under_way.clone();
            let answered = async move {
                // The later ones would overtake the earlier.
                sleep(ROUND_TRIP - Duration::from_millis(request as u64 % 7)).await;
                under_way.fetch_sub(1, Ordering::Relaxed);
                request
            };
            (bytes, Box::pin(answered))
        };
        while let Some(outcome) = pipeline.next(|| distance, send).await {
            outcomes.push(outcome);
        }
        (most.load(Ordering::Relaxed), outcomes)
    }

    #[tokio::test(start_paused = true)]
    async fn to_a_near_follower_one_request_is_under_way() {
        for distance in [None, Some(FAR / 2)] {
            let (most, outcomes) = run(50, 1, distance).await;
            assert_eq!((most, outcomes), (1, (0..50).collect()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn to_a_far_follower_several_are_and_their_outcomes_keep_their_order() {
        let (most, _) = run(1, 1, Some(ROUND_TRIP)).await;
        assert_eq!(most, 1);
        let began = Instant::now();
        let (most, outcomes) = run(160, 1, Some(ROUND_TRIP)).await;
        assert_eq!(outcomes, (0..160).collect::<Vec<_>>());
        assert!((10..=UNDER_WAY_MAX).contains(&most), "{most}");
        assert!(began.elapsed() < ROUND_TRIP * 20, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limits_are_under_way() {
        // Far and answered late: only the limit on their number holds them.
        let (most, _) = run(100, 1, Some(FAR)).await;
        assert_eq!(most, UNDER_WAY_MAX);
        let (most, _) = run(100, BYTES_UNDER_WAY_MAX / 2, Some(FAR)).await;
        assert_eq!(most, 2);
    }
}
