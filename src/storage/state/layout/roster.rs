//! The roster in the `meta` table: what the cluster remembers of its nodes.
//!
//! ```text
//! key:   "roster"
//! value: envelope of `Roster`
//! ```
//!
//! One record, written whole: it is small (joins are bounded), and changes seldom.

use super::LayoutError;
use crate::storage::envelope;
use crate::types::Roster;

/// The newest version of the record, and the one written.
const VERSION: u8 = 1;

/// The record's key.
pub(crate) const ROSTER_KEY: &[u8] = b"roster";

/// The record's value.
pub(crate) fn encode_roster(roster: &Roster) -> Vec<u8> {
    envelope::seal(VERSION, roster)
}

/// [`encode_roster`] back.
pub(crate) fn decode_roster(bytes: &[u8]) -> Result<Roster, LayoutError> {
    Ok(envelope::unseal(VERSION, bytes)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::{
        Claim, JoinPhase, JoinProgress, JoinRecord, JoinRequest, JoinTarget, LogId,
    };

    #[test]
    fn the_bytes_are_pinned() {
        let request = JoinRequest {
            nonce: 300,
            name: "n".into(),
            peer_addr: "p".into(),
            client_addr: "c".into(),
            target: JoinTarget::Learner,
            waits: true,
            command_format: 3,
        };
        let progress = JoinProgress {
            phase: JoinPhase::CatchingUp,
            seeds: 2,
            held_index: Some(9),
            snapshot: Some(LogId { term: 3, index: 9 }),
            source: Some(1),
            bytes: 7,
            failure: Some("f".into()),
        };
        let join = JoinRecord {
            join_id: 5,
            node_id: 4,
            request,
            started_ms: 6,
            progress,
            ended_ms: Some(8),
        };
        let roster = Roster {
            last_node_id: 4,
            last_join_id: 5,
            incarnations: BTreeMap::from([(4, 300)]),
            leaving: BTreeMap::from([(2, true)]),
            joins: BTreeMap::from([(5, join)]),
            formats: BTreeMap::from([(4, 3)]),
            claims: BTreeMap::from([(2, Claim { counter: 3, nonce: 300 })]),
        };
        let bytes = encode_roster(&roster);
        let expected = [
            &[4, 5, 1, 4, 0xac, 2, 1, 2, 1, 1, 5][..],
            &[5, 4, 0xac, 2, 1, b'n', 1, b'p', 1, b'c', 1, 1, 3],
            &[6, 3, 2, 1, 9, 1, 3, 9, 1, 1, 7, 1, 1, b'f', 1, 8],
            &[1, 4, 3],
            &[1, 2, 3, 0xac, 2],
        ];
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], expected.concat());
        assert_eq!(decode_roster(&bytes), Ok(roster));
    }
}
