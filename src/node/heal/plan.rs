//! The repair as a drawing, and as one function.
//!
//! ```text
//!            +--------------------- waited ----------------------+
//!            v                                                   |
//! begin ─> Fetch(0) ─ failed ─> Fetch(1) ─ ... ─ failed ─> Wait(round)
//!   |        | fetched                                           ^
//!   |        v                                                   |
//!   |     Install(peer) ── the file is no good ──> Fetch(peer + 1)
//!   |        | installed          | the disk refuses
//!   v        v                    v
//! Alone    Healed               Failed
//! ```

use std::time::Duration;

/// The pause after every peer was asked in vain for the first time; doubles up to
/// [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause between two rounds of asking. There is no last round: the node serves nothing
/// meanwhile, and a peer may come back at any time.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Where a repair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A snapshot is fetched from this one of the peers.
    Fetch { peer: usize, round: u32 },
    /// What this peer gave is made the state.
    Install { peer: usize, round: u32 },
    /// Every peer was asked in vain.
    Wait { round: u32 },
    /// The state is a healthy one.
    Healed,
    /// There is nobody to ask.
    Alone,
    /// The disk does not take another state.
    Failed,
}

/// What a phase ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It did what it was to do.
    Done,
    /// This peer is of no help: it cannot be reached, does not trust its own state, or gave
    /// something that is no good.
    PeerFailed,
    /// This node's disk refused.
    DiskFailed,
}

/// The first phase, with so many peers.
pub(super) fn begin(peers: usize) -> Phase {
    if peers == 0 { Phase::Alone } else { Phase::Fetch { peer: 0, round: 0 } }
}

/// What follows.
pub(super) fn next(phase: Phase, outcome: Outcome, peers: usize) -> Phase {
    match (phase, outcome) {
        (Phase::Fetch { peer, round }, Outcome::Done) => Phase::Install { peer, round },
        (Phase::Install { .. }, Outcome::Done) => Phase::Healed,
        (Phase::Fetch { peer, round } | Phase::Install { peer, round }, Outcome::PeerFailed) => {
            match peer + 1 {
                peer if peer < peers => Phase::Fetch { peer, round },
                _ => Phase::Wait { round },
            }
        }
        (Phase::Wait { round }, Outcome::Done) => {
            Phase::Fetch { peer: 0, round: round.saturating_add(1) }
        }
        (Phase::Fetch { .. } | Phase::Install { .. } | Phase::Wait { .. }, _) => Phase::Failed,
        (over @ (Phase::Healed | Phase::Alone | Phase::Failed), _) => over,
    }
}

/// How long to wait after this round.
pub(super) fn pause(round: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << round.min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use Outcome::{DiskFailed, Done, PeerFailed};
    use Phase::{Alone, Failed, Fetch, Healed, Install, Wait};

    #[test]
    fn every_peer_is_asked_in_turn_and_again_after_a_pause() {
        assert_eq!(begin(0), Alone);
        let mut phase = begin(2);
        for (outcome, expected) in [
            (PeerFailed, Fetch { peer: 1, round: 0 }),
            (Done, Install { peer: 1, round: 0 }),
            (PeerFailed, Wait { round: 0 }),
            (Done, Fetch { peer: 0, round: 1 }),
            (Done, Install { peer: 0, round: 1 }),
            (Done, Healed),
        ] {
            phase = next(phase, outcome, 2);
            assert_eq!(phase, expected);
        }
    }

    #[test]
    fn a_disk_that_refuses_ends_it_and_an_end_stays() {
        for phase in [Fetch { peer: 0, round: 3 }, Install { peer: 1, round: 0 }] {
            assert_eq!(next(phase, DiskFailed, 2), Failed);
        }
        for over in [Healed, Alone, Failed] {
            assert_eq!(next(over, Done, 2), over);
        }
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        assert_eq!(pause(0), PAUSE_MIN);
        assert_eq!(pause(1), 2 * PAUSE_MIN);
        assert_eq!(pause(5), PAUSE_MAX);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
