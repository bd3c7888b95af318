//! Reading: a view, one key, ranges, the past.
//!
//! The keys are on the disk (and in its cache); `beside unflushed` has 10,000 changes in memory as
//! well, which every read looks into first.

#[path = "support/state.rs"]
mod support;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Duration;

use chainfire::machine::{StateView, Visits, range};
use chainfire::storage::StateOptions;
use chainfire::types::{KeyRange, RangeRequest};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{BATCH, State, key};

const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;
const UNFLUSHED: u64 = 10_000;
/// Versions of the one key whose past is read.
const VERSIONS: u64 = 100_000;

fn reads(criterion: &mut Criterion, name: &str, state: &State) {
    let mut group = criterion.benchmark_group(format!("read/{name}"));
    group.bench_function("make a view", |bencher| {
        bencher.iter(|| black_box(state.store.view().expect("a view").revision()));
    });
    let view = state.store.view().expect("a view");
    let mut number = 0;
    let mut next_key = move || {
        number = (number + 7_919) % KEYS;
        key(number)
    };
    group.bench_function("look up one key", |bencher| {
        bencher.iter_batched(
            &mut next_key,
            |key| view.current(&key).expect("a read"),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("get one key", |bencher| {
        bencher.iter_batched(
            || RangeRequest::new(KeyRange::single(next_key())),
            |request| range(&view, &request).expect("a read").expect("an answer"),
            BatchSize::SmallInput,
        );
    });
    for limit in [10, 1_000] {
        group.throughput(Throughput::Elements(limit));
        let request =
            RangeRequest { limit, skip_count: true, ..RangeRequest::new(KeyRange::all()) };
        group.bench_function(BenchmarkId::new("page", limit), |bencher| {
            bencher.iter(|| range(&view, black_box(&request)).expect("a read").expect("an answer"));
        });
    }
    group.throughput(Throughput::Elements(KEYS));
    let count = RangeRequest { count_only: true, ..RangeRequest::new(KeyRange::all()) };
    group.bench_function("count every key", |bencher| {
        bencher.iter(|| range(&view, black_box(&count)).expect("a read").expect("an answer"));
    });
    group.finish();
}

fn current(criterion: &mut Criterion) {
    // Nothing is flushed but on request.
    let options = StateOptions {
        flush_interval: Duration::from_secs(3_600),
        flush_bytes: usize::MAX,
        ..StateOptions::default()
    };
    let mut state = State::filled(options, KEYS, VALUE_BYTES);
    reads(criterion, "from the disk", &state);
    let unflushed = state.puts((0..UNFLUSHED).map(key), VALUE_BYTES, None);
    state.apply(unflushed);
    reads(criterion, "beside unflushed", &state);
}

fn past(criterion: &mut Criterion) {
    let mut state = State::open(StateOptions::default());
    for _ in 0..VERSIONS / BATCH {
        let batch = state.puts((0..BATCH).map(|_| key(0)), VALUE_BYTES, None);
        state.apply(batch);
    }
    state.flush();
    let view = state.store.view().expect("a view");
    let mut group = criterion.benchmark_group("read/the past");
    let mut at = 2;
    group.bench_function("one version of 100,000", |bencher| {
        bencher.iter(|| {
            at = 2 + (at + 7_919) % (VERSIONS / BATCH * BATCH);
            let mut found = None;
            let single = KeyRange::single(key(0));
            view.scan(&single, at, &Visits::unlimited(), &mut |_, meta| {
                found = Some(*meta);
                ControlFlow::Continue(())
            })
            .expect("a read");
            found.expect("the key existed")
        });
    });
    group.finish();
}

criterion_group!(benches, current, past);
criterion_main!(benches);
