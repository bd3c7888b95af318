//! Which start of a node is the one that the cluster knows.
//!
//! A data directory can be copied and put back; its incarnation goes with it. So each start claims
//! the node's identity anew, through the log: with a nonce drawn for it, and with the claims that it
//! may continue. Only a claim that continues the last one is taken. Of two directories that
//! continue the same claim one is taken and the other is told; one that was put back continues a
//! claim that is not the last one any more.

use serde::{Deserialize, Serialize};

/// The claims that one may continue: the last one known to be taken, and those of the starts since
/// that may have been taken without this node hearing of it.
pub const CLAIMS_CONTINUED_MAX: usize = 8;

/// The claim that the cluster took last for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// How many were taken.
    pub counter: u64,
    /// Drawn for the start; never 0.
    pub nonce: u64,
}

/// What one start claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StartClaim {
    /// The counter of the last claim known to be taken, plus one.
    pub counter: u64,
    /// Drawn for the start; 0 = nothing is claimed, by what is no member yet.
    pub nonce: u64,
    /// The nonces of the claims that it may continue; 0 = none.
    pub continues: [u64; CLAIMS_CONTINUED_MAX],
}

/// How a claim stands to the last one that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOrder {
    /// It is that one.
    Same,
    /// It continues that one.
    Continues,
    /// It knows of a later one than whoever compares.
    Ahead,
    /// It is of a directory that was copied or put back.
    Stale,
}

impl StartClaim {
    /// Nothing is claimed.
    pub const NONE: Self = Self { counter: 0, nonce: 0, continues: [0; CLAIMS_CONTINUED_MAX] };

    /// How it stands to the last claim that somebody knows to be taken. Who lags knows an old one:
    /// a claim whose counter is beyond the next is of a chain that they do not know the end of.
    pub fn order(&self, last: &Claim) -> ClaimOrder {
        if self.nonce == last.nonce {
            ClaimOrder::Same
        } else if self.continues.contains(&last.nonce) {
            ClaimOrder::Continues
        } else if self.counter > last.counter.saturating_add(1) {
            ClaimOrder::Ahead
        } else {
            ClaimOrder::Stale
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(counter: u64, nonce: u64, before: &[u64]) -> StartClaim {
        let mut continues = [0; CLAIMS_CONTINUED_MAX];
        continues[..before.len()].copy_from_slice(before);
        StartClaim { counter, nonce, continues }
    }

    #[test]
    fn only_what_continues_the_last_claim_is_not_stale() {
        let last = Claim { counter: 5, nonce: 50 };
        for (claim, order) in [
            (start(5, 50, &[40]), ClaimOrder::Same),
            (start(6, 60, &[50]), ClaimOrder::Continues),
            (start(5, 51, &[40, 50]), ClaimOrder::Continues),
            (start(6, 61, &[49]), ClaimOrder::Stale),
            (start(5, 41, &[40]), ClaimOrder::Stale),
            (start(2, 21, &[10]), ClaimOrder::Stale),
            (start(7, 70, &[60]), ClaimOrder::Ahead),
            (StartClaim::NONE, ClaimOrder::Stale),
        ] {
            assert_eq!(claim.order(&last), order, "{claim:?}");
        }
    }

    #[test]
    fn the_bytes_of_a_claim_are_pinned() {
        let bytes = postcard::to_stdvec(&start(2, 300, &[7])).expect("encodable");
        assert_eq!(bytes, [2, 0xAC, 2, 7, 0, 0, 0, 0, 0, 0, 0]);
    }
}
