//! Snapshot files: the whole state at one point of the log, portable between machines.
//!
//! ```text
//! [magic: 8][format: u32][header length: u32][crc32 of these 16 bytes: u32]
//! [header: envelope of `SnapshotHeader`]
//! chunks, by table and key:
//!   [table: u8][records: u32][raw length: u32][stored length: u32][crc32: u32][stored bytes]
//! [end: a chunk header of table 255, everything else 0, and its crc32]
//! [SHA-256 of everything before: 32]
//! ```
//!
//! Integers are big-endian. A chunk's checksum covers its header and its stored bytes, which are
//! an LZ4 block of about `CHUNK_BYTES` of records, each
//! `[key length: u16][value length: u32][key][value]`. The tables and their records are those of
//! [`state::layout`](super::state), so that an install appends them as they are.
//!
//! Every damage is found and named: a flipped bit by a chunk's checksum (and which chunk), a cut
//! by the missing end, chunks left out or swapped by the header's counts, the order and the digest.
//! A newer format and another cluster's file are told apart from damage. A reader never takes more
//! memory than one chunk, whatever the file says.
//!
//! `header`, `format` (limits and chunk headers), `stored`, `writer` and `reader` are pure over bytes;
//! `file` is one file on the disk; `shelf` is the directory that keeps the newest ones.

mod error;
mod file;
pub(crate) mod format;
mod header;
mod reader;
mod shelf;
mod stored;
mod writer;

pub use error::SnapshotError;
pub use file::SnapshotFile;
pub(crate) use file::UnpackedChunk;
pub(crate) use header::RecordCounts;
pub use header::SnapshotHeader;
pub(crate) use reader::Chunk;
#[cfg(fuzzing)]
pub(crate) use reader::SnapshotReader;
pub(crate) use shelf::SnapshotShelf;
pub(crate) use writer::SnapshotWriter;
