//! `snapshot save`: pulls a snapshot from a member, piece by piece, and verifies all of it.
//!
//! Pieces are collected beside the file, in `FILE.DIGEST.part`: a save that was cut goes on where
//! it was when it is started again and the node still has that snapshot. The file appears when it
//! is complete, verified and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{hex, tell, verified};
use crate::cli::arguments::Global;
use crate::cli::failure::CommandError;
use crate::cli::terminal::{Progress, Terminal};
use crate::client::Client;
use crate::node::save_from_data_dir;
use crate::rpc::api::{SnapshotInfo, SnapshotOpenRequest, SnapshotOpened, SnapshotReadRequest};

const SUFFIX: &str = ".part";
/// The pause before asking again for a snapshot that is being written.
const WRITING_PAUSE: Duration = Duration::from_millis(100);
/// Tries in a row at one piece that arrives damaged.
const DAMAGED_MAX: u32 = 3;

pub(super) async fn run(
    global: &Global,
    path: &Path,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let client = global.client_for_one()?.connect().await?;
    let begun = begun(path)?;
    let info = open(&client, begun.as_ref().map(|(digest, _)| *digest)).await?;
    let part = part_of(path, &info.digest);
    if let Some((_, other)) = begun.filter(|(digest, _)| *digest != info.digest) {
        remove(&other)?;
    }
    receive(&client, &info, &part).await?;
    let file = verified(&part).inspect_err(|_| {
        // Of no use; one that stays is begun anew, for it is complete and wrong.
        let _ = fs::remove_file(&part);
    })?;
    if file.digest() != info.digest {
        remove(&part)?;
        return Err(CommandError::Snapshot(
            "it is not the one the node announced; save again".into(),
        ));
    }
    place(&part, path)?;
    tell(global, &crate::storage::SnapshotFile::open(path)?, terminal)
}

/// Saves what a stopped node holds.
pub(super) async fn from_data_dir(
    global: &Global,
    data_dir: &Path,
    path: &Path,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let saved = save_from_data_dir(data_dir, path).await?;
    terminal.warn(&format!(
        "this is what one node held, {} entries of its log beyond its state with it: what only the \
         others had is not in it. Make a new cluster of it (snapshot restore --new-cluster), and \
         start no member of the old one again",
        saved.replayed
    ));
    if saved.lost_entries {
        terminal.warn(
            "the log of this node is damaged, and entries that it had acknowledged are not in the \
             file; take another survivor if there is one",
        );
    }
    tell(global, &saved.file, terminal)
}

/// Waits until there is a snapshot to read.
async fn open(client: &Client, resume: Option<[u8; 32]>) -> Result<SnapshotInfo, CommandError> {
    let mut request = SnapshotOpenRequest { resume, least_index: None };
    let mut progress = Progress::start("snapshots written by the node", Some(1));
    loop {
        match client.snapshot_open(request).await? {
            SnapshotOpened::Ready(info) => {
                progress.set(1);
                progress.finish();
                return Ok(info);
            }
            SnapshotOpened::Writing { least_index } => {
                request = SnapshotOpenRequest { resume: None, least_index: Some(least_index) };
                progress.set(0);
                tokio::time::sleep(WRITING_PAUSE).await;
            }
        }
    }
}

/// Receives what `part` lacks.
async fn receive(client: &Client, info: &SnapshotInfo, part: &Path) -> Result<(), CommandError> {
    let failed = |source| CommandError::File { path: part.to_owned(), source };
    let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(failed)?;
    let mut offset_bytes = file.metadata().map_err(failed)?.len();
    if offset_bytes > info.size_bytes {
        file.set_len(0).map_err(failed)?;
        offset_bytes = 0;
    }
    let mut progress = Progress::start("bytes received", Some(info.size_bytes));
    let mut damaged = 0;
    while offset_bytes < info.size_bytes {
        let request = SnapshotReadRequest { digest: info.digest, offset_bytes };
        let piece = client.snapshot_read(request).await?;
        let fits = offset_bytes.saturating_add(piece.bytes.len() as u64) <= info.size_bytes;
        if piece.bytes.is_empty() || !fits || crc32fast::hash(&piece.bytes) != piece.checksum {
            damaged += 1;
            if damaged == DAMAGED_MAX {
                let reason =
                    format!("the piece at byte {offset_bytes} arrives damaged; save again");
                return Err(CommandError::Snapshot(reason));
            }
            continue;
        }
        damaged = 0;
        file.write_all(&piece.bytes).map_err(failed)?;
        offset_bytes += piece.bytes.len() as u64;
        progress.set(offset_bytes);
    }
    progress.finish();
    file.sync_all().map_err(failed)
}

/// Gives the complete file its name.
fn place(part: &Path, path: &Path) -> Result<(), CommandError> {
    let failed = |source| CommandError::File { path: path.to_owned(), source };
    fs::rename(part, path).map_err(failed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn remove(path: &Path) -> Result<(), CommandError> {
    fs::remove_file(path).map_err(|source| CommandError::File { path: path.to_owned(), source })
}

fn part_of(path: &Path, digest: &[u8; 32]) -> PathBuf {
    let mut name = path.file_name().map(std::ffi::OsString::from).unwrap_or_default();
    name.push(format!(".{}{SUFFIX}", hex(digest)));
    path.with_file_name(name)
}

/// A save to `path` that was cut: its digest and its file.
fn begun(path: &Path) -> Result<Option<([u8; 32], PathBuf)>, CommandError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let failed = |source| CommandError::File { path: parent.to_owned(), source };
    let Some(stem) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(CommandError::Usage("the file needs a name".to_owned()));
    };
    for entry in fs::read_dir(parent).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| {
            let hex = name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(SUFFIX)?;
            parse(hex)
        });
        if let Some(digest) = digest {
            return Ok(Some((digest, entry.path())));
        }
    }
    Ok(None)
}

fn parse(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[place..place + 2], 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_that_was_cut_is_found_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.snap");
        assert!(begun(&path).unwrap().is_none());
        let part = part_of(&path, &[0xab; 32]);
        fs::write(&part, b"some").unwrap();
        fs::write(directory.path().join("backup.snap.0g.part"), b"other").unwrap();
        assert_eq!(begun(&path).unwrap(), Some(([0xab; 32], part)));
        assert!(begun(&directory.path().join("other.snap")).unwrap().is_none());
    }
}
