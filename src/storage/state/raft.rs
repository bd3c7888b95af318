//! The state as openraft sees it.

use std::io;

use futures_util::Stream;
use openraft::alias::{SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};

use super::apply::apply_stream;
use super::install::install;
use super::shared::blocking;
use super::store::StateStore;
use crate::consensus::{RaftLogId, TypeConfig, log_id_to_openraft};
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotFile;

impl RaftStateMachine<TypeConfig> for StateStore {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<RaftLogId>, StoredMembershipOf<TypeConfig>), io::Error> {
        let head = self.shared.head();
        let applied = head.position.applied.as_ref().map(log_id_to_openraft);
        Ok((applied, head.position.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        Ok(apply_stream(&self.shared, entries).await?)
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(SnapshotBuilder { store: self.clone() })
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { store: self.clone() }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let shared = self.shared.clone();
        let _nobody_applies = self.shared.applying.lock().await;
        shared.check()?;
        blocking(move || install(&shared, &snapshot)).await?;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>, io::Error> {
        Ok(self.shared.snapshots.current().map(describe).transpose()?)
    }
}

/// Builds one snapshot.
pub struct SnapshotBuilder {
    store: StateStore,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotFile>, io::Error> {
        let mut exporting = self.store.shared.exporting.lock().await;
        let file = match exporting.for_consensus.take() {
            Some(prepared) => prepared,
            None => self.store.write_snapshot(&mut exporting).await?,
        };
        Ok(describe(file)?)
    }
}

fn describe(file: SnapshotFile) -> Result<SnapshotOf<TypeConfig, SnapshotFile>, StorageError> {
    Ok(openraft::Snapshot { meta: file.meta()?, snapshot: file })
}
