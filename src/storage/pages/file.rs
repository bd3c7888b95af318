//! The file, its two meta pages, and whether it is as long as they say.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::PageError;
use super::node::{HEADER_BYTES, LARGE, META, kind, u16_at, u32_at, u64_at};
use crate::storage::StorageError;
use crate::storage::environment::DATA_NAME;

const MAGIC: u32 = 0xbeef_c0de;
/// The version of LMDB's format that this release's LMDB writes.
const VERSION: u32 = 1;
/// Bytes of a meta page that say something.
const META_BYTES: usize = HEADER_BYTES + 24 + 2 * TREE_BYTES + 16;
pub(super) const TREE_BYTES: usize = 48;
/// Where the two trees are in a meta page.
const FREE_AT: usize = HEADER_BYTES + 24;
const NAMES_AT: usize = FREE_AT + TREE_BYTES;
/// What a system may have for a page.
const PAGE_BYTES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// A tree, as a meta page or a record describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) depth: u16,
    pub(super) branch_pages: u64,
    pub(super) leaf_pages: u64,
    pub(super) large_pages: u64,
    pub(super) records: u64,
    /// None = the tree is empty.
    pub(super) root: Option<u64>,
}

impl Tree {
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..TREE_BYTES)?;
        Some(Self {
            depth: u16_at(bytes, 6)?,
            branch_pages: u64_at(bytes, 8)?,
            leaf_pages: u64_at(bytes, 16)?,
            large_pages: u64_at(bytes, 24)?,
            records: u64_at(bytes, 32)?,
            root: u64_at(bytes, 40).filter(|root| *root != u64::MAX),
        })
    }
}

/// A file of LMDB's that nobody writes to.
#[derive(Debug)]
pub(crate) struct PageFile {
    file: File,
    pub(crate) page_bytes: usize,
    pub(crate) last_page: u64,
    pub(super) free: Tree,
    pub(super) names: Tree,
    length: u64,
}

/// Refuses a file that is shorter than what is in use of it, before LMDB maps it. A file that is not
/// there, or empty, is no concern of this one.
pub(crate) fn check_length(path: &Path) -> Result<(), StorageError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|source| StorageError::io("open", path, source))?,
    };
    match PageFile::new(file).and_then(|file| file.map_or(Ok(()), |file| file.check_length())) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.of(path)),
    }
}

/// Reads the environment in `directory` through, but for what its records say. Blocks.
pub(crate) fn verify_pages(directory: &Path) -> Result<(), StorageError> {
    let path = directory.join(DATA_NAME);
    if !path.exists() {
        return Ok(());
    }
    let Some(file) = PageFile::open(&path)? else { return Ok(()) };
    file.verify(&mut |_, _, _| Ok(())).map_err(|error| error.of(&path))
}

impl PageFile {
    /// Opens a file; none when it is empty.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StorageError> {
        let file = File::open(path).map_err(|source| StorageError::io("open", path, source))?;
        Self::new(file).map_err(|error| error.of(path))
    }

    fn new(file: File) -> Result<Option<Self>, PageError> {
        let length = file.metadata()?.len();
        if length == 0 {
            return Ok(None);
        }
        let first = read_meta(&file, 0, 0)?;
        let page_bytes = u32_at(&first, FREE_AT).map_or(0, |bytes| bytes as usize);
        if !page_bytes.is_power_of_two() || !PAGE_BYTES.contains(&page_bytes) {
            return Err(PageError::Meta { page: 0 });
        }
        let second = read_meta(&file, 1, page_bytes as u64)?;
        let transaction = |meta: &[u8; META_BYTES]| u64_at(meta, META_BYTES - 8);
        let meta = if transaction(&second) > transaction(&first) { second } else { first };
        let trees = Tree::decode(&meta[FREE_AT..]).zip(Tree::decode(&meta[NAMES_AT..]));
        let last_page = u64_at(&meta, META_BYTES - 16);
        let ((free, names), last_page) = trees.zip(last_page).ok_or(PageError::Meta { page: 0 })?;
        Ok(Some(Self { file, page_bytes, last_page, free, names, length }))
    }

    /// Most files have room to spare at their end. One that does not may lack pages at its end that
    /// were taken and given back in one transaction: only one that is used is missed.
    fn check_length(&self) -> Result<(), PageError> {
        if self.last_page < self.pages() {
            return Ok(());
        }
        match self.verify(&mut |_, _, _| Ok(())) {
            Err(error @ (PageError::Short { .. } | PageError::Io(_))) => Err(error),
            // Damage is for those to find who look for it; LMDB stays inside the file.
            _ => Ok(()),
        }
    }

    /// Reads page `number`.
    pub(super) fn page(&self, number: u64, bytes: &mut Vec<u8>) -> Result<(), PageError> {
        bytes.resize(self.page_bytes, 0);
        self.read(number, number, bytes)
    }

    /// Reads data that begins on page `number`; returns how many pages it takes.
    pub(super) fn large(&self, number: u64, length: usize) -> Result<(Vec<u8>, u64), PageError> {
        let wrong = |reason| PageError::Page { page: number, reason };
        let pages = (HEADER_BYTES + length).div_ceil(self.page_bytes) as u64;
        let last = number.checked_add(pages - 1).filter(|last| *last <= self.last_page);
        let last = last.ok_or_else(|| wrong("it reaches past the last page"))?;
        self.check_end(number, last, HEADER_BYTES + length)?;
        let mut bytes = vec![0; HEADER_BYTES + length];
        self.read(number, last, &mut bytes)?;
        if kind(&bytes, number)? != LARGE || u32_at(&bytes, 12).map(u64::from) != Some(pages) {
            return Err(wrong("it is not the begin of data of that length"));
        }
        bytes.drain(..HEADER_BYTES);
        Ok((bytes, pages))
    }

    fn read(&self, first: u64, last: u64, bytes: &mut [u8]) -> Result<(), PageError> {
        self.check_end(first, last, bytes.len())?;
        Ok(self.file.read_exact_at(bytes, first * self.page_bytes as u64)?)
    }

    /// Fails when `length` bytes from page `first` on, which end in page `last`, are not there.
    fn check_end(&self, first: u64, last: u64, length: usize) -> Result<(), PageError> {
        if last > self.last_page {
            let reason = "it lies past the last page";
            return Err(PageError::Page { page: last, reason });
        }
        let (page_bytes, found) = (self.page_bytes, self.length);
        let end = first.checked_mul(page_bytes as u64);
        let end = end.and_then(|start| start.checked_add(length as u64));
        if end.is_none_or(|end| end > found) {
            return Err(PageError::Short { found, page: last, page_bytes });
        }
        Ok(())
    }

    /// How many pages the file has room for.
    pub(super) fn pages(&self) -> u64 {
        self.length / self.page_bytes as u64
    }
}

fn read_meta(file: &File, page: u64, offset: u64) -> Result<[u8; META_BYTES], PageError> {
    let mut bytes = [0; META_BYTES];
    file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => PageError::Meta { page },
        _ => PageError::Io(error),
    })?;
    let is_meta = u16_at(&bytes, 10).is_some_and(|flags| flags & META != 0)
        && u32_at(&bytes, HEADER_BYTES) == Some(MAGIC)
        && u32_at(&bytes, HEADER_BYTES + 4) == Some(VERSION);
    if is_meta { Ok(bytes) } else { Err(PageError::Meta { page }) }
}
