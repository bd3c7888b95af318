//! Damage on the disk, as the store meets it: what it refuses to open, to pass on, and to overlook.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chainfire::machine::StateView;
use chainfire::storage::{FatalSink, StateOptions, StateStore, StorageError, StorageHooks};
use tempfile::TempDir;

use crate::shared_support::requests::put;
use crate::support::{build_snapshot, data_dir, execute, hasty, open, unhurried, until, value};

/// A value that is found in a file.
const MARK: &str = "a value that stands in no other record";

/// Counts what the store tells.
#[derive(Default)]
struct Told {
    damage: AtomicUsize,
    snapshot_damage: AtomicUsize,
    passes: AtomicUsize,
    scrubbed_bytes: AtomicUsize,
}

impl StorageHooks for Told {
    fn state_damaged(&self, _: &StorageError) {
        self.damage.fetch_add(1, Ordering::SeqCst);
    }

    fn snapshot_damaged(&self, _: &StorageError) {
        self.snapshot_damage.fetch_add(1, Ordering::SeqCst);
    }

    fn scrubbed(&self, bytes: u64) {
        self.scrubbed_bytes.fetch_add(bytes as usize, Ordering::SeqCst);
    }

    fn scrub_completed(&self, _: f64) {
        self.passes.fetch_add(1, Ordering::SeqCst);
    }
}

fn open_telling(path: &Path, options: StateOptions) -> (StateStore, Arc<Told>) {
    let told = Arc::new(Told::default());
    let (directory, (fatal, _)) = (data_dir(path).unwrap(), FatalSink::channel());
    (StateStore::open(&directory, options, fatal, told.clone()).unwrap(), told)
}

fn data(path: &Path) -> PathBuf {
    path.join("state/1/data.mdb")
}

/// Flips a bit of the bytes `marked`, wherever they stand in a file.
fn damage(path: &Path, marked: &[u8]) {
    let contents = fs::read(path).unwrap();
    let found = contents.windows(marked.len()).enumerate().filter(|(_, bytes)| *bytes == marked);
    let places: Vec<u64> = found.map(|(at, _)| at as u64).collect();
    assert!(!places.is_empty(), "it stands in {}", path.display());
    let file = fs::File::options().write(true).open(path).unwrap();
    for place in places {
        file.write_all_at(&[marked[0] ^ 1], place).unwrap();
    }
}

async fn fill(store: &StateStore) {
    for _ in 0..200 {
        execute(store, put("another", "value")).await;
    }
    execute(store, put("marked", MARK)).await;
    store.flush().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_named_before_it_is_mapped() {
    let path = TempDir::new().unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    fill(&store).await;
    store.shutdown();
    drop(store);
    let data = data(path.path());
    let whole = fs::read(&data).unwrap();
    let refused = |contents: &[u8]| {
        fs::write(&data, contents).unwrap();
        open(path.path(), unhurried()).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(&whole[..3 * 4_096]).contains("cut short"));
    assert!(refused(&whole[..9_000]).contains("cut short"));
    assert!(refused(&whole[..4_000]).contains("meta page"));
    assert!(refused(&vec![0; whole.len()]).contains("meta page 0"));
    assert!(refused(&[]).contains("is missing"));
    fs::write(&data, &whole).unwrap();
    let (store, _watch) = open(path.path(), unhurried()).unwrap();
    assert_eq!(value(&store.view().unwrap(), "marked").unwrap(), MARK);
}

#[tokio::test]
async fn a_snapshot_passes_on_no_damage() {
    let path = TempDir::new().unwrap();
    let (store, told) = open_telling(path.path(), unhurried());
    fill(&store).await;
    damage(&data(path.path()), MARK.as_bytes());
    let error = build_snapshot(&store).await.unwrap_err().to_string();
    assert!(error.contains("history in") && error.contains("checksum"), "{error}");
    assert!(store.current_snapshot().is_none());
    assert_eq!(told.damage.load(Ordering::SeqCst), 1);
    let view = store.view().unwrap();
    let meta = view.current(b"marked").unwrap().expect("its record is right");
    view.value(meta.mod_revision).expect_err("its value is not");
    assert_eq!(told.damage.load(Ordering::SeqCst), 2, "every read tells");
}

#[tokio::test]
async fn the_scrub_finds_what_nobody_reads() {
    let path = TempDir::new().unwrap();
    let options =
        StateOptions { scrub_bytes_per_second: 1 << 40, scrub_rest: Duration::ZERO, ..hasty() };
    let (store, told) = open_telling(path.path(), options);
    fill(&store).await;
    let passes = told.passes.load(Ordering::SeqCst);
    until(|| told.passes.load(Ordering::SeqCst) > passes + 1);
    assert!(told.scrubbed_bytes.load(Ordering::SeqCst) > MARK.len());

    let snapshot = build_snapshot(&store).await.unwrap();
    let digest = snapshot.digest();
    damage(snapshot.path(), &digest);
    until(|| told.snapshot_damage.load(Ordering::SeqCst) > 0);
    until(|| store.current_snapshot().is_none());
    assert_eq!(told.damage.load(Ordering::SeqCst), 0, "the state is right");

    damage(&data(path.path()), MARK.as_bytes());
    until(|| told.damage.load(Ordering::SeqCst) > 0);
    store.shutdown();
}
