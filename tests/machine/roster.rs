//! Node ids, joins and incarnations.

use std::collections::{BTreeMap, BTreeSet};

use chainfire::machine::roster_after_membership;
use chainfire::types::{
    Answer, CLAIMS_CONTINUED_MAX, Claim, ClusterAnswer, ClusterOperation, JoinPhase, JoinProgress,
    JoinRequest, JoinTarget, JoinTicket, MembershipConfig, Operation, OperationError, PeerAddress,
    StartClaim,
};

use crate::support::memory_view::MemoryView;

fn request(nonce: u128) -> JoinRequest {
    JoinRequest {
        nonce,
        name: format!("n{nonce}"),
        peer_addr: format!("h:{nonce}"),
        client_addr: format!("c:{nonce}"),
        target: JoinTarget::Voter,
        waits: false,
        command_format: 1,
    }
}

fn execute(
    store: &mut MemoryView,
    operation: ClusterOperation,
) -> Result<ClusterAnswer, OperationError> {
    store.execute(Operation::Cluster(operation)).map(|answer| match answer {
        Answer::Cluster(answer) => answer,
        other => panic!("{other:?}"),
    })
}

fn start(
    store: &mut MemoryView,
    request: JoinRequest,
    member_id_max: u64,
) -> Result<JoinTicket, OperationError> {
    let started = execute(store, ClusterOperation::StartJoin { request, member_id_max });
    started.map(|answer| match answer {
        ClusterAnswer::Ticket(ticket) => ticket,
        ClusterAnswer::Done => panic!("a join begins with a ticket"),
    })
}

fn advance(
    store: &mut MemoryView,
    join_id: u64,
    from: JoinPhase,
    phase: JoinPhase,
) -> Result<ClusterAnswer, OperationError> {
    let progress = JoinProgress { phase, ..JoinProgress::BEGUN };
    execute(store, ClusterOperation::AdvanceJoin { join_id, from, progress })
}

fn membership(ids: &[u64]) -> MembershipConfig {
    let nodes = ids.iter().map(|id| (*id, PeerAddress::default()));
    MembershipConfig { voter_sets: vec![ids.iter().copied().collect()], nodes: nodes.collect() }
}

#[test]
fn a_join_asked_for_again_is_the_same_join() {
    let mut store = MemoryView::new();
    let first = start(&mut store, request(7), 3);
    assert_eq!(first, Ok(JoinTicket { join_id: 1, node_id: 4 }));
    let before = store.roster.clone();
    assert_eq!(start(&mut store, request(7), 9), first);
    assert_eq!(store.roster, before, "nothing changed");
    assert_eq!(start(&mut store, request(8), 3), Ok(JoinTicket { join_id: 2, node_id: 5 }));
    assert_eq!(store.roster.incarnations, BTreeMap::from([(4, 7), (5, 8)]));
}

#[test]
fn an_id_is_never_given_twice() {
    let mut store = MemoryView::new();
    start(&mut store, request(1), 3).expect("accepted");
    advance(&mut store, 1, JoinPhase::Seeding, JoinPhase::Failed).expect("accepted");
    // The leader's membership may have shrunk since.
    assert_eq!(start(&mut store, request(2), 0).expect("accepted").node_id, 5);
    let grown = roster_after_membership(&store.roster, &membership(&[1, 300]));
    let grown = grown.expect("300 is higher than any id so far");
    assert_eq!(grown.last_node_id, 300);
    assert_eq!(roster_after_membership(&grown, &membership(&[1, 2])), None, "it never sinks");
}

#[test]
fn a_join_advances_only_from_the_phase_that_was_seen() {
    let mut store = MemoryView::new();
    start(&mut store, request(1), 1).expect("accepted");
    advance(&mut store, 1, JoinPhase::Seeding, JoinPhase::Adding).expect("accepted");
    advance(&mut store, 1, JoinPhase::Seeding, JoinPhase::Adding).expect("said twice");
    let late = advance(&mut store, 1, JoinPhase::Seeding, JoinPhase::Failed);
    assert!(matches!(late, Err(OperationError::JoinRefused { .. })), "{late:?}");
    assert_eq!(store.roster.joins[&1].progress.phase, JoinPhase::Adding);
    let unknown = advance(&mut store, 2, JoinPhase::Seeding, JoinPhase::Adding);
    assert!(matches!(unknown, Err(OperationError::JoinRefused { .. })), "{unknown:?}");
}

#[test]
fn a_cancelled_join_is_undone_first_and_a_finished_one_is_not_cancelled() {
    let mut store = MemoryView::new();
    for nonce in 1..=2 {
        start(&mut store, request(nonce), 1).expect("accepted");
    }
    execute(&mut store, ClusterOperation::CancelJoin { join_id: 1 }).expect("accepted");
    assert_eq!(store.roster.joins[&1].progress.phase, JoinPhase::Undoing);
    advance(&mut store, 1, JoinPhase::Undoing, JoinPhase::Cancelled).expect("accepted");
    assert!(!store.roster.incarnations.contains_key(&2), "nothing is left behind");
    advance(&mut store, 2, JoinPhase::Seeding, JoinPhase::Joined).expect("accepted");
    let refused = execute(&mut store, ClusterOperation::CancelJoin { join_id: 2 });
    let message = refused.expect_err("it is a member").to_string();
    assert!(message.contains("chainfire member remove 3"), "{message}");
}

#[test]
fn two_nodes_cannot_join_under_one_name_or_from_one_address() {
    let mut store = MemoryView::new();
    start(&mut store, request(1), 1).expect("accepted");
    for clash in [
        JoinRequest { nonce: 2, ..request(1) },
        JoinRequest { name: "n1".into(), ..request(2) },
        JoinRequest { peer_addr: "h:1".into(), ..request(2) },
    ] {
        let message = start(&mut store, clash, 1).expect_err("it clashes").to_string();
        assert!(message.contains("chainfire member cancel 2"), "{message}");
    }
}

#[test]
fn a_node_that_waits_goes_on_when_it_is_added() {
    let mut store = MemoryView::new();
    start(&mut store, JoinRequest { waits: true, ..request(1) }, 1).expect("accepted");
    advance(&mut store, 1, JoinPhase::Seeding, JoinPhase::Waiting).expect("accepted");
    let target = JoinTarget::Learner;
    execute(&mut store, ClusterOperation::AddWaiting { join_id: 1, target }).expect("accepted");
    let join = &store.roster.joins[&1];
    assert_eq!((join.progress.phase, join.request.target), (JoinPhase::Adding, target));
}

fn claim(incarnation: u128, nonce: u64, before: &[u64]) -> ClusterOperation {
    let mut continues = [0; CLAIMS_CONTINUED_MAX];
    continues[..before.len()].copy_from_slice(before);
    let claim = StartClaim { counter: 1, nonce, continues };
    ClusterOperation::Claim { node_id: 1, incarnation, claim }
}

#[test]
fn another_data_directory_under_a_known_id_is_refused() {
    let mut store = MemoryView::new();
    execute(&mut store, claim(10, 1, &[])).expect("the first");
    execute(&mut store, claim(10, 1, &[])).expect("the same");
    let refused = execute(&mut store, claim(11, 2, &[1]));
    assert_eq!(refused, Err(OperationError::OtherIncarnation { node_id: 1 }));
    let gone = roster_after_membership(&store.roster, &membership(&[2])).expect("1 has left");
    assert!(gone.incarnations.is_empty() && gone.claims.is_empty());
}

/// Whatever two directories of one identity claim, one of them is taken.
#[test]
fn of_the_starts_of_one_directory_only_what_continues_the_last_is_taken() {
    let mut store = MemoryView::new();
    execute(&mut store, claim(10, 1, &[])).expect("the first");
    execute(&mut store, claim(10, 2, &[1])).expect("the copy");
    let stale = |counter| Err(OperationError::StaleStart { node_id: 1, counter });
    assert_eq!(execute(&mut store, claim(10, 3, &[1])), stale(2), "the original");
    assert_eq!(execute(&mut store, claim(10, 1, &[])), stale(2), "what ran before");
    assert_eq!(execute(&mut store, claim(10, 4, &[])), stale(2), "one that knows of none");
    assert_eq!(execute(&mut store, claim(10, 0, &[2])), stale(2), "no start at all");
    execute(&mut store, claim(10, 5, &[1, 2])).expect("its claim before was taken after all");
    assert_eq!(store.roster.claims[&1], Claim { counter: 3, nonce: 5 });
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut store = MemoryView::new();
    for nonce in 1..=100 {
        start(&mut store, request(nonce), 1).expect("accepted");
        let join_id = u64::try_from(nonce).expect("small");
        advance(&mut store, join_id, JoinPhase::Seeding, JoinPhase::Failed).expect("accepted");
    }
    assert_eq!(store.roster.joins.keys().copied().collect::<BTreeSet<_>>(), (69..=100).collect());
    for nonce in 101..=116 {
        start(&mut store, request(nonce), 1).expect("accepted");
    }
    let refused = start(&mut store, request(117), 1);
    assert!(matches!(refused, Err(OperationError::JoinRefused { .. })), "{refused:?}");
}
