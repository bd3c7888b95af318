//! openraft's own suite with every read from the disk: nothing stays in memory after its commit.
//! (`storage_state` runs it with the memory.)

use std::sync::Arc;

use chainfire::consensus::TypeConfig;
use chainfire::storage::{FatalSink, LogStore, NoHooks, StateOptions, StateStore};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::support::{ALL_FROM_DISK, data_dir};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateStore), StorageError<TypeConfig>> {
        let path = TempDir::new().unwrap();
        let directory = data_dir(path.path()).unwrap();
        let (sink, _watch) = FatalSink::channel();
        let log =
            LogStore::open(&directory, ALL_FROM_DISK, sink.clone(), Arc::new(NoHooks)).unwrap();
        let options = StateOptions {
            map_bytes: 64 << 20,
            // The suite applies entries of any index.
            consecutive_entries: false,
            ..StateOptions::default()
        };
        let state = StateStore::open(&directory, options, sink, Arc::new(NoHooks)).unwrap();
        Ok((path, log, state))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_finds_no_fault_with_every_read_from_the_disk() {
    Suite::test_all(Builder).await.unwrap();
}
