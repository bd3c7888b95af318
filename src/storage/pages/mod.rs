//! LMDB's file, read page by page and not through LMDB.
//!
//! LMDB believes its own pages: a damaged one makes it miss records, or read beyond the file's end,
//! and then the process dies by a signal. So the file is looked at here before LMDB maps it: always
//! whether it is as long as it says ([`check_length`]), and after a death by signal all of it
//! ([`PageFile::verify`]).
//!
//! ```text
//! page    [number: u64][pad: u16][flags: u16][lower: u16][upper: u16][offsets of nodes: u16 each]
//!         ... free ... [nodes]        lower: where the offsets end; upper: where the nodes begin
//! node    [low: u16][high: u16][flags: u16][key length: u16][key][data]
//!         branch: low, high and flags are the child's number; the first key counts for nothing
//!         leaf:   low and high are the data's length; flags 1: its number on pages of its own;
//!                 2: the data is a tree
//! large   [number: u64][pad: u16][flags: u16][pages: u32][data]
//! meta    pages 0 and 1, [page header][magic: u32][version: u32][address: u64][map bytes: u64]
//!         [tree of free pages][tree of names][last page: u64][transaction: u64]
//! tree    [page bytes or 0: u32][flags: u16][depth: u16][branch pages: u64][leaf pages: u64]
//!         [large pages: u64][records: u64][root: u64, all ones = empty]
//! ```
//!
//! Integers are the machine's own. What holds in a file that is right, and is checked: each page has
//! its number and is reached once; its nodes fill it from `upper` to its end without a gap, so none
//! is hidden; keys ascend, and lie between those of the branch above; a tree has as many pages and
//! records as it says, and no page of it is free. The transaction with the higher number counts, as
//! it does for LMDB.

mod file;
mod node;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use file::{PageFile, check_length, verify_pages};

use super::StorageError;

/// What is wrong with a file of LMDB's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// Its first pages are not LMDB's.
    #[error("its meta page {page} is not one of LMDB's")]
    Meta {
        /// Which of the two.
        page: u64,
    },
    /// The file is shorter than what is in use of it.
    #[error(
        "it is cut short: it has {found} bytes, and page {page} of {page_bytes} bytes is in use"
    )]
    Short {
        /// Its length.
        found: u64,
        /// A page that is not there.
        page: u64,
        /// The length of pages.
        page_bytes: usize,
    },
    /// A page contradicts itself, or the pages around it.
    #[error("its page {page} is damaged: {reason}")]
    Page {
        /// Which.
        page: u64,
        /// In what.
        reason: &'static str,
    },
    /// A tree does not have what it says.
    #[error("its tree {name} has {found} {what}, and says {expected}")]
    Count {
        /// The table.
        name: String,
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many it says.
        expected: u64,
    },
    /// A record is not what was written.
    #[error("table {name}: {reason}")]
    Record {
        /// The table.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused to read it.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
}

impl PageError {
    /// The error of the file at `path`.
    pub(crate) fn of(self, path: &Path) -> StorageError {
        let path: PathBuf = path.to_owned();
        match self {
            Self::Io(source) => StorageError::io("read", &path, source),
            _ => StorageError::Corrupt { what: "the database", path, reason: self.to_string() },
        }
    }
}
