//! Appending to the log until it is acknowledged: batch size by value size, on a real disk.
//!
//! `one_at_a_time`: one append, one commit, one sync; what a single client waits for.
//! `pipelined`: 64 appends on their way; what the group commit makes of it.
//!
//! The directory is made where `TMPDIR` says: point it at the disk to measure.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use chainfire::consensus::{EncodedCommand, RaftEntry, RaftLogId, TypeConfig};
use chainfire::storage::{DataDir, FatalSink, Identity, LogOptions, LogStore, NoHooks};
use chainfire::types::ClusterId;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use openraft::EntryPayload;
use openraft::alias::OneshotReceiverOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

const BATCHES: [u64; 4] = [1, 16, 64, 512];
const VALUE_BYTES: [usize; 3] = [256, 1024, 16 * 1024];
const PIPELINE: usize = 64;

/// As a node keeps its log: the last so many entries.
const KEPT_ENTRIES: u64 = 20_000;
const PURGE_EVERY_ENTRIES: u64 = 10_000;

struct Log {
    store: LogStore,
    value: bytes::Bytes,
    next: u64,
    purged: u64,
    _directory: tempfile::TempDir,
}

impl Log {
    fn open(value_bytes: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let identity = || Identity {
            cluster_id: ClusterId(1),
            node_id: 1,
            incarnation: 1,
            name: "bench".to_owned(),
        };
        let (data, _) = DataDir::create_or_open(directory.path(), identity).expect("a directory");
        let (sink, _watch) = FatalSink::channel();
        let store = LogStore::open(&data, LogOptions::default(), sink, Arc::new(NoHooks))
            .expect("a new log");
        let value = vec![7; value_bytes].into();
        Self { store, value, next: 0, purged: 0, _directory: directory }
    }

    async fn append(&mut self, batch: u64) -> OneshotReceiverOf<TypeConfig, io::Result<()>> {
        let entries: Vec<RaftEntry> = (self.next..self.next + batch)
            .map(|index| RaftEntry {
                log_id: RaftLogId::new_term_index(1, index),
                payload: EntryPayload::Normal(EncodedCommand(self.value.clone())),
            })
            .collect();
        self.next += batch;
        let (sender, flushed) = TypeConfig::oneshot();
        self.store.append(entries, IOFlushed::signal(sender)).await.expect("the log is open");
        if self.next > self.purged + KEPT_ENTRIES + PURGE_EVERY_ENTRIES {
            self.purged = self.next - KEPT_ENTRIES;
            let log_id = RaftLogId::new_term_index(1, self.purged);
            self.store.purge(log_id).await.expect("the log is open");
        }
        flushed
    }
}

async fn acknowledged(flushed: OneshotReceiverOf<TypeConfig, io::Result<()>>) {
    flushed.await.expect("the callback runs").expect("the disk takes it");
}

fn log_append(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (mode, pipeline) in [("one_at_a_time", 1), ("pipelined", PIPELINE)] {
        let mut group = criterion.benchmark_group(format!("log_append/{mode}"));
        group.sample_size(10);
        for value_bytes in VALUE_BYTES {
            for batch in BATCHES {
                if pipeline as u64 * batch * value_bytes as u64 > 64 << 20 {
                    continue; // The queue's bound would be measured, not the log.
                }
                let mut log = Log::open(value_bytes);
                let mut waiting = VecDeque::new();
                let id = BenchmarkId::new(format!("{value_bytes}B"), batch);
                group.throughput(Throughput::Elements(batch));
                group.bench_function(id, |bencher| {
                    bencher.iter(|| {
                        runtime.block_on(async {
                            waiting.push_back(log.append(batch).await);
                            if waiting.len() >= pipeline {
                                let oldest = waiting.pop_front().expect("it is not empty");
                                acknowledged(oldest).await;
                            }
                        });
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, log_append);
criterion_main!(benches);
