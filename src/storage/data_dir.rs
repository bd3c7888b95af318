//! The directory a node keeps everything in: one process, one format, one identity.
//!
//! `FORMAT` is written last when a directory is created, so its presence says that everything
//! else is there: a crash before it leaves a directory that is simply created again (nobody has
//! seen its identity), and a directory that has it but lacks another part was damaged and is
//! refused. A directory with files of somebody else in it is refused too.
//!
//! `LOCK` is held from the open to the drop of the last clone; the stores keep a clone, so the
//! lock outlives every open environment. The kernel releases it when the process dies, however it
//! dies. The file itself stays.
//!
//! `FORMAT` is one line of text, so that a release of any age can read any other's:
//! `chainfire data format VERSION CRC32`, the checksum in hexadecimal over what stands before
//! the space in front of it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claim::{self, CLAIM, StartedClaim};
use super::detached::{NO_NODE, adopt};
use super::fault_mark::{FAULT, FaultMark};
use super::identity::Identity;
use super::joining::JOINING;
use super::repair::{DISTRUSTED, PEERS};
use super::stopped::{self, STOPPED};
use super::{StorageError, durable_file};
use crate::auth::cluster_key::CLUSTER_KEY_FILE;
use crate::auth::credentials::ROOT_CREDENTIALS_FILE;
use crate::types::Claim;

/// The newest layout of a data directory this release reads, and the one it writes.
pub const DATA_FORMAT_VERSION: u32 = 1;

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
const IDENTITY: &str = "IDENTITY";
/// What is made with the directory and must be there ever after.
const SUBDIRECTORIES: [&str; 4] = ["log", "state", "snapshots", "incoming"];
/// Everything a node makes in its directory; `FORMAT` goes first, so that what is half removed is
/// no data directory.
const CONTENTS: [&str; 14] = [
    FORMAT,
    IDENTITY,
    CLAIM,
    STOPPED,
    "log",
    "state",
    DISTRUSTED,
    PEERS,
    "snapshots",
    "incoming",
    AUDIT,
    AUDIT_BEFORE,
    FAULT,
    LOCK,
];
/// The audit log, and the one before it.
const AUDIT: &str = "audit.log";
const AUDIT_BEFORE: &str = "audit.log.1";
/// Key files of a node that has them in its data directory; they are there before it is one.
const KEY_FILES: [&str; 2] = [CLUSTER_KEY_FILE, ROOT_CREDENTIALS_FILE];
/// The mode of a directory that a node makes.
const OWNER_ONLY: u32 = 0o700;
/// What a mounted, empty file system may hold.
const TOLERATED: &str = "lost+found";
const FORMAT_PREFIX: &str = "chainfire data format ";

/// An open and locked data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DataDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    identity: Identity,
    faults: FaultMark,
    _lock: File,
}

impl DataDir {
    /// Opens the data directory at `path`, creating it with the identity `new` draws when there
    /// is none. Answers the directory and whether it was created now.
    ///
    /// # Errors
    /// In use by another process; not a directory, not ours, not writable; a part missing or
    /// corrupt; written by a newer release.
    pub fn create_or_open(
        path: &Path,
        new: impl FnOnce() -> Identity,
    ) -> Result<(Self, bool), StorageError> {
        create_directories(path)?;
        // The path in messages and in LMDB's table of open environments must not depend on the
        // working directory.
        let path =
            fs::canonicalize(path).map_err(|source| StorageError::io("find", path, source))?;
        refuse_what_is_not_ours(&path)?;
        let lock = lock(&path)?;
        let fresh = !has_format(&path)?;
        let identity = if fresh { create(&path, new())? } else { open(&path)? };
        let faults = FaultMark::open(&path)?;
        let inner = Inner { path, identity, faults, _lock: lock };
        Ok((Self { inner: Arc::new(inner) }, fresh))
    }

    /// [`create_or_open`](Self::create_or_open) for a node that was given `identity` by its
    /// cluster: a detached directory of that cluster becomes its own.
    pub fn create_open_or_adopt(
        path: &Path,
        identity: Identity,
        map_bytes: u64,
    ) -> Result<(Self, bool), StorageError> {
        let (directory, fresh) = Self::create_or_open(path, || identity.clone())?;
        let found = directory.identity();
        if found.node_id != NO_NODE || found.cluster_id != identity.cluster_id {
            return Ok((directory, fresh));
        }
        adopt(&directory, &identity, map_bytes)?;
        drop(directory);
        Self::create_or_open(path, || identity)
    }

    /// Creates the data directory at `path` with this identity, and has `fill` put something into
    /// its subdirectories before it counts as one: after a crash in between it is refused.
    ///
    /// # Errors
    /// There is anything at `path` but an empty directory; or `fill`'s.
    pub fn create_filled<T>(
        path: &Path,
        identity: Identity,
        fill: impl FnOnce(&Path) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        create_directories(path)?;
        let failed = |source| StorageError::io("list data directory", path, source);
        for entry in fs::read_dir(path).map_err(failed)? {
            let found = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if found != TOLERATED {
                return Err(StorageError::NotEmpty { path: path.to_owned(), found });
            }
        }
        let _lock = lock(path)?;
        create_parts(path)?;
        let filled = fill(path)?;
        finish(path, &identity)?;
        Ok(filled)
    }

    /// Opens a data directory that is there.
    ///
    /// # Errors
    /// As for [`create_or_open`](Self::create_or_open), and when there is none.
    pub fn open_existing(path: &Path) -> Result<Self, StorageError> {
        let canonical =
            fs::canonicalize(path).map_err(|source| StorageError::io("find", path, source))?;
        refuse_what_is_not_ours(&canonical)?;
        if !canonical.join(FORMAT).exists() {
            return Err(StorageError::Missing { path: canonical.join(FORMAT) });
        }
        let lock = lock(&canonical)?;
        has_format(&canonical)?;
        let identity = open(&canonical)?;
        let faults = FaultMark::open(&canonical)?;
        let inner = Inner { path: canonical, identity, faults, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether somebody, this process included, has the directory open.
    pub(crate) fn is_in_use(path: &Path) -> bool {
        matches!(lock(path), Err(StorageError::DirectoryInUse { .. }))
    }

    /// Replaces the identity on the disk. This value still has the one before.
    pub(super) fn set_identity(&self, identity: &Identity) -> Result<(), StorageError> {
        identity.write(&self.inner.path.join(IDENTITY))
    }

    /// Says that the node has stopped in order; its stores are closed. Blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark_stopped(&self) -> Result<(), StorageError> {
        stopped::mark(&self.inner.path)
    }

    /// Whether a process that used the directory died by a fault, and what it left was not verified
    /// since.
    pub(super) fn is_suspect(&self) -> bool {
        self.inner.faults.is_set()
    }

    /// Everything was verified.
    pub(super) fn clear_suspicion(&self) -> Result<(), StorageError> {
        self.inner.faults.clear(&self.inner.path)
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Claims the node's identity for this start: `known` is what the state in this directory says
    /// was taken last, `nonce` drawn at random. On the disk when this returns. Blocks.
    ///
    /// # Errors
    /// The file is damaged or gone, or behind the state: it was put back.
    pub fn claim(&self, known: Option<Claim>, nonce: u64) -> Result<StartedClaim, StorageError> {
        claim::claim(&self.inner.path, known, nonce)
    }

    /// Notes that this start's claim was taken. On the disk when this returns. Blocks.
    pub fn claim_taken(&self, claim: Claim) -> Result<(), StorageError> {
        claim::taken(&self.inner.path, claim)
    }

    /// Forgets what was claimed: the directory becomes another node's. Blocks.
    pub(super) fn forget_claims(&self) -> Result<(), StorageError> {
        claim::forget(&self.inner.path)
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Where the log's environment lies.
    pub fn log_path(&self) -> PathBuf {
        self.inner.path.join("log")
    }

    /// Where the state's environments lie.
    pub fn state_path(&self) -> PathBuf {
        self.inner.path.join("state")
    }

    /// Where finished snapshot files lie.
    pub fn snapshots_path(&self) -> PathBuf {
        self.inner.path.join("snapshots")
    }

    /// Where the audit log lies, unless it is kept elsewhere.
    pub fn audit_path(&self) -> PathBuf {
        self.inner.path.join(AUDIT)
    }

    /// Where snapshot files lie while they arrive.
    pub fn incoming_path(&self) -> PathBuf {
        self.inner.path.join("incoming")
    }
}

/// Makes the directory at `path` and those above it. What lies there is its owner's alone: values
/// are in it, and who did what.
pub fn create_directories(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    match fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path) {
        Ok(()) => durable_file::sync_parent(path),
        Err(_) if path.exists() => Err(StorageError::NotADirectory { path: path.to_owned() }),
        Err(source) => Err(StorageError::io("create data directory", path, source)),
    }
}

/// Removes everything a node has made at `path`, but not its keys nor the record of its join.
/// Blocks. Called again it goes on.
pub(super) fn remove_contents(path: &Path) -> Result<(), StorageError> {
    for name in CONTENTS {
        let path = path.join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path)
                .map_err(|source| StorageError::io("remove", &path, source))?;
        } else {
            remove_file(&path)?;
        }
    }
    durable_file::sync_directory(path)
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", path, source))
        }
        _ => Ok(()),
    }
}

/// Whether `path` is a data directory that was made whole.
pub fn is_made(path: &Path) -> bool {
    path.join(FORMAT).exists()
}

/// Before anything is written: a directory without `FORMAT` must be empty, or hold no more than a
/// creation that a crash cut short leaves behind.
fn refuse_what_is_not_ours(path: &Path) -> Result<(), StorageError> {
    if path.join(FORMAT).exists() {
        return Ok(());
    }
    let failed = |source| StorageError::io("list data directory", path, source);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let whole = name.strip_suffix(durable_file::UNFINISHED_SUFFIX).unwrap_or(&name);
        let expected = [LOCK, FORMAT, IDENTITY, CLAIM, JOINING, FAULT, TOLERATED];
        if expected.contains(&whole) || KEY_FILES.contains(&whole) {
            continue;
        }
        if !SUBDIRECTORIES.contains(&whole) {
            let found = name.into_owned();
            return Err(StorageError::ForeignDirectory { path: path.to_owned(), found });
        }
        if fs::read_dir(path.join(whole)).map_err(failed)?.next().is_some() {
            return Err(StorageError::Missing { path: path.join(FORMAT) });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let lock_path = path.join(LOCK);
    let failed = |source| StorageError::io("lock", &lock_path, source);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StorageError::DirectoryInUse { path: path.to_owned() })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Everything but `FORMAT` first, `FORMAT` last.
fn create(path: &Path, identity: Identity) -> Result<Identity, StorageError> {
    create_parts(path)?;
    finish(path, &identity)?;
    Ok(identity)
}

fn create_parts(path: &Path) -> Result<(), StorageError> {
    for name in SUBDIRECTORIES {
        let directory = path.join(name);
        fs::create_dir_all(&directory)
            .map_err(|source| StorageError::io("create directory", &directory, source))?;
    }
    Ok(())
}

fn finish(path: &Path, identity: &Identity) -> Result<(), StorageError> {
    identity.write(&path.join(IDENTITY))?;
    durable_file::replace(&path.join(FORMAT), format_line(DATA_FORMAT_VERSION).as_bytes())
}

fn open(path: &Path) -> Result<Identity, StorageError> {
    for name in SUBDIRECTORIES {
        let directory = path.join(name);
        if !directory.is_dir() {
            return Err(StorageError::Missing { path: directory });
        }
    }
    Identity::read(&path.join(IDENTITY))
}

/// Whether the directory was created before. An error when by a newer release.
fn has_format(path: &Path) -> Result<bool, StorageError> {
    let path = path.join(FORMAT);
    let Some(contents) = durable_file::read(&path)? else { return Ok(false) };
    let what = "the format file";
    match parse_format_line(&contents) {
        None => {
            let reason = "it is not the line a release writes".to_owned();
            Err(StorageError::Corrupt { what, path, reason })
        }
        Some(found) if found > DATA_FORMAT_VERSION => {
            Err(StorageError::NewerFormat { what, path, found, newest: DATA_FORMAT_VERSION })
        }
        Some(_) => Ok(true),
    }
}

pub(super) fn format_line(version: u32) -> String {
    let checked = format!("{FORMAT_PREFIX}{version}");
    let checksum = crc32fast::hash(checked.as_bytes());
    format!("{checked} {checksum:08x}\n")
}

pub(super) fn parse_format_line(contents: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(contents).ok()?;
    let version = line.strip_prefix(FORMAT_PREFIX)?.split(' ').next()?.parse().ok()?;
    (version > 0 && format_line(version) == line).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::identity::tests::identity;

    fn unexpected() -> Identity {
        panic!("the directory is there already: no identity is to be drawn")
    }

    /// The message with which opening `path` is refused.
    fn refusal(path: &Path) -> String {
        DataDir::create_or_open(path, unexpected).unwrap_err().to_string()
    }

    /// A parent and the path of a data directory created in it and closed again.
    fn created() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep").join("data");
        let (directory, fresh) = DataDir::create_or_open(&path, identity).unwrap();
        assert!(fresh);
        assert_eq!(directory.identity(), &identity());
        (parent, path)
    }

    #[test]
    fn a_created_directory_opens_with_the_same_identity() {
        let (_parent, path) = created();
        let (directory, fresh) = DataDir::create_or_open(&path, unexpected).unwrap();
        assert!(!fresh);
        assert_eq!(directory.identity(), &identity());
        assert!(directory.log_path().is_dir() && directory.snapshots_path().is_dir());
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, OWNER_ONLY, "nobody else can look into it");
    }

    #[test]
    fn a_directory_in_use_is_refused_until_its_last_user_is_gone() {
        let (_parent, path) = created();
        let (first, _) = DataDir::create_or_open(&path, unexpected).unwrap();
        let second_user = first.clone();
        drop(first);
        let message = refusal(&path);
        assert!(message.contains("data is in use by another process"), "{message}");
        drop(second_user);
        DataDir::create_or_open(&path, unexpected).unwrap();
    }

    #[test]
    fn a_creation_cut_short_is_done_again() {
        let (_parent, path) = created();
        fs::remove_file(path.join(FORMAT)).unwrap();
        fs::write(path.join("FORMAT.unfinished"), "chain").unwrap();
        let other = Identity { node_id: 8, ..identity() };
        let (directory, fresh) = DataDir::create_or_open(&path, || other.clone()).unwrap();
        assert!(fresh);
        assert_eq!(directory.identity(), &other);
    }

    #[test]
    fn a_directory_that_lost_a_part_is_refused_by_the_part_s_name() {
        let (_parent, path) = created();
        fs::remove_file(path.join(IDENTITY)).unwrap();
        assert!(refusal(&path).contains("IDENTITY is missing"), "{}", refusal(&path));

        let (_parent, path) = created();
        fs::remove_dir(path.join("log")).unwrap();
        assert!(refusal(&path).contains("data/log is missing"), "{}", refusal(&path));

        let (_parent, path) = created();
        fs::write(path.join("log").join("data.mdb"), "x").unwrap();
        fs::remove_file(path.join(FORMAT)).unwrap();
        assert!(refusal(&path).contains("FORMAT is missing"), "{}", refusal(&path));
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.tex"), "x").unwrap();
        let message = refusal(directory.path());
        assert!(message.contains("not empty (thesis.tex)"), "{message}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "x").unwrap();
        let message = refusal(&file);
        assert!(message.contains("file is not a directory"), "{message}");
        let message = refusal(&file.join("below"));
        assert!(message.starts_with("cannot create data directory /"), "{message}");
        let message = refusal(Path::new("/proc/chainfire"));
        assert!(message.starts_with("cannot create data directory /proc/chainfire"), "{message}");
    }

    #[test]
    fn a_newer_format_names_both_versions() {
        let (_parent, path) = created();
        fs::write(path.join(FORMAT), format_line(2)).unwrap();
        let message = refusal(&path);
        assert!(message.contains("FORMAT has format 2, this release reads up to 1"), "{message}");
    }

    #[test]
    fn every_flipped_bit_of_the_format_file_is_corruption() {
        let (_parent, path) = created();
        let whole = fs::read(path.join(FORMAT)).unwrap();
        assert_eq!(whole, b"chainfire data format 1 e425f5aa\n");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_format_line(&flipped), None, "bit {bit}");
        }
        fs::write(path.join(FORMAT), "").unwrap();
        assert!(refusal(&path).contains("FORMAT is corrupt"), "{}", refusal(&path));
    }
}
