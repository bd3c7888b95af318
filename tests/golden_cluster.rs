//! The bytes of what goes through the log about nodes and joins.

use chainfire::types::{
    Answer, ClusterAnswer, ClusterOperation, JoinPhase, JoinProgress, JoinRequest, JoinTarget,
    JoinTicket, LogId, Operation, OperationError, StartClaim,
};
use serde::Serialize;

fn hex(value: &impl Serialize) -> String {
    let bytes = postcard::to_stdvec(value).expect("encodable");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn operations_are_encoded_as_pinned() {
    let request = JoinRequest {
        nonce: 300,
        name: "n".into(),
        peer_addr: "p".into(),
        client_addr: "c".into(),
        target: JoinTarget::Learner,
        waits: true,
        command_format: 2,
    };
    let progress = JoinProgress {
        phase: JoinPhase::Adding,
        seeds: 1,
        held_index: Some(9),
        snapshot: Some(LogId { term: 2, index: 9 }),
        source: Some(1),
        bytes: 7,
        failure: Some("f".into()),
    };
    let from = JoinPhase::Seeding;
    let claim = StartClaim { counter: 2, nonce: 300, continues: [7, 0, 0, 0, 0, 0, 0, 0] };
    for (operation, pinned) in [
        (ClusterOperation::StartJoin { request, member_id_max: 3 }, "0600ac02016e0170016301010203"),
        (
            ClusterOperation::AdvanceJoin { join_id: 5, from, progress },
            "0601050002010109010209010107010166",
        ),
        (ClusterOperation::CancelJoin { join_id: 5 }, "060205"),
        (ClusterOperation::AddWaiting { join_id: 5, target: JoinTarget::Voter }, "06030500"),
        (
            ClusterOperation::Claim { node_id: 4, incarnation: 300, claim },
            "060404ac0202ac020700000000000000",
        ),
        (ClusterOperation::SetLeaving { node_id: 4, leaving: true, force: false }, "0605040100"),
        (ClusterOperation::SetFormat { node_id: 4, command_format: 2 }, "06060402"),
    ] {
        assert_eq!(hex(&Operation::Cluster(operation.clone())), pinned, "{operation:?}");
    }
}

#[test]
fn answers_and_refusals_are_encoded_as_pinned() {
    let ticket = ClusterAnswer::Ticket(JoinTicket { join_id: 5, node_id: 4 });
    assert_eq!(hex(&Answer::Cluster(ticket)), "06000504");
    assert_eq!(hex(&Answer::Cluster(ClusterAnswer::Done)), "0601");
    assert_eq!(hex(&OperationError::JoinRefused { reason: "r".into() }), "120172");
    assert_eq!(hex(&OperationError::OtherIncarnation { node_id: 300 }), "13ac02");
    assert_eq!(hex(&OperationError::StaleStart { node_id: 300, counter: 7 }), "1bac0207");
}

#[test]
fn phases_are_numbered_as_pinned() {
    let phases = [
        JoinPhase::Seeding,
        JoinPhase::Waiting,
        JoinPhase::Adding,
        JoinPhase::CatchingUp,
        JoinPhase::Promoting,
        JoinPhase::Undoing,
        JoinPhase::Joined,
        JoinPhase::Failed,
        JoinPhase::Cancelled,
    ];
    for (number, phase) in phases.into_iter().enumerate() {
        assert_eq!(hex(&phase), format!("{number:02x}"), "{phase:?}");
    }
}
