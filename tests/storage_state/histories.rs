//! Random histories through the storage, against a state in memory: flushed, compacted, opened
//! again and carried over by snapshots at random moments.
//!
//! The seeds are fixed; a failure names its seed and step. Set `CHAINFIRE_TEST_SEED` to explore
//! another set of histories.

use std::collections::{BTreeMap, BTreeSet};

use chainfire::machine::{ApplyLimits, StateView, range, read_txn};
use chainfire::storage::{FatalWatch, StateOptions, StateStore};
use chainfire::types::{ClientId, KeyRange, Operation, Principal, RequestName};
use tempfile::TempDir;

use crate::clients::Clients;
use crate::generator::{Generator, Revisions};
use crate::shared_support::memory_view::MemoryView;
use crate::support::{
    apply, build_snapshot, entry, install_snapshot, next_index, open, pairs, unhurried,
};

const HISTORIES: u64 = 8;
const STEPS: u64 = 400;
/// Revisions looked at in each check, spread over what is readable.
const REVISIONS_CHECKED: u64 = 40;

struct History {
    seed: u64,
    options: StateOptions,
    generator: Generator,
    clients: Clients,
    model: MemoryView,
    path: TempDir,
    store: StateStore,
    watch: FatalWatch,
    seen_clients: BTreeSet<ClientId>,
}

impl History {
    fn new(seed: u64, options: StateOptions) -> Self {
        let mut generator = Generator::new(seed);
        let clients = Clients::new(&mut generator);
        let path = TempDir::new().unwrap();
        let (store, watch) = open(path.path(), options.clone()).unwrap();
        let (model, seen_clients) = (MemoryView::new(), BTreeSet::new());
        Self { seed, options, generator, clients, model, path, store, watch, seen_clients }
    }

    async fn run(&mut self) {
        for step in 0..STEPS {
            let place = format!("seed {}, step {step}", self.seed);
            match self.generator.below(200) {
                0..150 => self.write(&place).await,
                150..175 => self.read(&place),
                175..195 => self.store.flush().await.unwrap(),
                195..198 => self.reopen(),
                _ => self.move_to_another_directory(&place).await,
            }
            if step % 50 == 49 {
                self.check(&place);
            }
        }
        while let Some(staged) = self.model.deletes.first() {
            let operation = Operation::ContinueDelete { revision: staged.revision, keys: 9 };
            let command = self.clients.of_the_cluster(operation);
            self.model.apply_within(&command, &self.options.apply_limits);
            apply(&self.store, [entry(next_index(&self.store), &command)]).await.unwrap();
        }
        self.check_what_is_kept().await;
        assert!(self.watch.current().is_none());
    }

    fn revisions(&self) -> Revisions {
        Revisions { compacted: self.model.compact_revision, current: self.model.revision }
    }

    async fn write(&mut self, place: &str) {
        let mut entries = Vec::new();
        for offset in 0..=self.generator.below(4) {
            let revisions = self.revisions();
            let command = match self.model.deletes.first() {
                Some(staged) if self.generator.chance(15) => {
                    let operation =
                        Operation::ContinueDelete { revision: staged.revision, keys: 9 };
                    self.clients.of_the_cluster(operation)
                }
                _ => self.clients.next_command(&mut self.generator, revisions),
            };
            let applied = self.model.apply_within(&command, &self.options.apply_limits);
            self.clients.answered(&mut self.generator, &command, &applied.response);
            if let Some(RequestName::Session(id)) = command.request_id {
                self.seen_clients.insert(id.client);
            }
            entries.push(entry(next_index(&self.store) + offset, &command));
        }
        apply(&self.store, entries).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    }

    fn read(&mut self, place: &str) {
        let request = self.generator.range(self.revisions());
        let view = self.store.view().unwrap();
        let Ok(expected) = range(&self.model, &request);
        assert_eq!(range(&view, &request).unwrap(), expected, "{place}: {request:?}");
        let request = self.generator.read_txn(self.revisions());
        let Ok(expected) = read_txn(&self.model, &request);
        assert_eq!(read_txn(&view, &request).unwrap(), expected, "{place}: {request:?}");
    }

    fn reopen(&mut self) {
        self.store.shutdown();
        // The last handle holds the directory's lock.
        let (placeholder_path, path) = (TempDir::new().unwrap(), self.path.path());
        self.store = open(placeholder_path.path(), self.options.clone()).unwrap().0;
        (self.store, self.watch) = open(path, self.options.clone()).unwrap();
    }

    /// Carries the state over by a snapshot, onto a store with something else in it.
    async fn move_to_another_directory(&mut self, place: &str) {
        let file = build_snapshot(&self.store).await.unwrap();
        let path = TempDir::new().unwrap();
        let (store, watch) = open(path.path(), self.options.clone()).unwrap();
        apply(&store, [crate::support::blank(0)]).await.unwrap();
        install_snapshot(&store, file).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(*store.applied().borrow(), *self.store.applied().borrow(), "{place}");
        assert_eq!(*store.durable().borrow(), store.applied().borrow().log_id, "{place}");
        (self.store, self.watch, self.path) = (store, watch, path);
    }

    /// What is readable at many revisions, and every session.
    fn check(&self, place: &str) {
        let view = self.store.view().unwrap();
        assert_eq!(view.revision(), self.model.revision, "{place}");
        assert_eq!(view.compact_revision(), self.model.compact_revision, "{place}");
        let (oldest, now) = (self.model.compact_revision.max(1), self.model.revision);
        let stride = ((now - oldest) / REVISIONS_CHECKED).max(1);
        let newest = now.saturating_sub(2).max(oldest)..=now;
        for at in (oldest..=now).step_by(stride as usize).chain(newest) {
            let expected = pairs(&self.model, &KeyRange::all(), at);
            assert_eq!(pairs(&view, &KeyRange::all(), at), expected, "{place}, revision {at}");
        }
        let user = Principal("test".into());
        assert_eq!(view.session_totals(&user), self.model.session_totals(&user), "{place}");
        assert_eq!(view.forgotten(), self.model.forgotten, "{place}");
        for (user, before_ms) in [(None, u64::MAX), (Some(&user), self.model.leader_time_ms)] {
            let Ok(overdue) = self.model.overdue_sessions(user, before_ms, usize::MAX);
            let found = view.overdue_sessions(user, before_ms, usize::MAX).unwrap();
            assert_eq!(found, overdue, "{place}");
        }
        for client in &self.seen_clients {
            let expected = self.model.sessions.get(client);
            assert_eq!(view.session(*client).unwrap().as_ref(), expected, "{place}");
        }
        let members: BTreeMap<_, _> = self
            .store
            .members()
            .into_iter()
            .map(|(node, address, client_addr)| (node, (address, client_addr)))
            .collect();
        assert_eq!(members, self.model.members, "{place}");
        assert_eq!(view.staged_deletes(), self.model.deletes, "{place}");
    }

    /// Compaction leaves on the disk what the model leaves in memory, and nothing more.
    async fn check_what_is_kept(&self) {
        self.store.flush().await.unwrap();
        let versions: usize = self.model.history.values().map(Vec::len).sum();
        let expected = (self.model.history.len() as u64, versions as u64);
        crate::support::until(|| {
            let stats = self.store.stats().unwrap();
            (stats.keys, stats.versions) == expected
        });
        self.check(&format!("seed {}, at the end", self.seed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_agree_with_a_state_in_memory() {
    let base_seed = std::env::var("CHAINFIRE_TEST_SEED")
        .map_or(0, |seed| seed.parse().expect("CHAINFIRE_TEST_SEED is a number"));
    for seed in base_seed..base_seed + HISTORIES {
        History::new(seed, unhurried()).run().await;
    }
}

/// Nearly every delete of several keys is staged, and written out in many steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_with_staged_deletes_agree_with_a_state_in_memory() {
    let base_seed = std::env::var("CHAINFIRE_TEST_SEED")
        .map_or(0, |seed| seed.parse().expect("CHAINFIRE_TEST_SEED is a number"));
    let apply_limits = ApplyLimits {
        delete_keys_at_once_max: 1,
        delete_step_keys: 1,
        deletes_staged_max: 3,
        ..ApplyLimits::default()
    };
    for seed in base_seed + 900..base_seed + 900 + HISTORIES {
        let options = StateOptions { apply_limits, ..unhurried() };
        History::new(seed, options).run().await;
    }
}
