//! What members publish of themselves.

use chainfire::types::{Answer, Operation, OperationError, PeerAddress};

use crate::support::memory_view::MemoryView;

fn register(name: &str, peer_addr: &str, client_addr: &str) -> Operation {
    Operation::RegisterMember {
        node_id: 3,
        address: PeerAddress { name: name.into(), peer_addr: peer_addr.into() },
        client_addr: client_addr.into(),
    }
}

#[test]
fn a_registration_publishes_the_members_addresses() {
    let mut store = MemoryView::new();
    let accepted = store.execute(register("n3", "[::1]:4602", "node.example:4601"));
    assert_eq!(accepted, Ok(Answer::RegisterMember));
    let published = &store.members[&3];
    assert_eq!((&published.0.name[..], &published.1[..]), ("n3", "node.example:4601"));
    assert_eq!(store.revision, 1, "membership is no change of the key space");
}

#[test]
fn a_member_that_cannot_be_named_or_dialled_is_refused() {
    let mut store = MemoryView::new();
    let long_name = "n".repeat(129);
    let long_host = format!("{}:1", "h".repeat(260));
    for (name, peer_addr, client_addr) in [
        ("", "h:1", "h:1"),
        (&long_name, "h:1", "h:1"),
        ("a\nb", "h:1", "h:1"),
        ("n", "", "h:1"),
        ("n", "h", "h:1"),
        ("n", ":1", "h:1"),
        ("n", "h:0", "h:1"),
        ("n", "h:65536", "h:1"),
        ("n", "h h:1", "h:1"),
        ("n", &long_host, "h:1"),
        ("n", "h:1", "h:port"),
    ] {
        let refused = store.execute(register(name, peer_addr, client_addr));
        assert!(
            matches!(refused, Err(OperationError::InvalidMember { .. })),
            "{name:?} {peer_addr:?} {client_addr:?}: {refused:?}"
        );
    }
    assert!(store.members.is_empty());
}
