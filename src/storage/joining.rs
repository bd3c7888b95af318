//! What a node that joins must not forget before it is a member: `JOINING` in its data directory.
//!
//! It is on the disk before the cluster is first asked, so that a node that dies in between asks
//! for the same join again; it goes when the node is a member. A join that came to nothing is
//! marked in it before anything is removed, so that a removal cut short is completed.
//!
//! On disk: an envelope (see `envelope`) around the record in postcard. Append only.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data_dir;
use super::{StorageError, durable_file, envelope};
use crate::types::{ClusterId, JoinTicket};

/// The newest version of the file this release reads, and the one it writes.
const JOINING_VERSION: u8 = 1;

/// The file's name.
pub(crate) const JOINING: &str = "JOINING";

/// What a node that joins must not forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Names the join, and becomes the incarnation of the directory.
    pub nonce: u128,
    /// Members to ask, `HOST:PORT` of their clients' listeners.
    pub contacts: Vec<String>,
    /// Whether the node only takes a snapshot and then waits to be added.
    pub waits: bool,
    /// What the cluster gave it, once it did.
    pub given: Option<(ClusterId, JoinTicket)>,
    /// The cluster's log does not continue the state that the directory held before: it goes.
    pub empties: bool,
    /// The join came to nothing: everything in the directory goes.
    pub discarded: bool,
}

impl Joining {
    /// The record in `data_dir`, if a join was begun there and is not complete.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, StorageError> {
        let path = data_dir.join(JOINING);
        let Some(bytes) = durable_file::read(&path)? else { return Ok(None) };
        let record = envelope::unseal(JOINING_VERSION, &bytes)
            .map_err(|error| StorageError::envelope("the record of a join", &path, &error))?;
        Ok(Some(record))
    }

    /// Writes the record into `data_dir`, which is created when it is not there; on the disk when
    /// this returns.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, data_dir: &Path) -> Result<(), StorageError> {
        data_dir::create_directories(data_dir)?;
        durable_file::replace(&data_dir.join(JOINING), &envelope::seal(JOINING_VERSION, self))
    }

    /// The node is a member: forgets the join.
    ///
    /// # Errors
    /// The disk's.
    pub fn complete(data_dir: &Path) -> Result<(), StorageError> {
        data_dir::remove_file(&data_dir.join(JOINING))?;
        durable_file::sync_directory(data_dir)
    }

    /// Removes everything of a join that came to nothing. The directory must not be in use.
    ///
    /// # Errors
    /// The disk's. Called again it goes on.
    pub fn discard(mut self, data_dir: &Path) -> Result<(), StorageError> {
        self.discarded = true;
        self.write(data_dir)?;
        data_dir::remove_contents(data_dir)?;
        Self::complete(data_dir)
    }

    /// Whether `data_dir` is one of a node that has an identity.
    pub fn is_made(data_dir: &Path) -> bool {
        data_dir::is_made(data_dir)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::storage::DataDir;
    use crate::storage::identity::tests::identity;

    fn joining() -> Joining {
        Joining {
            nonce: 300,
            contacts: vec!["h:1".into()],
            waits: true,
            given: Some((ClusterId(0xC1), JoinTicket { join_id: 5, node_id: 4 })),
            empties: true,
            discarded: false,
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let directory = tempfile::tempdir().unwrap();
        joining().write(directory.path()).unwrap();
        let bytes = fs::read(directory.path().join(JOINING)).unwrap();
        let body = [&[0xac, 2, 1, 3][..], b"h:1", &[1, 1, 0xC1, 1, 5, 4, 1, 0]].concat();
        assert_eq!((bytes[0], &bytes[5..]), (1, &body[..]));
        assert_eq!(Joining::read(directory.path()).unwrap(), Some(joining()));
    }

    #[test]
    fn a_directory_is_made_beside_the_record_and_nothing_stays_of_a_discarded_join() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        joining().write(&path).unwrap();
        assert!(!Joining::is_made(&path));
        let (directory, fresh) = DataDir::create_or_open(&path, identity).unwrap();
        assert!(fresh && Joining::is_made(&path));
        drop(directory);
        joining().discard(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_completed_join_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        joining().write(directory.path()).unwrap();
        Joining::complete(directory.path()).unwrap();
        Joining::complete(directory.path()).unwrap();
        assert_eq!(Joining::read(directory.path()).unwrap(), None);
    }
}
