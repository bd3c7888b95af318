//! Where a bit can be flipped: the bytes in use of a prepared directory's files.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::database;
use crate::nemesis::{FileKind, files};
use crate::random::Rng;

const BLOCK_BYTES: usize = 4096;

/// One bit.
#[derive(Clone, Debug)]
pub struct Place {
    pub kind: FileKind,
    /// Below the data directory.
    pub file: PathBuf,
    pub offset: u64,
    pub bit: u8,
}

/// The bytes in use of one file.
struct Used {
    file: PathBuf,
    ranges: Vec<Range<usize>>,
}

/// A bit of a byte in use of a kind, or none when there is no such byte. Of the journal only what
/// was written since `journals` were read is in use: nothing else holds it yet.
pub fn choose(
    dir: &Path,
    kind: FileKind,
    journals: &[Vec<u8>],
    rng: &mut Rng,
) -> Result<Option<Place>, String> {
    let (byte, bit) = (rng.next(), rng.below(8) as u8);
    let mut all = vec![];
    for (i, path) in files(dir, kind).into_iter().enumerate() {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let ranges = match kind {
            FileKind::State | FileKind::Log => database::used(&bytes)?,
            FileKind::Journal => changed(&bytes, journals.get(i).map_or(&[], Vec::as_slice)),
            FileKind::Snapshot | FileKind::Marker => std::iter::once(0..bytes.len()).collect(),
        };
        let file = path.strip_prefix(dir).expect("below it").to_owned();
        all.push(Used { file, ranges });
    }
    let total: usize = all.iter().flat_map(|used| &used.ranges).map(ExactSizeIterator::len).sum();
    let mut left = (byte % total.max(1) as u64) as usize;
    for used in all {
        for range in used.ranges {
            if left < range.len() {
                let offset = (range.start + left) as u64;
                return Ok(Some(Place { kind, file: used.file, offset, bit }));
            }
            left -= range.len();
        }
    }
    Ok(None)
}

/// The blocks that changed, each up to its last byte that is not zero.
fn changed(bytes: &[u8], before: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = vec![];
    for (i, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let start = i * BLOCK_BYTES;
        if before.get(start..start + block.len()) == Some(block) {
            continue;
        }
        let used = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        ranges.push(start..start + used);
    }
    ranges
}
