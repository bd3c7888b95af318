//! For how long a follower honours a leader of which it hears nothing. Pure.
//!
//! Near by, a leader is heard every heartbeat or more often, and a few hundred milliseconds of
//! silence mean that it is dead. Far away it is heard once a round trip: there the same silence is
//! one late message. So the usual pause between two signs of life is measured, with its deviation,
//! and the limit is a few of them.
//!
//! # What must stay true
//! - The limit is at least what the configuration draws, and at most [`Timings::limit_max`].
//! - A pause longer than that is an outage: nothing is learnt of it.
//! - A leader whose process is known to be gone is honoured no longer, until it is heard again.

use std::time::{Duration, Instant};

use crate::config::RaftConfig;
use crate::types::NodeId;

/// How many of its usual pauses a leader is waited for.
const PAUSES: u32 = 4;

/// How the first candidates keep out of each other's way near by, where a round of votes takes a
/// few milliseconds and two syncs.
const ROUND_NEAR: Duration = Duration::from_millis(40);

/// What the configuration says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timings {
    heartbeat: Duration,
    drawn_min: Duration,
    drawn_max: Duration,
    lease: Duration,
}

impl Timings {
    /// Of this configuration.
    pub(super) fn new(config: &RaftConfig) -> Self {
        Self {
            heartbeat: config.heartbeat(),
            drawn_min: config.election_timeout_min(),
            drawn_max: config.election_timeout_max(),
            lease: Duration::from_millis(config.lease_ms()),
        }
    }

    /// A node's own silence limit near by; `chance` lies in 0..1.
    pub(super) fn draw(&self, chance: f64) -> Duration {
        self.drawn_min + (self.drawn_max - self.drawn_min).mul_f64(chance.clamp(0.0, 1.0))
    }

    fn limit_max(&self) -> Duration {
        self.lease * 2
    }
}

/// What one follower heard of its leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    timings: Timings,
    heard_at: Instant,
    /// Whether a leader was heard since the node started, or led itself.
    was_heard: bool,
    /// The usual pause between two signs of life, and how much it differs.
    pause: Duration,
    deviation: Duration,
    /// The leader whose process is known to be gone.
    gone: Option<NodeId>,
}

impl Silence {
    /// Nothing was heard yet; the silence begins now.
    pub(super) fn new(timings: Timings, now: Instant) -> Self {
        let pause = timings.heartbeat;
        Self {
            timings,
            heard_at: now,
            was_heard: false,
            pause,
            deviation: Duration::ZERO,
            gone: None,
        }
    }

    /// The leader was heard.
    pub(super) fn heard(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.heard_at);
        if pause < self.timings.limit_max() {
            self.deviation = self.deviation * 3 / 4 + self.pause.abs_diff(pause) / 4;
            self.pause = self.pause * 7 / 8 + pause / 8;
        }
        self.heard_at = now;
        self.was_heard = true;
        self.gone = None;
    }

    /// The silence begins now, whatever was before: the node itself led until now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.heard_at = now;
        self.was_heard = false;
        self.gone = None;
    }

    /// The process of this leader is gone.
    pub(super) fn leader_gone(&mut self, leader: NodeId) {
        self.gone = Some(leader);
    }

    /// When the leader was last heard.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Until when `leader` is honoured by a node that has drawn `drawn`; none = no longer.
    pub(super) fn honoured_until(&self, leader: NodeId, drawn: Duration) -> Option<Instant> {
        if self.gone == Some(leader) {
            return None;
        }
        let far = (self.pause + self.deviation * 2) * PAUSES;
        Some(self.heard_at + drawn.max(far).min(self.timings.limit_max()))
    }

    /// Whether a vote against `leader` is refused: it was heard within the shortest limit there is,
    /// so that whoever stands with a longer one finds nobody who still waits. The leader of before
    /// a restart is not: when the whole cluster was started anew, it leads no longer.
    pub(super) fn is_honoured(&self, leader: NodeId, now: Instant) -> bool {
        self.was_heard
            && self.honoured_until(leader, self.timings.drawn_min).is_some_and(|until| now < until)
    }

    /// About how long it takes until the others have answered and synced.
    fn round(&self) -> Duration {
        // Heard once a heartbeat or more often, it is near, or at least not known to be far.
        if self.pause > self.timings.heartbeat * 3 / 2 { self.pause } else { ROUND_NEAR }
    }

    /// How long the voter of this rank leaves the election to those before it.
    pub(super) fn turn(&self, rank: u32) -> Duration {
        self.round() * 5 / 2 * rank
    }

    /// How long to wait after the `tries`-th try in a row (from 0) that brought no leader: longer
    /// each time, and never the same for two nodes. `chance` lies in 0..1.
    pub(super) fn retry(&self, tries: u32, chance: f64) -> Duration {
        let round = self.round() * 5 / 2 * (1 << tries.min(8));
        round.min(self.timings.lease).mul_f64(1.0 + chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeId = 7;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A follower that has heard its leader so often, with these pauses in turn.
    fn after(pauses: &[Duration]) -> (Silence, Instant) {
        let mut now = crate::clock::monotonic();
        let mut silence = Silence::new(Timings::new(&RaftConfig::default()), now);
        for pause in pauses.iter().cycle().take(200) {
            now += *pause;
            silence.heard(now);
        }
        (silence, now)
    }

    fn limit(silence: &Silence, drawn: Duration) -> Duration {
        silence.honoured_until(LEADER, drawn).expect("honoured") - silence.heard_at()
    }

    #[test]
    fn near_by_the_limit_is_the_one_drawn() {
        for pauses in [&[ms(100)][..], &[ms(1)], &[ms(100), ms(1), ms(1)]] {
            let (silence, _) = after(pauses);
            assert_eq!(limit(&silence, ms(600)), ms(600));
            assert_eq!(limit(&silence, ms(1_000)), ms(1_000));
        }
    }

    #[test]
    fn far_away_a_few_pauses_are_waited_for() {
        let (silence, _) = after(&[ms(250)]);
        assert!((ms(950)..ms(1_050)).contains(&limit(&silence, ms(600))));
        let (silence, _) = after(&[ms(200), ms(330)]);
        assert!(limit(&silence, ms(600)) > ms(1_100));
        let (silence, _) = after(&[ms(2_000)]);
        assert_eq!(limit(&silence, ms(600)), silence.timings.limit_max());
    }

    #[test]
    fn an_outage_teaches_nothing() {
        let (mut silence, now) = after(&[ms(100)]);
        silence.heard(now + Duration::from_secs(3_600));
        assert_eq!(limit(&silence, ms(600)), ms(600));
    }

    #[test]
    fn votes_are_refused_while_the_leader_is_heard_and_no_longer_when_it_is_gone() {
        let (mut silence, now) = after(&[ms(100)]);
        assert!(silence.is_honoured(LEADER, now + ms(599)));
        assert!(!silence.is_honoured(LEADER, now + ms(601)));
        silence.leader_gone(LEADER);
        assert!(!silence.is_honoured(LEADER, now));
        assert!(silence.is_honoured(LEADER + 1, now), "another one leads meanwhile");
        silence.heard(now);
        assert!(silence.is_honoured(LEADER, now), "it was heard after all");
    }

    #[test]
    fn the_leader_of_before_a_restart_is_not_honoured_until_it_is_heard() {
        let now = crate::clock::monotonic();
        let mut silence = Silence::new(Timings::new(&RaftConfig::default()), now);
        assert!(!silence.is_honoured(LEADER, now));
        silence.heard(now);
        assert!(silence.is_honoured(LEADER, now));
        silence.begin(now);
        assert!(!silence.is_honoured(LEADER, now));
    }

    #[test]
    fn whoever_draws_longest_still_stands_before_the_others_give_up_waiting() {
        let timings = Timings::new(&RaftConfig::default());
        assert_eq!((timings.draw(0.0), timings.draw(1.0)), (ms(600), ms(1_000)));
        // openraft's own elections stand behind ours.
        assert!(timings.draw(1.0) <= timings.lease);
    }

    #[test]
    fn tries_in_a_row_are_further_apart_each_time() {
        let (silence, _) = after(&[ms(100)]);
        let pauses: Vec<_> = (0..6).map(|tries| silence.retry(tries, 0.0)).collect();
        assert_eq!(pauses, [ms(100), ms(200), ms(400), ms(800), ms(1_200), ms(1_200)]);
        assert_eq!(silence.retry(0, 1.0), ms(200));
        assert_eq!((silence.turn(0), silence.turn(1)), (Duration::ZERO, ms(100)));
        let (far, _) = after(&[ms(250)]);
        assert!(far.turn(1) > ms(600), "a round of votes over a long way takes as long");
    }
}
