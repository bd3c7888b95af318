//! Opening LMDB: the one file with `unsafe` in it. So it also has the handlers of the signals that a
//! damaged file of LMDB's can end a process by ([`fault_mark`](super::fault_mark)).
//!
//! LMDB maps its file into memory, and a map whose file changes behind its back is undefined
//! behaviour; that is why opening is `unsafe`. What makes it sound here:
//!
//! - Only environments inside a [`DataDir`](super::DataDir) are opened, and the data directory's
//!   lock is held by this process while they are: nobody else writes to the files.
//! - heed refuses a second open of the same environment in one process.
//! - LMDB's own lock file stays on (`NO_LOCK` cannot be asked for), and the map is not writable
//!   (`WRITE_MAP` cannot be asked for), so a stray write faults and does not corrupt.
//! - `NO_SYNC` can be asked for only as [`Durability::OnDemand`], whose user throws the whole
//!   environment away after a crash.
//!
//! Read transactions are opened without thread-local storage, so one may move between threads.
//! A write transaction must end on the thread that began it: both environments are written by
//! one OS thread each.

#![expect(
    unsafe_code,
    reason = "LMDB maps a file; room is reserved and faults are marked by system calls"
)]

use std::fs;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use heed::{EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};

use super::error::is_disk_full;
use super::pages::{PageFile, check_length};
use super::{StorageError, durable_file};

/// Map sizes are rounded up to this: a multiple of every page size in use.
const MAP_GRANULARITY_BYTES: u64 = 64 * 1024;

/// "Input/output error", on every Unix.
const EIO: i32 = 5;

/// What the file is kept longer than what is in use of it: a hole, which takes no room. A damaged
/// length or offset in a page then leads to zeros and not past the end of the file, which would end
/// the process by a signal. Longer than every value, and than what any offset in a page reaches.
const HOLE_BYTES: u64 = 20 << 20;
/// The hole is made that long again when less than this is left of it.
const HOLE_BYTES_MIN: u64 = 17 << 20;
const _: () = assert!(HOLE_BYTES_MIN > super::snapshot::format::VALUE_BYTES_MAX as u64 + (1 << 19));

/// LMDB's name for the database file.
pub(crate) const DATA_NAME: &str = "data.mdb";

/// The file written to see whether there is room, and how much of it.
const PROBE_NAME: &str = "room.probe";
const PROBE_BYTES: usize = 64 * 1024;

/// When commits reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A commit returns when it is on the disk.
    EveryCommit,
    /// Only [`Environment::sync`] puts commits on the disk. A crash before it may leave an
    /// environment that cannot be read: only for what is rebuilt from nothing after a crash.
    OnDemand,
}

/// How to open an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvironmentOptions {
    /// The size the environment can grow to, in bytes of address space; the file on the disk
    /// grows with what is in it. Rounded up to [`MAP_GRANULARITY_BYTES`].
    pub(crate) map_bytes: u64,
    /// Read transactions open at the same time, at most.
    pub(crate) readers_max: u32,
    /// Named databases, at most.
    pub(crate) databases_max: u32,
    /// When commits reach the disk.
    pub(crate) durability: Durability,
    /// Whether the system should read neighbouring pages ahead: good for scans, bad for random
    /// reads of a database larger than memory.
    pub(crate) read_ahead: bool,
}

/// An open LMDB environment that knows its place and size, for its errors. Cheap to clone; closed
/// when the last clone and the last transaction are gone.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    env: heed::Env<WithoutTls>,
    path: PathBuf,
    map_bytes: u64,
    page_bytes: u64,
    /// The length of the file, the hole at its end included.
    length: Arc<AtomicU64>,
}

impl Environment {
    /// Opens the environment in `directory`, creating both when they are not there. The caller
    /// holds the lock of the data directory around it.
    pub(crate) fn open(
        directory: &Path,
        options: &EnvironmentOptions,
    ) -> Result<Self, StorageError> {
        fs::create_dir_all(directory)
            .map_err(|source| StorageError::io("create directory", directory, source))?;
        durable_file::sync_parent(directory)?;
        let map_bytes = options.map_bytes.next_multiple_of(MAP_GRANULARITY_BYTES);
        let failed = |source| StorageError::database("open", directory, map_bytes, source);
        let map_size = usize::try_from(map_bytes)
            .map_err(|_| failed(heed::Error::Io(io::ErrorKind::InvalidInput.into())))?;

        let mut flags = EnvFlags::empty();
        flags.set(EnvFlags::NO_SYNC, options.durability == Durability::OnDemand);
        flags.set(EnvFlags::NO_READ_AHEAD, !options.read_ahead);
        let mut open_options = EnvOpenOptions::new().read_txn_without_tls();
        open_options
            .map_size(map_size)
            .max_readers(options.readers_max)
            .max_dbs(options.databases_max);
        check_length(&directory.join(DATA_NAME))?;
        // SAFETY: the module's head says why these flags and this file are sound.
        let env = unsafe { open_options.flags(flags).open(directory) }.map_err(failed)?;
        durable_file::sync_directory(directory)?;
        env.clear_stale_readers().map_err(failed)?;
        let page_bytes = PageFile::open(&directory.join(DATA_NAME))?;
        let page_bytes = page_bytes.map_or(0, |file| file.page_bytes as u64);
        let (path, length) = (directory.to_owned(), Arc::default());
        let environment = Self { env, path, map_bytes, page_bytes, length };
        environment.keep_a_hole();
        Ok(environment)
    }

    /// Whether there is an environment in `directory`, or the beginning of one.
    pub(crate) fn exists(directory: &Path) -> bool {
        fs::metadata(directory.join(DATA_NAME)).is_ok_and(|data| data.len() > 0)
    }

    /// Sees to the hole at the file's end. Where the system refuses it, there is none.
    fn keep_a_hole(&self) {
        let used = self.used_bytes();
        let with = |hole: u64| used.saturating_add(hole).min(self.map_bytes);
        if self.length.load(Ordering::Relaxed) >= with(HOLE_BYTES_MIN) {
            return;
        }
        let length = with(HOLE_BYTES);
        let extend = || {
            let file = fs::File::options().write(true).open(self.path.join(DATA_NAME))?;
            if file.metadata()?.len() < length { file.set_len(length) } else { Ok(()) }
        };
        if let Err(error) = extend() {
            tracing::debug!(path = %self.path.display(), %error, "cannot extend a database file");
        }
        self.length.store(length, Ordering::Relaxed);
    }

    /// Bytes of the file up to the last page that is in use.
    fn used_bytes(&self) -> u64 {
        (self.env.info().last_page_number as u64 + 1) * self.page_bytes
    }

    /// heed's own handle, for creating databases and reading figures.
    pub(crate) fn heed(&self) -> &heed::Env<WithoutTls> {
        &self.env
    }

    /// The environment's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The size it can grow to.
    pub(crate) fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// A moment in time, to read at. Never hold one across an `.await`, a client's pace or a
    /// network send: pages are not reused while it lives.
    pub(crate) fn read(&self) -> Result<RoTxn<'_, WithoutTls>, StorageError> {
        self.env.read_txn().map_err(|source| self.error("read", source))
    }

    /// The one write transaction. Blocks while another is open. Must be committed or dropped on
    /// this thread.
    pub(crate) fn write(&self) -> Result<RwTxn<'_>, StorageError> {
        self.keep_a_hole();
        self.env.write_txn().map_err(|source| self.error("write to", source))
    }

    /// Commits. When this fails nobody knows what is on the disk: never try again.
    pub(crate) fn commit(&self, txn: RwTxn<'_>) -> Result<(), StorageError> {
        txn.commit().map_err(|source| match source {
            heed::Error::Io(error) if error.raw_os_error() == Some(EIO) => {
                let source = self.probe_room().err().filter(is_disk_full).unwrap_or(error);
                self.error("commit to", heed::Error::Io(source))
            }
            source => self.error("commit to", source),
        })
    }

    /// Puts every commit on the disk.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.env.force_sync().map_err(|source| self.error("sync", source))
    }

    /// Has the file system set room aside for the database file to grow by `bytes`, where it can do
    /// that. The file does not grow by it.
    ///
    /// # Errors
    /// There is no such room, on the disk or in the environment.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), StorageError> {
        let path = self.path.join(DATA_NAME);
        let failed = |source| self.error("reserve room for", heed::Error::Io(source));
        let file = fs::File::options().write(true).open(path).map_err(failed)?;
        let end = self.used_bytes();
        if end.saturating_add(bytes) > self.map_bytes {
            return Err(self.error("reserve room in", heed::Error::Mdb(heed::MdbError::MapFull)));
        }
        allocate_after(&file, end, bytes).map_err(failed)
    }

    /// Bytes of the database file, without the hole at its end.
    pub(crate) fn file_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.used_bytes())
    }

    /// LMDB says EIO for a broken disk and also for a write that was cut short, as the last one
    /// on a full disk is. So ask the disk: is there room where the database file ends?
    fn probe_room(&self) -> io::Result<()> {
        let end = self.used_bytes();
        let path = self.path.join(PROBE_NAME);
        let write = || {
            let mut file = fs::File::create(&path)?;
            file.seek(io::SeekFrom::Start(end))?;
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_all()
        };
        let outcome = write();
        // One that stays is written over the next time.
        let _removed = fs::remove_file(&path);
        outcome
    }

    /// This environment's error; `action` as in [`StorageError::Database`].
    pub(crate) fn error(&self, action: &'static str, source: heed::Error) -> StorageError {
        StorageError::database(action, &self.path, self.map_bytes, source)
    }
}

/// Allocates what follows `end` in a file, without making it longer.
#[cfg(target_os = "linux")]
fn allocate_after(file: &fs::File, end: u64, bytes: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let end = libc::off_t::try_from(end).map_err(too_long)?;
    let bytes = libc::off_t::try_from(bytes).map_err(too_long)?;
    loop {
        // SAFETY: the descriptor is that of an open file, and no memory is passed. The mode neither
        // changes the file's bytes nor its length, so what LMDB maps stays as it is.
        let outcome =
            unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, end, bytes) };
        if outcome == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // The file system cannot: a full disk shows when it is full.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(()),
            _ => return Err(error),
        }
    }
}

/// A full disk shows when it is full.
#[cfg(not(target_os = "linux"))]
fn allocate_after(_file: &fs::File, _end: u64, _bytes: u64) -> io::Result<()> {
    Ok(())
}

/// The room of the disk that a path lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskRoom {
    /// Bytes in all.
    pub(crate) total_bytes: u64,
    /// Bytes that this process may still take.
    pub(crate) free_bytes: u64,
}

/// Asks for the room of the disk that `path`, which exists, lies on.
pub(crate) fn disk_room(path: &Path) -> Result<DiskRoom, StorageError> {
    use std::os::unix::ffi::OsStrExt as _;
    let failed = |source| StorageError::io("ask for the room of", path, source);
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the name ends with a zero byte and the structure has room for the answer, of which all
    // is written when the call returns 0.
    let found = unsafe {
        if libc::statvfs(name.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        found.assume_init()
    };
    let block_bytes = found.f_frsize;
    Ok(DiskRoom {
        total_bytes: found.f_blocks.saturating_mul(block_bytes),
        free_bytes: found.f_bavail.saturating_mul(block_bytes),
    })
}

/// Files that are written to by a fault, at most: one for each data directory that is open.
const FAULT_FILES_MAX: usize = 64;
/// Signals by which a process dies that read where nothing is, or found LMDB at odds with itself.
const FAULTS: [libc::c_int; 3] = [libc::SIGBUS, libc::SIGSEGV, libc::SIGABRT];
const NO_FILE: i32 = -1;

static FAULT_FILES: [AtomicI32; FAULT_FILES_MAX] =
    [const { AtomicI32::new(NO_FILE) }; FAULT_FILES_MAX];
/// What the process did at these signals before, and does again after the files were written.
static FORMER: OnceLock<Vec<(libc::c_int, libc::sigaction)>> = OnceLock::new();

/// A file that a fault of this process is written to, while this lives.
#[derive(Debug)]
pub(super) struct FaultWatch {
    slot: usize,
}

impl Drop for FaultWatch {
    fn drop(&mut self) {
        FAULT_FILES[self.slot].store(NO_FILE, Ordering::SeqCst);
    }
}

/// Has a byte written to the open file `descriptor` when this process dies by a fault. None when
/// there are too many such files: then nothing is written to this one. The file must stay open as
/// long as the watch.
pub(super) fn watch_faults(descriptor: RawFd) -> Option<FaultWatch> {
    FORMER.get_or_init(|| FAULTS.into_iter().filter_map(handle_fault).collect());
    let free = |file: &AtomicI32| {
        file.compare_exchange(NO_FILE, descriptor, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    FAULT_FILES.iter().position(free).map(|slot| FaultWatch { slot })
}

fn handle_fault(signal: libc::c_int) -> Option<(libc::c_int, libc::sigaction)> {
    let handler: extern "C" fn(libc::c_int) = on_fault;
    // SAFETY: all zeros is a `sigaction` that asks for nothing. The handler does only what a handler
    // of signals may: it loads atomics and makes system calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut former: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        // On the stack that Rust sets aside, where a thread has one: its own may be full.
        action.sa_flags = libc::SA_ONSTACK;
        (libc::sigaction(signal, &action, &mut former) == 0).then_some((signal, former))
    }
}

/// Writes the marks, and has the signal come again to whoever would have had it without us.
extern "C" fn on_fault(signal: libc::c_int) {
    for file in &FAULT_FILES {
        let descriptor = file.load(Ordering::SeqCst);
        if descriptor != NO_FILE {
            // SAFETY: `write` may be called in a handler; the byte lives for ever. That it fails, or
            // that the descriptor was closed this moment, loses no more than the mark.
            let _written = unsafe { libc::write(descriptor, b"F".as_ptr().cast(), 1) };
        }
    }
    for (former_signal, former) in FORMER.get().into_iter().flatten() {
        if *former_signal == signal {
            // SAFETY: `sigaction` may be called in a handler, and `former` is what it gave.
            unsafe { libc::sigaction(signal, former, std::ptr::null_mut()) };
        }
    }
    // A fault is met again by the instruction that is run again; `abort` raises its signal again.
}

#[cfg(test)]
mod tests {
    use heed::types::Str;
    use heed::{CommitOrAbort, Database};

    use super::*;

    fn options(durability: Durability) -> EnvironmentOptions {
        EnvironmentOptions {
            map_bytes: 1,
            readers_max: 8,
            databases_max: 1,
            durability,
            read_ahead: false,
        }
    }

    fn table(environment: &Environment) -> Database<'static, Str, Str> {
        let txn = environment.write().unwrap();
        environment
            .heed()
            .create_databases_and_commit(txn, |opener, txn| {
                let table = opener.create_database(txn, Some("t"))?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(table))
            })
            .unwrap()
            .unwrap_commit()
    }

    #[test]
    fn what_was_committed_is_there_after_a_reopen() {
        for durability in [Durability::EveryCommit, Durability::OnDemand] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("env");
            let environment = Environment::open(&path, &options(durability)).unwrap();
            let written = table(&environment);
            let mut txn = environment.write().unwrap();
            written.put(&mut txn, "key", "value").unwrap();
            txn.commit().unwrap();
            environment.sync().unwrap();
            assert_eq!(environment.map_bytes(), MAP_GRANULARITY_BYTES);
            assert!(environment.file_bytes().unwrap() > 0);
            drop(environment);

            let environment = Environment::open(&path, &options(durability)).unwrap();
            let read = table(&environment);
            let txn = environment.read().unwrap();
            assert_eq!(read.get(&txn, "key").unwrap(), Some("value"));
        }
    }

    #[test]
    fn a_second_open_in_this_process_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(Durability::EveryCommit);
        let _first = Environment::open(directory.path(), &options).unwrap();
        let message = Environment::open(directory.path(), &options).unwrap_err().to_string();
        assert!(message.contains("already open in this program"), "{message}");
    }
}
