//! Whether the last process that used a data directory died by a signal that damage can cause.
//!
//! A page that LMDB believes, and should not, may lead it to where nothing is mapped (SIGBUS,
//! SIGSEGV) or to an assertion of its own (SIGABRT). Such a death leaves a byte in the file `FAULT`,
//! and the next start reads everything through before it maps or serves anything. `kill -9` and a
//! power cut leave none: they damage nothing that the checksums do not find, and a start after them
//! stays as quick as ever.
//!
//! The handlers of the signals write to files that are open already, and then let the system go on
//! as if they were not there; they are installed once for the process, whatever number of nodes is
//! in it ([`environment`](super::environment)).

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::environment::{FaultWatch, watch_faults};
use super::{StorageError, durable_file};

/// The file's name.
pub(super) const FAULT: &str = "FAULT";

/// The mark of one data directory.
#[derive(Debug)]
pub(super) struct FaultMark {
    file: File,
    // Before the file is closed.
    _watch: Option<FaultWatch>,
}

impl FaultMark {
    /// Opens the mark in `directory`, and has a fault of this process write to it.
    pub(super) fn open(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(FAULT);
        let failed = |source| StorageError::io("open", &path, source);
        let is_new = !path.exists();
        let file = File::options().append(true).create(true).open(&path).map_err(failed)?;
        if is_new {
            durable_file::sync_parent(&path)?;
        }
        let watch = watch_faults(file.as_raw_fd());
        Ok(Self { file, _watch: watch })
    }

    /// Whether a process that used the directory died by a fault, and nobody looked since.
    pub(super) fn is_set(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// All was read through, and nothing is wrong.
    pub(super) fn clear(&self, directory: &Path) -> Result<(), StorageError> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.sync_all());
        cleared.map_err(|source| StorageError::io("write", &directory.join(FAULT), source))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    const DIRECTORY: &str = "CHAINFIRE_TEST_FAULT";

    #[test]
    #[ignore = "the test below runs it, in a process that dies"]
    fn a_process_that_dies() {
        let directory = std::env::var_os(DIRECTORY).expect("the test names it");
        let _mark = FaultMark::open(Path::new(&directory)).expect("a mark");
        std::process::abort();
    }

    #[test]
    fn a_death_by_a_fault_is_remembered_until_it_is_looked_into() {
        let directory = tempfile::tempdir().expect("a directory");
        let mark = FaultMark::open(directory.path()).expect("a mark");
        assert!(!mark.is_set());
        drop(mark);
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["storage::fault_mark::tests::a_process_that_dies", "--exact", "--ignored"])
            .env(DIRECTORY, directory.path())
            .output()
            .expect("a child");
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "it dies as it would without us");
        let mark = FaultMark::open(directory.path()).expect("a mark");
        assert!(mark.is_set());
        mark.clear(directory.path()).expect("cleared");
        assert!(!FaultMark::open(directory.path()).expect("a mark").is_set());
    }
}
