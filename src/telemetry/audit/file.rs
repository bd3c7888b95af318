//! The file that audit lines are appended to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Only its owner can read who did what.
const MODE: u32 = 0o600;

/// A file of bounded size, which is made anew when it was moved away.
pub(super) struct AuditFile {
    path: PathBuf,
    bytes_max: u64,
    file: File,
}

impl AuditFile {
    /// Opens or makes the file. Above `bytes_max` it takes the place of the one before; 0 = never.
    pub(super) fn open(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, bytes_max, file })
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let there = fs::metadata(&self.path);
        let is_in_place =
            there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if !is_in_place {
            self.file = open(&self.path)?;
        } else if self.is_full(ours.len(), lines) {
            fs::rename(&self.path, before(&self.path))?;
            self.file = open(&self.path)?;
        }
        self.file.write_all(lines)
    }

    fn is_full(&self, bytes: u64, lines: &[u8]) -> bool {
        self.bytes_max > 0 && bytes > 0 && bytes + lines.len() as u64 > self.bytes_max
    }
}

/// Where the full file goes.
fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_takes_the_place_of_the_one_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let mut file = AuditFile::open(path.clone(), 10).expect("made");
        for lines in [b"one\n", b"two\n", b"six\n", b"ten\n", b"end\n"] {
            file.append(lines).expect("appended");
        }
        assert_eq!(fs::read(&path).expect("there"), b"end\n");
        assert_eq!(fs::read(before(&path)).expect("there"), b"six\nten\n");
        // Longer than the limit by themselves they are written all the same.
        file.append(&[b'x'; 32]).expect("appended");
        assert_eq!(fs::read(&path).expect("there"), [b'x'; 32]);
    }
}
