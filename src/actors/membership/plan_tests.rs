use super::*;
use crate::types::JoinRequest;

const PHASES: [JoinPhase; 9] = [
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
const SNAPSHOT: LogId = LogId { term: 1, index: 70 };

fn join(phase: JoinPhase) -> JoinRecord {
    JoinRecord {
        join_id: 1,
        node_id: 4,
        request: JoinRequest {
            nonce: 1,
            name: "n".into(),
            peer_addr: "h:1".into(),
            client_addr: "h:2".into(),
            target: JoinTarget::Voter,
            waits: false,
            command_format: 1,
        },
        started_ms: 0,
        progress: JoinProgress { phase, ..JoinProgress::BEGUN },
        ended_ms: None,
    }
}

fn recorded(join: &JoinRecord, outcome: Outcome) -> JoinProgress {
    match next(join, outcome, Duration::ZERO) {
        Next::Record(progress) => progress,
        Next::Retry => panic!("nothing is recorded"),
    }
}

fn reason() -> String {
    "r".to_owned()
}

fn outcomes() -> [Outcome; 9] {
    [
        Outcome::Held(7),
        Outcome::Seeded { snapshot: SNAPSHOT, source: Some(2), bytes: 9 },
        Outcome::SnapshotUseless { reason: reason() },
        Outcome::Added,
        Outcome::CaughtUp,
        Outcome::Voter,
        Outcome::Undone,
        Outcome::Failed { reason: reason() },
        Outcome::Hopeless { reason: reason() },
    ]
}

#[test]
fn every_phase_has_its_step() {
    let mut held = join(JoinPhase::Seeding);
    held.progress.held_index = Some(7);
    assert_eq!(step(&held), Some(Step::Seed));
    let expected = [
        Some(Step::Hold),
        None,
        Some(Step::AddLearner),
        Some(Step::CatchUp),
        Some(Step::Promote),
        Some(Step::Undo),
        None,
        None,
        None,
    ];
    assert_eq!(PHASES.map(|phase| step(&join(phase))), expected);
}

#[test]
fn a_join_that_meets_no_trouble_goes_from_phase_to_phase() {
    let mut join = join(JoinPhase::Seeding);
    let seeded = Outcome::Seeded { snapshot: SNAPSHOT, source: Some(2), bytes: 9 };
    let way = [
        (Step::Hold, Outcome::Held(7), JoinPhase::Seeding, Some(7)),
        (Step::Seed, seeded, JoinPhase::Adding, Some(70)),
        (Step::AddLearner, Outcome::Added, JoinPhase::CatchingUp, Some(70)),
        (Step::CatchUp, Outcome::CaughtUp, JoinPhase::Promoting, Some(70)),
        (Step::Promote, Outcome::Voter, JoinPhase::Joined, None),
    ];
    for (expected, outcome, phase, held) in way {
        assert_eq!(step(&join), Some(expected));
        join.progress = recorded(&join, outcome);
        assert_eq!((join.progress.phase, join.progress.held_index), (phase, held));
    }
    let JoinProgress { seeds, snapshot, source, bytes, failure, .. } = join.progress;
    assert_eq!((seeds, snapshot, source, bytes), (1, Some(SNAPSHOT), Some(2), 9));
    assert_eq!(failure, None);
}

#[test]
fn a_learner_ends_as_one_and_a_waiting_node_holds_no_log() {
    let mut learner = join(JoinPhase::CatchingUp);
    learner.request.target = JoinTarget::Learner;
    assert_eq!(recorded(&learner, Outcome::CaughtUp).phase, JoinPhase::Joined);

    let mut waiting = join(JoinPhase::Seeding);
    waiting.request.waits = true;
    let seeded = Outcome::Seeded { snapshot: SNAPSHOT, source: None, bytes: 1 };
    let progress = recorded(&waiting, seeded);
    assert_eq!((progress.phase, progress.held_index), (JoinPhase::Waiting, None));
    assert_eq!(progress.snapshot, Some(SNAPSHOT));
}

#[test]
fn a_useless_snapshot_is_made_anew_a_bounded_number_of_times() {
    for phase in [JoinPhase::Adding, JoinPhase::CatchingUp] {
        let mut join = join(phase);
        join.progress.seeds = SEEDS_MAX - 1;
        join.progress.held_index = Some(7);
        let again = recorded(&join, Outcome::SnapshotUseless { reason: reason() });
        assert_eq!((again.phase, again.held_index), (JoinPhase::Seeding, None));
        join.progress.seeds = SEEDS_MAX;
        let given_up = recorded(&join, Outcome::SnapshotUseless { reason: reason() });
        assert_eq!(given_up.phase, JoinPhase::Undoing);
        assert!(given_up.failure.is_some_and(|failure| failure.contains("5 snapshots")));
    }
}

#[test]
fn what_may_pass_is_tried_again_until_it_has_failed_for_too_long() {
    for phase in [JoinPhase::Seeding, JoinPhase::Adding, JoinPhase::CatchingUp] {
        let (join, failed) = (join(phase), Outcome::Failed { reason: reason() });
        assert_eq!(next(&join, failed.clone(), Duration::ZERO), Next::Retry);
        let Next::Record(progress) = next(&join, failed, STEP_FAILING_MAX) else {
            panic!("it is given up")
        };
        assert_eq!((progress.phase, progress.failure), (JoinPhase::Undoing, Some(reason())));
        let hopeless = recorded(&join, Outcome::Hopeless { reason: reason() });
        assert_eq!((hopeless.phase, hopeless.held_index), (JoinPhase::Undoing, None));
    }
}

#[test]
fn undoing_is_never_given_up_and_tells_failed_from_cancelled() {
    let mut undoing = join(JoinPhase::Undoing);
    for outcome in [Outcome::Failed { reason: reason() }, Outcome::Hopeless { reason: reason() }] {
        assert_eq!(next(&undoing, outcome, 9 * STEP_FAILING_MAX), Next::Retry);
    }
    assert_eq!(recorded(&undoing, Outcome::Undone).phase, JoinPhase::Cancelled);
    undoing.progress.failure = Some(reason());
    let failed = recorded(&undoing, Outcome::Undone);
    assert_eq!((failed.phase, failed.failure), (JoinPhase::Failed, Some(reason())));
    let too_late = recorded(&undoing, Outcome::Voter);
    assert_eq!((too_late.phase, too_late.failure), (JoinPhase::Joined, None));
}

#[test]
fn whatever_happens_in_whatever_phase_nothing_is_left_held_when_it_is_over() {
    for phase in PHASES {
        for outcome in outcomes() {
            for failing in [Duration::ZERO, STEP_FAILING_MAX] {
                let mut join = join(phase);
                join.progress.held_index = Some(7);
                let Next::Record(after) = next(&join, outcome.clone(), failing) else { continue };
                assert!(!after.phase.is_over() || after.held_index.is_none(), "{phase:?}");
                assert!(after.phase != JoinPhase::Undoing || after.held_index.is_none());
                let named = matches!(after.phase, JoinPhase::Failed | JoinPhase::Cancelled);
                assert!(!named || after.failure.is_some(), "{phase:?} {outcome:?}");
            }
        }
    }
}
