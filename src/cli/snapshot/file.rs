//! `snapshot status`, and what is said of a snapshot file.

use std::path::Path;

use serde::Serialize;

use crate::cli::arguments::Global;
use crate::cli::failure::CommandError;
use crate::cli::terminal::{Progress, Terminal};
use crate::storage::SnapshotFile;

/// Reads the whole file, and says what it is.
pub(super) fn status(
    global: &Global,
    path: &Path,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let file = verified(path)?;
    tell(global, &file, terminal)
}

/// Opens the file and reads every byte of it.
pub(super) fn verified(path: &Path) -> Result<SnapshotFile, CommandError> {
    let file = SnapshotFile::open(path)?;
    let mut progress = Progress::start("bytes verified", Some(file.size_bytes()));
    file.verify(|bytes| progress.set(bytes))?;
    progress.finish();
    Ok(file)
}

/// Writes what a verified file is.
pub(super) fn tell(
    global: &Global,
    file: &SnapshotFile,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let shown = SnapshotJson::of(file);
    if global.json() {
        terminal.json(&shown)?;
    } else {
        let log = match (shown.last_log_term, shown.last_log_index) {
            (Some(term), Some(index)) => format!("{index} (term {term})"),
            _ => "none".to_owned(),
        };
        terminal.line(format!("cluster     {}", shown.cluster_id))?;
        terminal.line(format!("revision    {}", shown.revision))?;
        terminal.line(format!("compacted   {}", shown.compact_revision))?;
        terminal.line(format!("last entry  {log}"))?;
        terminal.line(format!("keys        {}", shown.keys))?;
        terminal.line(format!("bytes       {}", shown.size_bytes))?;
        terminal.line(format!("sha256      {} (ok)", shown.digest))?;
    }
    Ok(terminal.flush()?)
}

/// A verified snapshot file, as JSON.
#[derive(Debug, Serialize)]
struct SnapshotJson {
    path: String,
    cluster_id: String,
    revision: u64,
    compact_revision: u64,
    last_log_term: Option<u64>,
    last_log_index: Option<u64>,
    keys: u64,
    size_bytes: u64,
    digest: String,
    digest_ok: bool,
}

impl SnapshotJson {
    /// Of a file that was read to its end.
    fn of(file: &SnapshotFile) -> Self {
        let header = file.header();
        Self {
            path: file.path().display().to_string(),
            cluster_id: header.cluster_id.to_string(),
            revision: header.revision,
            compact_revision: header.compact_revision,
            last_log_term: header.last_log_id.map(|log_id| log_id.term),
            last_log_index: header.last_log_id.map(|log_id| log_id.index),
            keys: header.key_count(),
            size_bytes: file.size_bytes(),
            digest: hex(&file.digest()),
            digest_ok: true,
        }
    }
}

/// A digest as text.
pub(super) fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
