//! The bodies of the handshake, in both directions: what decodes encodes to the same.
#![no_main]

use chainfire::rpc::transport::{
    Hello, Identity, Lane, PeerHello, Reply, decode_hello, decode_reply, encode_hello, encode_reply,
};
use chainfire::types::{CLAIMS_CONTINUED_MAX, ClusterId, StartClaim};
use libfuzzer_sys::fuzz_target;

/// Magic, version and length.
const HEADER_BYTES: usize = 8 + 2 + 2;

fuzz_target!(
    init: chainfire_fuzz::plant(seeds()),
    |bytes: &[u8]| {
        if let Ok(hello) = decode_hello(bytes) {
            assert_eq!(decode_hello(&body(encode_hello(&hello))).ok(), Some(hello));
        }
        if let Ok(reply) = decode_reply(bytes) {
            assert_eq!(decode_reply(&body(encode_reply(&reply))).ok(), Some(reply));
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let cluster_id = ClusterId(u128::MAX);
    let claim = StartClaim { counter: 1, nonce: 2, continues: [0; CLAIMS_CONTINUED_MAX] };
    let identity = Identity { cluster_id, node_id: 1, incarnation: 2, claim };
    let peer = PeerHello {
        cluster_id,
        node_id: 1,
        incarnation: 2,
        claim,
        expected_node_id: 3,
        lane: Lane::Snapshot,
    };
    let messages = [
        encode_hello(&Hello::Client { cluster_id: Some(cluster_id) }),
        encode_hello(&Hello::Peer(peer)),
        encode_reply(&Reply::Welcome(identity.into())),
    ];
    messages.map(body).into()
}

/// A message without its magic, version and length.
fn body(mut message: Vec<u8>) -> Vec<u8> {
    message.split_off(HEADER_BYTES)
}
