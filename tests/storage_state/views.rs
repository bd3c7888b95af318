//! Readers, a writer and the flusher at once: what is true at a revision is true in every view of
//! it, whenever it was made and however long it lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chainfire::machine::StateView;
use chainfire::storage::{StateOptions, StateStore, View};
use chainfire::types::{KeyRange, Operation, TxnOperation, VersionMeta};
use tempfile::TempDir;

use crate::shared_support::requests::{all_of, compact, txn_delete, txn_put};
use crate::support::{apply, command, entry, hasty, open, pairs};

const ACCOUNTS: u64 = 40;
const TOTAL: u64 = ACCOUNTS * 1_000;
const TOKENS: u64 = 8;
const COMMANDS: u64 = 12_000;
/// Commands after the last compaction that may still be read.
const HISTORY_KEPT: u64 = 300;
const READERS: usize = 3;
/// Views a reader keeps to look at again.
const KEPT_VIEWS: usize = 4;

type Picture = BTreeMap<Bytes, (VersionMeta, Bytes)>;

/// A linear congruential generator: the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn account(number: u64) -> String {
    format!("account/{number:02}")
}

fn token(number: u64) -> String {
    format!("token/{number}")
}

/// The writer: moves money between accounts, and one token from place to place, each in one
/// transaction.
struct Bank {
    balances: Vec<u64>,
    token: u64,
    numbers: Numbers,
}

impl Bank {
    fn open_accounts() -> Operation {
        let mut puts: Vec<TxnOperation> =
            (0..ACCOUNTS).map(|number| txn_put(account(number), "1000")).collect();
        puts.push(txn_put(token(0), "here"));
        Operation::Txn(all_of(puts))
    }

    fn transfer(&mut self) -> Operation {
        let from = self.numbers.below(ACCOUNTS) as usize;
        let to = (from + 1 + self.numbers.below(ACCOUNTS - 1) as usize) % ACCOUNTS as usize;
        let amount = self.numbers.below(self.balances[from] + 1);
        self.balances[from] -= amount;
        self.balances[to] += amount;
        let put =
            |number: usize| txn_put(account(number as u64), self.balances[number].to_string());
        let mut operations = vec![put(from), put(to)];
        let next = self.numbers.below(TOKENS);
        if next != self.token {
            operations.push(txn_delete(KeyRange::single(token(self.token))));
            operations.push(txn_put(token(next), "here"));
            self.token = next;
        }
        Operation::Txn(all_of(operations))
    }
}

/// What must be true at every revision from the first transaction on.
fn check(picture: &Picture, place: &str) {
    let accounts = KeyRange::prefix("account/");
    let of_accounts = picture.iter().filter(|(key, _)| accounts.contains(key));
    let balances: Vec<u64> = of_accounts
        .map(|(_, (_, value))| std::str::from_utf8(value).unwrap().parse().unwrap())
        .collect();
    assert_eq!(balances.len() as u64, ACCOUNTS, "{place}");
    assert_eq!(balances.iter().sum::<u64>(), TOTAL, "{place}");
    let tokens = picture.len() - balances.len();
    assert_eq!(tokens, 1, "{place}: the token is in one place");
}

fn picture(view: &View, at: u64) -> Picture {
    pairs(view, &KeyRange::all(), at)
}

/// Point reads agree with the scan.
fn check_points(view: &View, picture: &Picture, numbers: &mut Numbers) {
    for key in [account(numbers.below(ACCOUNTS)), token(numbers.below(TOKENS))] {
        let meta = view.current(key.as_bytes()).unwrap();
        assert_eq!(meta, picture.get(key.as_bytes()).map(|(meta, _)| *meta), "{key}");
    }
}

fn read_until(store: &StateStore, stop: &AtomicBool, seed: u64, looks: &AtomicU64) {
    let mut numbers = Numbers(seed);
    let mut kept: Vec<(View, Picture)> = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let view = store.view().unwrap();
        let (oldest, now) = (view.compact_revision().max(2), view.revision());
        let current = picture(&view, now);
        check(&current, &format!("now, {now}"));
        check_points(&view, &current, &mut numbers);
        let past = oldest + numbers.below(now - oldest + 1);
        check(&picture(&view, past), &format!("{past}, seen from {now}"));

        let index = numbers.below(KEPT_VIEWS as u64) as usize;
        if let Some((view, before)) = kept.get(index) {
            assert_eq!(picture(view, view.revision()), *before, "a view never changes");
        }
        if kept.len() == KEPT_VIEWS {
            kept.swap_remove(index);
        }
        kept.push((view, current));
        looks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the readers, also when the writer panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn stress(options: StateOptions) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let path = TempDir::new().unwrap();
    let (store, watch) = open(path.path(), options).unwrap();
    runtime.block_on(apply(&store, [entry(0, &command(Bank::open_accounts()))])).unwrap();
    let mut bank = Bank { balances: vec![1_000; ACCOUNTS as usize], token: 0, numbers: Numbers(1) };
    let (stop, looks) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let last = std::thread::scope(|scope| {
        for seed in 0..READERS as u64 {
            let store = store.clone();
            scope.spawn(move || read_until(&store, stop, seed, looks));
        }
        let _stop_when_done = StopOnDrop(stop);
        let mut index = 1;
        // The readers must have seen something, however slow the machine is.
        while index < COMMANDS || looks.load(Ordering::Relaxed) < 200 {
            let mut batch = Vec::new();
            for _ in 0..20 {
                let revision = store.applied().borrow().revision;
                let operation = match index % HISTORY_KEPT {
                    0 if revision > HISTORY_KEPT => compact(revision - HISTORY_KEPT),
                    _ => bank.transfer(),
                };
                batch.push(entry(index, &command(operation)));
                index += 1;
            }
            runtime.block_on(apply(&store, batch)).unwrap();
        }
        index
    });
    assert!(watch.current().is_none());
    assert_eq!(store.stats().unwrap().open_views, 0);
    let now = store.view().unwrap();
    let expected: Vec<u64> = bank.balances.clone();
    let found = picture(&now, now.revision());
    for (number, balance) in expected.iter().enumerate() {
        let (_, value) = &found[account(number as u64).as_bytes()];
        assert_eq!(value, &balance.to_string(), "account {number} after {last} commands");
    }
}

#[test]
fn views_agree_while_every_few_changes_are_flushed() {
    stress(hasty());
}

#[test]
fn views_agree_while_many_changes_are_flushed_at_a_time() {
    stress(StateOptions { flush_interval: Duration::from_millis(20), ..hasty() });
}
