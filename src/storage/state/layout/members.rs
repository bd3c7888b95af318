//! The `members` table: the addresses each node has published.
//!
//! ```text
//! key:   [node id: u64]
//! value: envelope of `MemberRecord`
//! ```

use serde::{Deserialize, Serialize};

use super::{LayoutError, take};
use crate::storage::envelope;
use crate::types::{NodeId, PeerAddress};

/// The newest version of the record, and the one written.
const VERSION: u8 = 1;

/// What a node has published of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberRecord {
    /// Its name, and where peers reach it.
    pub(crate) address: PeerAddress,
    /// Where clients reach it, `HOST:PORT`.
    pub(crate) client_addr: String,
}

/// A node's key.
pub(crate) fn encode_node(node: NodeId) -> [u8; 8] {
    node.to_be_bytes()
}

/// [`encode_node`] back.
pub(crate) fn decode_node(bytes: &[u8]) -> Result<NodeId, LayoutError> {
    match take::<8>(bytes)? {
        (node, []) => Ok(NodeId::from_be_bytes(*node)),
        _ => Err(LayoutError::Length { length: bytes.len() }),
    }
}

/// A member's value.
pub(crate) fn encode_member(record: &MemberRecord) -> Vec<u8> {
    envelope::seal(VERSION, record)
}

/// [`encode_member`] back.
pub(crate) fn decode_member(bytes: &[u8]) -> Result<MemberRecord, LayoutError> {
    Ok(envelope::unseal(VERSION, bytes)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, peer_addr: &str, client_addr: &str) -> MemberRecord {
        let address = PeerAddress { name: name.into(), peer_addr: peer_addr.into() };
        MemberRecord { address, client_addr: client_addr.into() }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let bytes = encode_member(&member("n", "p", "c"));
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], [1, b'n', 1, b'p', 1, b'c']);
        assert_eq!(encode_node(0x0102), [0, 0, 0, 0, 0, 0, 1, 2]);
    }

    proptest! {
        #[test]
        fn a_member_survives_the_way_there_and_back(
            node in any::<u64>(), name in ".*", peer in ".*", client in ".*",
        ) {
            let record = member(&name, &peer, &client);
            prop_assert_eq!(decode_member(&encode_member(&record)), Ok(record));
            prop_assert_eq!(decode_node(&encode_node(node)), Ok(node));
        }
    }
}
