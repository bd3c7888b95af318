//! openraft's own suite, over the log and the state together.

use std::sync::Arc;

use chainfire::consensus::TypeConfig;
use chainfire::storage::{FatalSink, LogOptions, LogStore, NoHooks, StateOptions, StateStore};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::support::{data_dir, hasty};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateStore), StorageError<TypeConfig>> {
        let path = TempDir::new().unwrap();
        let directory = data_dir(path.path()).unwrap();
        let (sink, _watch) = FatalSink::channel();
        let log_options = LogOptions { map_bytes: 64 << 20, ..LogOptions::default() };
        let log = LogStore::open(&directory, log_options, sink.clone(), Arc::new(NoHooks)).unwrap();
        // The suite applies entries of any index.
        let options = StateOptions { consecutive_entries: false, ..hasty() };
        let state = StateStore::open(&directory, options, sink, Arc::new(NoHooks)).unwrap();
        Ok((path, log, state))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_finds_no_fault_with_log_and_state_together() {
    Suite::test_all(Builder).await.unwrap();
}
