//! Random histories of the machine against a naive model of the semantics.
//!
//! The seeds are fixed, so a run is the same everywhere; a failure names its seed and step. Set
//! `CHAINFIRE_TEST_SEED` to explore another set of histories.

#![cfg(feature = "server")]

mod clients;
mod generator;
mod model;
mod permissions;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use chainfire::machine::{
    Applied, ApplyLimits, Change, Forgotten, KeptSignature, Session, SessionLimits, SessionTotals,
    SignatureLimits, SignatureTotals, StateView, StoredAnswer, VersionVisitor, Visits, apply,
    events, range, read_txn,
};
use chainfire::types::{
    AccessTables, Answer, ClientId, Command, EventKind, KeyRange, KeyValue, Operation,
    OperationError, Principal, RangeRequest, RequestName, Revision, Roster, SignatureKey,
    StagedDelete, VersionMeta,
};

use clients::Clients;
use generator::{Generator, Revisions};
use model::{Model, State};
use support::memory_view::MemoryView;

const HISTORIES: u64 = 60;
const STEPS: u64 = 500;
const _: () = assert!(HISTORIES * STEPS >= 20_000);

/// How often each thing worth checking was seen.
type Coverage = BTreeMap<String, u64>;

#[test]
fn random_histories_agree_with_the_model() {
    let base_seed = std::env::var("CHAINFIRE_TEST_SEED")
        .map_or(0, |seed| seed.parse().expect("CHAINFIRE_TEST_SEED is a number"));
    let mut coverage = Coverage::new();
    for history in 0..HISTORIES {
        History::new(base_seed + history).run(&mut coverage);
    }
    println!("{} operations from seed {base_seed} on: {coverage:#?}", HISTORIES * STEPS);
    for expected in [
        "put",
        "delete",
        "txn",
        "compact",
        "register",
        "retry answered",
        "session expired",
        "honest write unknown",
        "range of history",
        "range cut by its limit",
        "range cut by its bytes",
        "read txn",
        "AnswerTooLarge",
        "Compacted",
        "DuplicateKey",
        "EmptyKey",
        "FutureRevision",
        "IgnoredFieldGiven",
        "KeyNotFound",
        "KeyTooLong",
        "LeaseNotFound",
        "NestedTooDeep",
        "NotReadOnly",
        "RequestIdReused",
        "RequestTooLarge",
        "SessionExpired",
        "TooManyOperations",
    ] {
        let seen = coverage.get(expected).copied().unwrap_or(0);
        assert!(seen >= 5, "{expected:?} was seen {seen} times: the histories miss it");
    }
}

#[test]
fn the_same_log_gives_the_same_state_on_every_member() {
    for seed in 1_000..1_010 {
        let mut generator = Generator::new(seed);
        let mut clients = Clients::new(&mut generator);
        let (mut first, mut second) = (MemoryView::new(), MemoryView::new());
        for step in 0..STEPS {
            let revisions =
                Revisions { compacted: first.compact_revision, current: first.revision };
            let command = clients.next_command(&mut generator, revisions);
            let applied = first.apply(&command);
            clients.answered(&mut generator, &command, &applied.response);

            // The other member reads the command from its log, and its sessions the long way.
            let read_back = Command::decode(&command.encode()).expect("what was encoded decodes");
            assert_eq!(read_back, command, "seed {seed}, step {step}");
            let Ok(replayed) = apply(&WholeSessions(&second), &read_back);
            assert_eq!(replayed, applied, "seed {seed}, step {step}: {command:?}");
            second.follow(&command, &replayed.changes);
        }
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Limits at which nearly every delete of several keys is staged.
const STAGING: ApplyLimits = ApplyLimits {
    keys_visited_max: 65_536,
    delete_keys_at_once_max: 1,
    delete_step_keys: 1,
    deletes_staged_max: 2,
    sessions: SessionLimits::REPLICATED,
    signatures: SignatureLimits::REPLICATED,
};

#[test]
fn staged_deletes_equal_plain_ones_at_every_step() {
    let base_seed = std::env::var("CHAINFIRE_TEST_SEED")
        .map_or(0, |seed| seed.parse().expect("CHAINFIRE_TEST_SEED is a number"));
    let mut coverage = Coverage::new();
    for history in 0..HISTORIES {
        let mut history = History::new(base_seed + 5_000 + history);
        history.limits = STAGING;
        history.run(&mut coverage);
    }
    println!("from seed {} on: {coverage:#?}", base_seed + 5_000);
    for expected in [
        "delete staged",
        "delete finished",
        "several staged at once",
        "put into a staged delete",
        "retry of a staged delete",
        "range of history",
        "TooManyDeletes",
        "DeleteUnderWay",
    ] {
        let seen = coverage.get(expected).copied().unwrap_or(0);
        assert!(seen >= 5, "{expected:?} was seen {seen} times: the histories miss it");
    }
}

/// One history, in the machine and in the model at once.
struct History {
    limits: ApplyLimits,
    /// The events of each staged delete so far.
    staged_events: BTreeMap<u64, Vec<Bytes>>,
    seed: u64,
    generator: Generator,
    clients: Clients,
    store: MemoryView,
    model: Model,
    /// The writes of honest clients that were applied.
    applied: BTreeSet<(ClientId, u64)>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let clients = Clients::new(&mut generator);
        let (store, model) = (MemoryView::new(), Model::new());
        Self {
            limits: ApplyLimits::default(),
            staged_events: BTreeMap::new(),
            seed,
            generator,
            clients,
            store,
            model,
            applied: BTreeSet::new(),
        }
    }

    fn run(&mut self, coverage: &mut Coverage) {
        for step in 0..STEPS {
            let place = format!("seed {}, step {step}", self.seed);
            match self.generator.below(100) {
                0..55 => self.write(&place, coverage),
                55..85 => {
                    let request = self.generator.range(self.revisions());
                    self.read(&request, &place, coverage);
                }
                _ => self.read_txn(&place, coverage),
            }
            if !self.store.deletes.is_empty() && self.generator.chance(12) {
                self.go_on(&place, coverage);
            }
            if step % 50 == 0 || (self.limits == STAGING && step % 7 == 0) {
                self.check_whole_state(&place);
            }
        }
        while !self.store.deletes.is_empty() {
            self.go_on(&format!("seed {}, at the end", self.seed), coverage);
        }
        self.check_whole_state(&format!("seed {}, at the end", self.seed));
    }

    fn revisions(&self) -> Revisions {
        Revisions { compacted: self.model.compacted, current: self.model.revision() }
    }

    fn write(&mut self, place: &str, coverage: &mut Coverage) {
        let revisions = self.revisions();
        let command = self.clients.next_command(&mut self.generator, revisions);
        let sessions = self.store.sessions.len();
        let masked = masked_keys(&self.store);
        let applied = self.store.apply_within(&command, &self.limits);
        // What the store refuses for the sake of a staged delete, a plain one would not see.
        let refused = match &applied.response {
            Err(OperationError::TooManyDeletes { .. } | OperationError::DeleteUnderWay { .. }) => {
                Some(applied.response.clone())
            }
            _ => None,
        };
        let expected = self.model.apply_or(&command, refused);
        let told = as_plain(&applied.response, &expected);
        assert_eq!(told, expected, "{place}: {command:?}");
        if self.store.deletes.len() > 1 {
            count(coverage, "several staged at once");
        }
        if applied.changes.iter().any(|it| matches!(it, Change::WriteTombstone { .. })) {
            assert!(!masked.is_empty(), "{place}");
            count(coverage, "put into a staged delete");
        }
        assert_eq!(self.store.revision, self.model.revision(), "{place}: {command:?}");
        self.check_events(&applied, revisions.current, place);
        self.check_applied_once(&command, &applied, place);
        self.clients.answered(&mut self.generator, &command, &applied.response);

        match &applied.response {
            Ok(Answer::DeleteStaged { .. }) if applied.changes.is_empty() => {
                count(coverage, "retry of a staged delete");
            }
            Ok(_) if applied.changes.is_empty() && command.request_id.is_some() => {
                count(coverage, "retry answered");
            }
            Ok(Answer::DeleteStaged { .. }) => count(coverage, "delete staged"),
            Ok(Answer::Put(_)) => count(coverage, "put"),
            Ok(Answer::DeleteRange(_)) => count(coverage, "delete"),
            Ok(Answer::Txn(_)) => count(coverage, "txn"),
            Ok(Answer::Compact(_)) => count(coverage, "compact"),
            Ok(Answer::RegisterMember) => count(coverage, "register"),
            Ok(
                Answer::Access(_)
                | Answer::Cluster(_)
                | Answer::DeleteContinued { .. }
                | Answer::Again(_),
            ) => unreachable!("none is generated"),
            Err(error) => count(coverage, &name_of(error)),
        }
        if self.store.sessions.len() < sessions {
            count(coverage, "session expired");
        }
        if matches!(applied.response, Err(OperationError::SessionExpired { .. }))
            && let Some(RequestName::Session(id)) = command.request_id
            && Clients::is_honest(id.client)
        {
            count(coverage, "honest write unknown");
        }
    }

    /// One step of a staged delete, which changes nothing that anybody reads.
    fn go_on(&mut self, place: &str, coverage: &mut Coverage) {
        let index = self.generator.below(self.store.deletes.len() as u64) as usize;
        // Now and then of one that is finished already.
        let revision = self.store.deletes[index].revision - u64::from(self.generator.chance(5));
        let command =
            self.clients.of_the_cluster(Operation::ContinueDelete { revision, keys: u64::MAX });
        let applied = self.store.apply_within(&command, &self.limits);
        let decided = Some(applied.response.clone());
        assert_eq!(self.model.apply_or(&command, decided), applied.response, "{place}");
        self.keep_staged_events(&applied, place);
        for change in &applied.changes {
            if let Change::FinishDelete { revision, deleted } = change {
                let told = self.staged_events.remove(revision).unwrap_or_default();
                assert_eq!(told.len() as u64, *deleted, "{place}, revision {revision}");
                let told: BTreeSet<_> = told.into_iter().map(|key| (key, None)).collect();
                let (before, after) = (revision - 1, *revision);
                let expected = difference(self.model.state_at(before), self.model.state_at(after));
                let expected: BTreeSet<_> =
                    expected.into_iter().map(|(key, pair)| (key, pair.map(|_| ()))).collect();
                assert_eq!(told, expected, "{place}, revision {revision}");
                count(coverage, "delete finished");
            }
        }
    }

    /// Gathers the events of staged deletes: numbered from 0 without a gap.
    fn keep_staged_events(&mut self, applied: &Applied, place: &str) {
        for change in &applied.changes {
            if let Change::WriteTombstone { key, revision } = change {
                let told = self.staged_events.entry(revision.main).or_default();
                assert_eq!(revision.sub as usize, told.len(), "{place}");
                told.push(key.clone());
            }
        }
    }

    /// The events are the difference of the two states, no more and no less.
    fn check_events(&mut self, applied: &Applied, before: u64, place: &str) {
        self.keep_staged_events(applied, place);
        if matches!(applied.response, Ok(Answer::DeleteStaged { .. })) {
            return;
        }
        let plain: Vec<_> = applied
            .changes
            .iter()
            .filter(|change| !matches!(change, Change::WriteTombstone { .. }))
            .cloned()
            .collect();
        let mut told: Vec<_> = events(&plain)
            .map(|event| match event.kind {
                EventKind::Put { meta, value } => {
                    (event.key.clone(), Some(pair(&event.key, &meta, value)), meta.mod_revision)
                }
                EventKind::Delete { revision } => (event.key, None, revision),
            })
            .collect();
        for (place_in_order, (_, _, revision)) in told.iter().enumerate() {
            let sub = place_in_order as u32;
            assert_eq!(*revision, Revision::new(self.model.revision(), sub), "{place}");
        }
        told.sort_by(|left, right| left.0.cmp(&right.0));
        let told: Vec<_> = told.into_iter().map(|(key, pair, _)| (key, pair)).collect();
        let expected =
            difference(self.model.state_at(before), self.model.state_at(self.model.revision()));
        assert_eq!(told, expected, "{place}");
    }

    fn check_applied_once(&mut self, command: &Command, applied: &Applied, place: &str) {
        let recorded = applied.changes.iter().any(|it| matches!(it, Change::RecordAnswer { .. }));
        let Some(RequestName::Session(request_id)) = command.request_id else {
            return assert!(!recorded, "{place}");
        };
        if recorded && Clients::is_honest(request_id.client) {
            let first = self.applied.insert((request_id.client, request_id.sequence));
            assert!(first, "{place}: {request_id:?} was applied twice");
        }
        if !recorded {
            assert_eq!(applied.changes, [], "{place}");
        }
    }

    fn read(&self, request: &RangeRequest, place: &str, coverage: &mut Coverage) {
        let Ok(answer) = range(&self.store, request);
        assert_eq!(answer, self.model.range(request), "{place}: {request:?}");
        match answer {
            Ok(answer) if answer.more => {
                let by_limit = answer.kvs.len() as u64 == request.limit;
                let what = if by_limit { "limit" } else { "bytes" };
                count(coverage, &format!("range cut by its {what}"));
            }
            Ok(_) if request.revision != 0 => count(coverage, "range of history"),
            Ok(_) => count(coverage, "range"),
            Err(error) => count(coverage, &name_of(&error)),
        }
    }

    fn read_txn(&mut self, place: &str, coverage: &mut Coverage) {
        let request = self.generator.read_txn(self.revisions());
        let Ok(answer) = read_txn(&self.store, &request);
        assert_eq!(answer, self.model.read_txn(&request), "{place}: {request:?}");
        match answer {
            Ok(_) => count(coverage, "read txn"),
            Err(error) => count(coverage, &name_of(&error)),
        }
    }

    /// Everything that is readable, and every session.
    fn check_whole_state(&self, place: &str) {
        let Revisions { compacted, current } = self.revisions();
        for revision in compacted.max(1)..=current {
            let mut found = State::new();
            let Ok(()) = self.store.scan(
                &KeyRange::all(),
                revision,
                &Visits::unlimited(),
                &mut |key, meta| {
                    let Ok(value) = self.store.value(meta.mod_revision);
                    let stored = model::Stored {
                        created: meta.create_revision,
                        modified: meta.mod_revision.main,
                        version: meta.version,
                        lease: meta.lease,
                        value,
                    };
                    found.insert(Bytes::copy_from_slice(key), stored);
                    std::ops::ControlFlow::Continue(())
                },
            );
            assert_eq!(found, *self.model.state_at(revision), "{place}, revision {revision}");
        }
        let remembered = self.model.sessions.iter().map(|session| {
            let answers = session.answers.iter();
            let answers: BTreeMap<_, _> =
                answers.map(|(sequence, _, answer)| (*sequence, answer.clone())).collect();
            let times = (session.last_active_ms, session.window_ms);
            (session.client, (times, session.lowest_unanswered, answers))
        });
        let remembered: BTreeMap<_, _> = remembered.collect();
        let kept = self.store.sessions.iter().map(|(client, session)| {
            let expected = remembered.get(client).map(|(_, _, answers)| answers);
            let answers = session.answers.iter().map(|(sequence, kept)| {
                let answer = match expected.and_then(|expected| expected.get(sequence)) {
                    Some(expected) => as_plain(&kept.answer, expected),
                    None => kept.answer.clone(),
                };
                (*sequence, answer)
            });
            let times = (session.last_active_ms, session.window_ms);
            (*client, (times, session.lowest_unanswered, answers.collect()))
        });
        assert_eq!(kept.collect::<BTreeMap<_, _>>(), remembered, "{place}");
    }
}

fn count(coverage: &mut Coverage, what: &str) {
    *coverage.entry(what.to_owned()).or_default() += 1;
}

/// The answer to a delete that is staged, as a plain one's is known to be; any other as it is.
fn as_plain(answer: &StoredAnswer, expected: &StoredAnswer) -> StoredAnswer {
    match (answer, expected) {
        (Ok(Answer::DeleteStaged { revision }), Ok(Answer::DeleteRange(plain)))
            if plain.revision == *revision =>
        {
            expected.clone()
        }
        _ => answer.clone(),
    }
}

/// The keys whose tombstones staged deletes owe.
fn masked_keys(store: &MemoryView) -> Vec<Bytes> {
    let is_masked = |key: &&Bytes| {
        let (Ok(written), Ok(current)) = (store.written(key), store.current(key));
        written.is_some() && current.is_none()
    };
    store.history.keys().filter(is_masked).cloned().collect()
}

/// The name of an error's variant.
fn name_of(error: &OperationError) -> String {
    format!("{error:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn pair(key: &Bytes, meta: &VersionMeta, value: Bytes) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value,
        create_revision: meta.create_revision,
        mod_revision: meta.mod_revision.main,
        version: meta.version,
        lease: meta.lease,
    }
}

/// The keys that two states do not have in common: as they are after, or none if they are gone.
fn difference(before: &State, after: &State) -> Vec<(Bytes, Option<KeyValue>)> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| {
            let pair = after.get(key).map(|stored| KeyValue {
                key: key.clone(),
                value: stored.value.clone(),
                create_revision: stored.created,
                mod_revision: stored.modified,
                version: stored.version,
                lease: stored.lease,
            });
            (key.clone(), pair)
        })
        .collect()
}

/// A view that answers about sessions only by the whole session.
struct WholeSessions<'a>(&'a MemoryView);

impl StateView for WholeSessions<'_> {
    type Error = Infallible;

    fn revision(&self) -> u64 {
        self.0.revision()
    }

    fn compact_revision(&self) -> u64 {
        self.0.compact_revision()
    }

    fn staged_deletes(&self) -> &[StagedDelete] {
        self.0.staged_deletes()
    }

    fn written(&self, key: &[u8]) -> Result<Option<VersionMeta>, Infallible> {
        self.0.written(key)
    }

    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
        visits: &Visits<'_>,
        visit: &mut VersionVisitor<'_>,
    ) -> Result<(), Infallible> {
        self.0.scan(range, at, visits, visit)
    }

    fn value(&self, revision: Revision) -> Result<Bytes, Infallible> {
        self.0.value(revision)
    }

    fn session(&self, client: ClientId) -> Result<Option<Session>, Infallible> {
        self.0.session(client)
    }

    fn session_totals(&self, user: &Principal) -> SessionTotals {
        self.0.session_totals(user)
    }

    fn overdue_sessions(
        &self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ClientId, u64)>, Infallible> {
        self.0.overdue_sessions(user, before_ms, limit)
    }

    fn signature(&self, key: &SignatureKey) -> Result<Option<KeptSignature>, Infallible> {
        let Ok(kept) = self.0.signature(key);
        Ok(kept)
    }

    fn signature_totals(&self, user: &Principal) -> SignatureTotals {
        self.0.signature_totals(user)
    }

    fn oldest_signatures(&self, limit: usize) -> Result<Vec<(SignatureKey, u64)>, Infallible> {
        let Ok(oldest) = self.0.oldest_signatures(limit);
        Ok(oldest)
    }

    fn forgotten(&self) -> Forgotten {
        self.0.forgotten()
    }

    fn leader_time_ms(&self) -> u64 {
        self.0.leader_time_ms()
    }

    fn roster(&self) -> Arc<Roster> {
        self.0.roster()
    }

    fn access(&self) -> Arc<AccessTables> {
        self.0.access()
    }
}
