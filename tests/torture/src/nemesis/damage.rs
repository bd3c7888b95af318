//! Damage of what lies on a node's disk: bits that rot, records and segments zeroed or cut, files
//! cut short. The node may refuse by name or heal itself; no client may notice.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::operator::start_damaged;
use crate::cluster::{Cluster, End};
use crate::random::Rng;

pub const BLOCK_BYTES: u64 = 4096;
/// A block of the journal begins so, after its checksum; the number of its record follows a salt
/// (docs/formats.md).
const JOURNAL_MAGIC: &[u8] = b"CFJ2";

/// What a file of a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    State,
    Log,
    Journal,
    Snapshot,
    /// `FORMAT`, `IDENTITY`, `CURRENT`.
    Marker,
}

impl FileKind {
    const ALL: [Self; 5] = [Self::State, Self::Log, Self::Journal, Self::Snapshot, Self::Marker];
}

/// The files of a kind in a data directory, by name.
pub fn files(dir: &Path, kind: FileKind) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort_unstable();
        paths
    };
    let file_name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let found: Vec<PathBuf> = match kind {
        FileKind::State => {
            list(&dir.join("state")).iter().map(|epoch| epoch.join("data.mdb")).collect()
        }
        FileKind::Log => vec![dir.join("log/data.mdb")],
        FileKind::Journal => list(&dir.join("log"))
            .into_iter()
            .filter(|path| file_name(path).is_some_and(|name| name.starts_with("journal")))
            .collect(),
        FileKind::Snapshot => list(&dir.join("snapshots")),
        FileKind::Marker => {
            vec![dir.join("FORMAT"), dir.join("IDENTITY"), dir.join("state/CURRENT")]
        }
    };
    found.into_iter().filter(|path| path.is_file()).collect()
}

/// Flips one bit of a byte.
pub fn flip_bit(path: &Path, offset: u64, bit: u8) -> io::Result<()> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ (1 << bit)], offset)
}

/// The blocks of a file that are not all zeros.
fn used_blocks(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).unwrap_or_default();
    let blocks = bytes.chunks(BLOCK_BYTES as usize).enumerate();
    blocks.filter(|(_, b)| b.iter().any(|byte| *byte != 0)).map(|(i, _)| i as u64).collect()
}

/// The blocks of the journal that hold records, those written last first.
pub fn newest_blocks(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found: Vec<(u64, PathBuf, u64)> = vec![];
    for path in files(dir, FileKind::Journal) {
        let bytes = fs::read(&path).unwrap_or_default();
        for (block, bytes) in (0..).zip(bytes.chunks(BLOCK_BYTES as usize)) {
            let number = bytes
                .get(16..24)
                .map_or(0, |word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
            if number > 0 && bytes.get(4..8) == Some(JOURNAL_MAGIC) {
                found.push((number, path.clone(), block));
            }
        }
    }
    found.sort_by_key(|(number, _, block)| std::cmp::Reverse((*number, *block)));
    found.into_iter().map(|(_, path, block)| (path, block)).collect()
}

/// Bits flipped in one file of any kind, of a stopped node or under a running one, which is started
/// again some time later.
pub async fn flip(c: &mut Cluster, rng: &mut Rng, running: bool) {
    c.rest_between(rng, 500, 2_000).await;
    let slot = rng.index(c.founders);
    let kind = *rng.one_of(&FileKind::ALL);
    let stopped = rng.chance(50);
    let count = *rng.one_of(&[1, 1, 1, 4, 32]);
    if !running {
        if stopped {
            c.stop(slot).await;
        } else {
            c.kill(slot);
        }
    }
    let paths = files(&c.slots[slot].dir, kind);
    if paths.is_empty() {
        c.say(format!("slot {slot} has no {kind:?}"));
        return c.start_if_dead(slot);
    }
    let path = rng.one_of(&paths).clone();
    let blocks = used_blocks(&path);
    let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    c.fault(format!("{count} bits flip in {} of {slot}, running {running}", path.display()));
    c.slots[slot].damaged = Some(format!("flips in {kind:?}"));
    c.slots[slot].refusals = 0;
    for _ in 0..count {
        // As many choices whatever is there.
        let (block, within, bit) = (rng.next(), rng.below(BLOCK_BYTES), rng.below(8) as u8);
        let Some(block) = blocks.get((block % blocks.len().max(1) as u64) as usize) else { break };
        let offset = (block * BLOCK_BYTES + within).min(length.saturating_sub(1));
        if let Err(error) = flip_bit(&path, offset, bit) {
            c.say(format!("{}: {error}", path.display()));
        }
    }
    if running {
        c.rest_between(rng, 1_000, 4_000).await;
        c.kill(slot);
        c.rest_between(rng, 0, 500).await;
    }
    start_damaged(c, rng, slot).await;
}

/// Records zeroed, a segment zeroed, or cut to half or to nothing, after a kill.
pub async fn journal(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_500).await;
    let slot = rng.index(c.founders);
    c.kill(slot);
    let how = *rng.one_of(&["a block zeroed", "five blocks zeroed", "zeroed", "half", "nothing"]);
    let (which, place) = (rng.next(), rng.below(12));
    c.fault(format!("journal of {slot}: {how}"));
    c.slots[slot].damaged = Some(format!("journal: {how}"));
    if let Err(error) = damage_journal(&c.slots[slot].dir, how, which, place) {
        c.surprise(error.to_string());
    }
    start_damaged(c, rng, slot).await;
}

fn damage_journal(dir: &Path, how: &str, which: u64, place: u64) -> io::Result<()> {
    let write = |path: &Path| fs::File::options().write(true).open(path);
    if let "a block zeroed" | "five blocks zeroed" = how {
        // What was written last is nowhere else yet.
        let count = if how == "a block zeroed" { 1 } else { 5 };
        for (path, block) in newest_blocks(dir).into_iter().skip(place as usize).take(count) {
            write(&path)?.write_all_at(&[0; BLOCK_BYTES as usize], block * BLOCK_BYTES)?;
        }
        return Ok(());
    }
    let paths = files(dir, FileKind::Journal);
    let Some(path) = paths.get((which % paths.len().max(1) as u64) as usize) else {
        return Ok(());
    };
    let file = write(path)?;
    let length = file.metadata()?.len();
    match how {
        "zeroed" => file.write_all_at(&vec![0; length as usize], 0),
        "half" => file.set_len(length / 2),
        _ => file.set_len(0),
    }
}

/// A database or a snapshot that is shorter than it says.
pub async fn short_file(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_500).await;
    let slot = rng.index(c.founders);
    let kind = *rng.one_of(&[FileKind::State, FileKind::Log, FileKind::Snapshot]);
    let end = c.stop(slot).await;
    if end != End::Code(0) {
        c.surprise(format!("slot {slot} ended with {end:?}"));
    }
    let paths = files(&c.slots[slot].dir, kind);
    let part = rng.between(0, 99);
    let Some(path) = paths.last() else { return c.start_if_dead(slot) };
    c.fault(format!("{} of {slot} cut to {part} %", path.display()));
    c.slots[slot].damaged = Some(format!("{kind:?} cut short"));
    let cut = fs::File::options().write(true).open(path).and_then(|file| {
        let length = file.metadata()?.len();
        file.set_len(length * part / 100)
    });
    if let Err(error) = cut {
        c.surprise(format!("{}: {error}", path.display()));
    }
    start_damaged(c, rng, slot).await;
}
