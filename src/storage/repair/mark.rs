//! `DISTRUSTED`: the state in this directory is not to be trusted.
//!
//! On disk: an envelope (see `envelope`) around the reason in postcard. Whatever lies there, whole
//! or not, says that the state is not to be trusted.

use std::path::Path;

use crate::storage::{StorageError, data_dir, durable_file, envelope};
use crate::types::Distrust;

/// The newest version of the file this release reads, and the one it writes.
const MARK_VERSION: u8 = 1;

/// The file's name.
pub(in crate::storage) const DISTRUSTED: &str = "DISTRUSTED";

/// The mark in a data directory.
#[derive(Clone, Copy, Debug)]
pub struct DistrustMark;

impl DistrustMark {
    /// Why the state is not to be trusted, if it is marked.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(data_dir: &Path) -> Result<Option<Distrust>, StorageError> {
        let Some(bytes) = durable_file::read(&data_dir.join(DISTRUSTED))? else { return Ok(None) };
        let reason = envelope::unseal(MARK_VERSION, &bytes);
        Ok(Some(reason.unwrap_or_else(|error| Distrust::StateDamaged {
            detail: format!("it was marked so, and the reason cannot be read: {error}"),
        })))
    }

    /// Marks the state; on the disk when this returns.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(data_dir: &Path, reason: &Distrust) -> Result<(), StorageError> {
        durable_file::replace(&data_dir.join(DISTRUSTED), &envelope::seal(MARK_VERSION, reason))
    }

    /// The state was replaced.
    pub(super) fn remove(data_dir: &Path) -> Result<(), StorageError> {
        data_dir::remove_file(&data_dir.join(DISTRUSTED))?;
        durable_file::sync_directory(data_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_mark_are_pinned_and_any_bytes_are_a_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DISTRUSTED);
        assert_eq!(DistrustMark::read(directory.path()).unwrap(), None);
        let reason = Distrust::StateDiffers { index: 7 };
        DistrustMark::write(directory.path(), &reason).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes[0], &bytes[5..]), (1, &[1, 7][..]));
        assert_eq!(DistrustMark::read(directory.path()).unwrap(), Some(reason));
        for damaged in [&[][..], &bytes[..3], &[9; 8]] {
            std::fs::write(&path, damaged).unwrap();
            let read = DistrustMark::read(directory.path()).unwrap();
            assert!(matches!(read, Some(Distrust::StateDamaged { .. })), "{read:?}");
        }
        DistrustMark::remove(directory.path()).unwrap();
        DistrustMark::remove(directory.path()).unwrap();
        assert_eq!(DistrustMark::read(directory.path()).unwrap(), None);
    }
}
