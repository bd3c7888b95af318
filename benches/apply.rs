//! Applying committed puts in batches of 64, with the flusher writing behind.
//!
//! `plain`: commands of the cluster's own. `sessions`: every command of one client, whose answers
//! are kept and replaced. `over`: keys already on the disk when the measurement begins.
//!
//! The directory is made where `TMPDIR` says: point it at the disk to measure.

#[path = "support/state.rs"]
mod support;

use chainfire::storage::StateOptions;
use chainfire::types::ClientId;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{BATCH, State, key};

const KEY_SPACES: [u64; 2] = [1_000, 100_000];
const VALUE_BYTES: [usize; 2] = [256, 1_024];

fn apply(criterion: &mut Criterion) {
    for (name, client) in [("plain", None), ("sessions", Some(ClientId(7)))] {
        let mut group = criterion.benchmark_group(format!("apply/{name}"));
        group.throughput(Throughput::Elements(BATCH));
        for keys in KEY_SPACES {
            for value_bytes in VALUE_BYTES {
                let mut state = State::filled(StateOptions::default(), keys, value_bytes);
                let id = BenchmarkId::new(format!("over {keys} keys"), format!("{value_bytes} B"));
                let mut number = 0;
                group.bench_function(id, |bencher| {
                    let state = std::cell::RefCell::new(&mut state);
                    bencher.iter_batched(
                        || {
                            number += BATCH;
                            let keys = (number..number + BATCH).map(|number| key(number % keys));
                            state.borrow_mut().puts(keys, value_bytes, client)
                        },
                        |entries| state.borrow().apply(entries),
                        BatchSize::PerIteration,
                    );
                });
                state.check();
            }
        }
        group.finish();
    }
}

criterion_group!(benches, apply);
criterion_main!(benches);
