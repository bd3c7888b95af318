//! How long the answers of a peer take on one lane, and how long to wait for the next.
//!
//! As TCP does it (RFC 6298): a smoothed round trip and its deviation make the limit, and a call
//! that stays unanswered doubles it. Without the doubling, answers that suddenly take longer than
//! the limit would all be thrown away, and the limit would never learn of them.
//!
//! # What must stay true
//! - A limit lies between [`LIMIT_MIN`] and [`LIMIT_MAX`], whatever was measured.
//! - However long the answers take, up to [`LIMIT_MAX`], one is waited for after a few calls.
//! - The distance is not the smoothed round trip: a disk or a queue that holds an answer up for a
//!   moment does not move the peer away.

use std::time::Duration;

/// The shortest limit: a few heartbeats. A peer whose disk has a bad moment is not lost.
pub(super) const LIMIT_MIN: Duration = Duration::from_millis(500);
/// The longest limit: a large append over a slow line.
pub(super) const LIMIT_MAX: Duration = Duration::from_secs(8);

/// Doublings after which [`LIMIT_MAX`] is reached in any case.
const DOUBLINGS_MAX: u32 = 4;

/// What was measured on one lane. Nothing at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RoundTrip {
    measured: Option<Measured>,
    /// Calls in a row that had no answer.
    missed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measured {
    smoothed: Duration,
    deviation: Duration,
    distance: Duration,
}

impl RoundTrip {
    /// An answer came after `took`.
    pub(super) fn answered(&mut self, took: Duration) {
        self.missed = 0;
        let took = took.min(LIMIT_MAX);
        self.measured = Some(match self.measured {
            None => Measured { smoothed: took, deviation: took / 2, distance: took },
            Some(before) => Measured {
                smoothed: before.smoothed * 7 / 8 + took / 8,
                deviation: before.deviation * 3 / 4 + before.smoothed.abs_diff(took) / 4,
                // Down at once, up by little steps: the least of the last few dozen answers.
                distance: took.min(before.distance + before.distance.abs_diff(took) / 32),
            },
        });
    }

    /// No answer came in time.
    pub(super) fn missed(&mut self) {
        self.missed = (self.missed + 1).min(DOUBLINGS_MAX);
    }

    /// How long to wait for the next answer.
    pub(super) fn limit(&self) -> Duration {
        let usual = self.measured.map_or(LIMIT_MIN, |measured| {
            (measured.smoothed * 2 + measured.deviation * 4).max(LIMIT_MIN)
        });
        (usual * (1 << self.missed)).min(LIMIT_MAX)
    }

    /// The round trip without what holds single answers up; none before the first answer.
    pub(super) fn distance(&self) -> Option<Duration> {
        self.measured.map(|measured| measured.distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_limit_follows_the_round_trip_and_stays_in_its_bounds() {
        let mut near = RoundTrip::default();
        assert_eq!((near.limit(), near.distance()), (LIMIT_MIN, None));
        let mut far = near;
        let mut endless = near;
        for _ in 0..64 {
            near.answered(Duration::from_micros(200));
            far.answered(ms(250));
            endless.answered(Duration::from_secs(3_600));
        }
        assert_eq!(near.limit(), LIMIT_MIN);
        assert!((ms(500)..ms(520)).contains(&far.limit()), "{:?}", far.limit());
        assert_eq!(endless.limit(), LIMIT_MAX);
    }

    #[test]
    fn jitter_makes_the_limit_longer() {
        let mut link = RoundTrip::default();
        for round in 0..256 {
            link.answered(if round % 2 == 0 { ms(200) } else { ms(400) });
        }
        assert!(link.limit() > ms(800), "{:?}", link.limit());
    }

    #[test]
    fn answers_that_suddenly_take_longer_than_the_limit_are_waited_for_after_a_few_calls() {
        for took in [ms(700), ms(2_500), LIMIT_MAX] {
            let mut link = RoundTrip::default();
            for _ in 0..64 {
                link.answered(ms(1));
            }
            let mut calls = 0;
            while link.limit() < took {
                link.missed();
                calls += 1;
                assert!(calls <= 4, "{took:?} is never waited for");
            }
            link.answered(took);
            assert!(link.limit() > took || link.limit() == LIMIT_MAX, "{took:?}");
        }
    }

    #[test]
    fn the_distance_falls_at_once_and_rises_slowly() {
        let mut link = RoundTrip::default();
        link.answered(ms(100));
        link.answered(ms(2));
        assert_eq!(link.distance(), Some(ms(2)));
        link.answered(ms(400));
        assert!(link.distance() < Some(ms(16)), "one slow answer is no distance");
        for _ in 0..256 {
            link.answered(ms(400));
        }
        assert!(link.distance() > Some(ms(390)), "{:?}", link.distance());
    }
}
