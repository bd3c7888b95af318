//! The replicated clock.
//!
//! Sessions (and leases) must expire by a time that every member agrees on, so the leader writes
//! its reading of this clock into each command. It is no wall clock: it counts milliseconds of the
//! time in which the cluster had a leader.
//!
//! ```text
//!   begins to lead:   the time starts from what the state has seen (the last command's)
//!   while it leads:   += monotonic time until a quorum last confirmed it, in steps of at most
//!                        STEP_MAX, looked at every TICK
//!   does not lead:    the time is what the state has seen
//! ```
//!
//! # What must stay true
//! - What a node's own clock did while it did not lead counts for nothing: a node that begins to
//!   lead starts from what the state has seen, and from the moment at which it began.
//! - What nobody confirmed counts for nothing: only up to the sending of the last message that a
//!   quorum acknowledged does the time go on. A leader that was cut off has none to add.
//! - A jump counts for no more than [`STEP_MAX`]: a process, a machine or a whole cluster that was
//!   frozen, or had no quorum for hours, goes on from where it stood.
//! - While a node leads, its reading never runs back and never lies behind what it has seen. Across
//!   leaders it is apply that takes the larger of two times.
//!
//! What follows is that the clock may go too slowly (a leader is not looked at for longer than a
//! step, time passes without a command and its leader dies), and never faster than the leader's own
//! monotonic clock. Whatever expires by it lives longer by that, never shorter.
//!
//! # Users
//! A command carries [`now_ms`](ReplicatedClock::now_ms). A cluster without writes has a clock that
//! moves on its leader only; whoever must not lose that to a change of leaders (a lease with an
//! hour to go) writes it down now and then with a command of its own, and sees by
//! [`unwritten_ms`](ReplicatedClock::unwritten_ms) when that is worth it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::failpoint::{Fault, planted};

/// How often the clock is looked at on a node.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The longest time that one look adds. Above what a leader's confirmations are apart: a heartbeat
/// and a round trip.
pub(super) const STEP_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(STEP_MAX.as_millis() >= 4 * TICK.as_millis());

/// One node's reading of the replicated clock.
#[derive(Debug, Default)]
pub(super) struct ReplicatedClock {
    /// While it leads: the time at the last look, in milliseconds. Else 0.
    leading_ms: AtomicU64,
    reign: Mutex<Option<Reign>>,
}

/// A term in which the node leads.
#[derive(Debug)]
struct Reign {
    term: u64,
    /// The time at `until`.
    time: Duration,
    /// How far on the monotonic clock time was counted.
    until: Instant,
}

/// That the node leads, as consensus says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leads {
    /// In which term.
    pub(super) term: u64,
    /// When the last message was sent that a quorum acknowledged; none before the first.
    pub(super) confirmed: Option<Instant>,
}

impl ReplicatedClock {
    /// Looks at the clock: counts the time that passed, if the node leads. `observed_ms` is the
    /// time of the last command that was applied.
    pub(super) fn tick(&self, leads: Option<Leads>, observed_ms: u64, now: Instant) {
        let mut reign = self.reign.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Leads { term, confirmed }) = leads else {
            *reign = None;
            self.leading_ms.store(0, Ordering::Relaxed);
            return;
        };
        let observed = Duration::from_millis(observed_ms);
        let current = match reign.take() {
            Some(Reign { term: same, mut time, mut until }) if same == term => {
                if let Some(confirmed) = confirmed.filter(|confirmed| *confirmed > until) {
                    let step = confirmed - until;
                    time += if planted(Fault::ClockRunsOn) { step } else { step.min(STEP_MAX) };
                    until = confirmed;
                }
                Reign { term, time: time.max(observed), until }
            }
            _ => Reign { term, time: observed, until: now },
        };
        self.leading_ms.store(to_ms(current.time), Ordering::Relaxed);
        *reign = Some(current);
    }

    /// The time: what the state has seen, or on a leader what it has counted, if that is more.
    pub(super) fn now_ms(&self, observed_ms: u64) -> u64 {
        self.leading_ms.load(Ordering::Relaxed).max(observed_ms)
    }

    /// How far the clock has moved past the last command, in milliseconds: what would be lost if
    /// the leader died now.
    pub(super) fn unwritten_ms(&self, observed_ms: u64) -> u64 {
        self.now_ms(observed_ms) - observed_ms
    }
}

fn to_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with a monotonic clock of its own, which may go wrong.
    struct Node {
        clock: ReplicatedClock,
        now: Instant,
        rate: f64,
    }

    impl Node {
        fn new() -> Self {
            Self::with_rate(1.0)
        }

        fn with_rate(rate: f64) -> Self {
            Self { clock: ReplicatedClock::default(), now: crate::clock::monotonic(), rate }
        }

        /// True time passes; this node's clock makes of it what it does.
        fn pass(&mut self, time: Duration) {
            self.now += time.mul_f64(self.rate);
        }

        fn leads(&self, term: u64) -> Option<Leads> {
            Some(Leads { term, confirmed: Some(self.now) })
        }

        /// Leads for `time`, confirmed all along; answers what it would write at the end.
        fn lead(&mut self, term: u64, time: Duration, observed_ms: u64) -> u64 {
            self.clock.tick(self.leads(term), observed_ms, self.now);
            let ticks = time.as_millis() / TICK.as_millis();
            for _ in 0..ticks {
                self.pass(TICK);
                self.clock.tick(self.leads(term), observed_ms, self.now);
            }
            self.clock.now_ms(observed_ms)
        }

        fn follow(&mut self, time: Duration, observed_ms: u64) {
            self.clock.tick(None, observed_ms, self.now);
            self.pass(time);
            self.clock.tick(None, observed_ms, self.now);
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn it_counts_the_time_of_a_confirmed_leader_from_what_the_state_has_seen() {
        let mut node = Node::new();
        assert_eq!(node.lead(1, MINUTE, 5_000), 65_000);
        assert_eq!(node.clock.unwritten_ms(5_000), 60_000);
        // Pulled forward by what another leader wrote, never back.
        assert_eq!(node.lead(1, TICK, 90_000), 90_100);
        assert_eq!(node.clock.now_ms(0), 90_100);
    }

    #[test]
    fn it_stands_on_a_node_that_follows_whatever_its_own_clock_does() {
        let mut node = Node::with_rate(1_000.0);
        node.follow(24 * HOUR, 7_000);
        assert_eq!(node.clock.now_ms(7_000), 7_000);
        node.clock.tick(node.leads(2), 7_000, node.now);
        assert_eq!(node.clock.now_ms(7_000), 7_000, "it begins with what the state has seen");
    }

    #[test]
    fn a_leader_without_a_quorum_adds_nothing_and_one_step_when_it_is_back() {
        let mut node = Node::new();
        let before = node.lead(1, MINUTE, 0);
        let cut_off = node.leads(1);
        for _ in 0..1_000 {
            node.pass(MINUTE);
            node.clock.tick(cut_off, before, node.now);
        }
        assert_eq!(node.clock.now_ms(before), before);
        node.clock.tick(node.leads(1), before, node.now);
        assert_eq!(node.clock.now_ms(before), before + to_ms(STEP_MAX));
    }

    #[test]
    fn a_leader_that_was_frozen_adds_one_step() {
        let mut node = Node::new();
        let before = node.lead(1, MINUTE, 0);
        node.pass(2 * HOUR);
        node.clock.tick(node.leads(1), before, node.now);
        assert_eq!(node.clock.now_ms(before), before + to_ms(STEP_MAX));
    }

    #[test]
    fn a_reign_that_nobody_confirmed_adds_nothing_and_the_next_begins_anew() {
        let mut node = Node::new();
        node.clock.tick(Some(Leads { term: 3, confirmed: None }), 500, node.now);
        node.pass(HOUR);
        node.clock.tick(Some(Leads { term: 3, confirmed: None }), 500, node.now);
        assert_eq!(node.clock.now_ms(500), 500);
        // Leadership was lost and won between two looks.
        node.clock.tick(node.leads(5), 500, node.now);
        assert_eq!(node.clock.now_ms(500), 500);
    }

    #[test]
    fn what_was_confirmed_before_the_reign_was_first_seen_does_not_count() {
        let mut node = Node::new();
        let earlier = node.leads(1);
        node.pass(MINUTE);
        node.clock.tick(earlier, 0, node.now);
        node.clock.tick(earlier, 0, node.now);
        assert_eq!(node.clock.now_ms(0), 0);
    }

    /// Three nodes of different rates lead in turn, with hours between without any leader.
    #[test]
    fn over_many_leaders_it_never_runs_back_and_counts_no_time_without_a_leader() {
        let mut nodes = [Node::with_rate(1.0), Node::with_rate(1.000_05), Node::with_rate(0.5)];
        let (mut observed_ms, mut led) = (0, Duration::ZERO);
        for term in 1..=30_u64 {
            let leader = usize::try_from(term).expect("small") % nodes.len();
            for (place, node) in nodes.iter_mut().enumerate() {
                if place != leader {
                    node.follow(2 * HOUR, observed_ms);
                }
            }
            nodes[leader].pass(2 * HOUR);
            let written_ms = nodes[leader].lead(term, MINUTE, observed_ms);
            assert!(written_ms >= observed_ms, "{written_ms} after {observed_ms}");
            observed_ms = written_ms;
            led += MINUTE;
        }
        assert!(observed_ms <= to_ms(led.mul_f64(1.000_05)) + 30, "{observed_ms} ms in {led:?}");
        assert!(observed_ms >= to_ms(led.mul_f64(0.8)), "{observed_ms} ms in {led:?}");
    }

    #[test]
    fn parts_of_milliseconds_are_not_lost() {
        let clock = ReplicatedClock::default();
        let mut now = crate::clock::monotonic();
        for _ in 0..=1_000 {
            clock.tick(Some(Leads { term: 1, confirmed: Some(now) }), 0, now);
            now += Duration::from_micros(2_500);
        }
        assert_eq!(clock.now_ms(0), 2_500);
    }
}
