//! Reading a snapshot of the whole store, for a backup.

use super::Client;
use super::builder::ClientBuilder;
use super::error::Error;
use crate::rpc::api::{
    SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest, StoreClient,
};

impl Client {
    /// Asks for a snapshot that holds everything acknowledged until now. The node may answer that
    /// it is being written: then ask again, with the index it named.
    pub async fn snapshot_open(
        &self,
        request: SnapshotOpenRequest,
    ) -> Result<SnapshotOpened, Error> {
        let timeout = ClientBuilder::request_timeout(self.inner.timeout, None);
        let open = |store: StoreClient, context| async move {
            store.snapshot_open(context, request).await
        };
        self.inner.read(timeout, open).await
    }

    /// Reads a piece of an opened snapshot; an empty one is the end. Its checksum is the caller's
    /// to look at.
    pub async fn snapshot_read(
        &self,
        request: SnapshotReadRequest,
    ) -> Result<SnapshotPiece, Error> {
        let timeout = ClientBuilder::request_timeout(self.inner.timeout, None);
        let read = |store: StoreClient, context| async move {
            store.snapshot_read(context, request).await
        };
        self.inner.read(timeout, read).await
    }
}
