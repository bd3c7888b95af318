//! The bytes of one record: everything that was queued at one moment.
//!
//! ```text
//! [magic "CFJ1"][body length: u32][salt: u64][number: u64][crc32: u32, over all else][body][zeros]
//! body: for each write [kind: u8][length: u32][bytes]
//!   1 an entry            as it lies in the tables
//!   2 the vote            as it lies in the tables
//!   3 a truncation        the first index removed: u64
//!   4 a purge             the purged record as it lies in the tables
//!   5 a committed entry   the committed record as it lies in the tables
//! ```
//!
//! Numbers are little-endian. Zeros fill the last block.

use super::super::meta_layout::{self, CommittedRecord, PurgedRecord, VoteRecord};
use super::super::write::Write;
use super::super::{entry_layout, meta_layout::Record as _};
use super::BLOCK_BYTES;
use crate::consensus::{
    log_id_from_openraft, log_id_to_openraft, vote_from_openraft, vote_to_openraft,
};

/// The first bytes of a record.
const MAGIC: [u8; 4] = *b"CFJ1";

/// The bytes before the body.
pub(super) const HEADER_BYTES: usize = 28;
const CHECKSUM_AT: usize = 24;

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const TRUNCATION: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;

/// A record being made.
#[derive(Debug)]
pub(in super::super) struct Record {
    bytes: Vec<u8>,
}

impl Record {
    /// An empty record in `buffer`, whose contents are thrown away.
    pub(super) fn begin(mut buffer: Vec<u8>, salt: u64, sequence: u64) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&salt.to_le_bytes());
        buffer.extend_from_slice(&sequence.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        Self { bytes: buffer }
    }

    /// Adds a write; `scratch` is for encoding. Answers the bytes of its entries.
    pub(in super::super) fn push(&mut self, write: &Write, scratch: &mut Vec<u8>) -> usize {
        let before = self.bytes.len();
        match write {
            Write::Append(entries) => {
                for entry in entries {
                    entry_layout::encode(entry, scratch);
                    self.put(ENTRY, scratch);
                }
                return self.bytes.len() - before;
            }
            Write::SaveVote(vote) => {
                self.put(VOTE, &meta_layout::encode(&VoteRecord(vote_from_openraft(vote))));
            }
            Write::Truncate(first) => self.put(TRUNCATION, &first.to_le_bytes()),
            Write::Purge(log_id) => {
                self.put(PURGE, &meta_layout::encode(&PurgedRecord(log_id_from_openraft(log_id))));
            }
            Write::SaveCommitted(log_id) => {
                let record = CommittedRecord(log_id_from_openraft(log_id));
                self.put(COMMITTED, &meta_layout::encode(&record));
            }
        }
        0
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("an entry is far below 4 GiB");
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer of a record that is not written.
    pub(in super::super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes it takes in a segment.
    pub(super) fn padded_bytes(&self) -> usize {
        self.bytes.len().next_multiple_of(BLOCK_BYTES)
    }

    /// Its bytes; what fills the last block is not part of them.
    pub(super) fn seal(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        let body = u32::try_from(bytes.len() - HEADER_BYTES)
            .expect("a record that fits a segment is far below 4 GiB");
        bytes[4..8].copy_from_slice(&body.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// A whole record found in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'bytes> {
    pub(super) sequence: u64,
    pub(super) body: &'bytes [u8],
}

/// The record at the start of `bytes`, when there is a whole one with this salt.
pub(super) fn find(bytes: &[u8], salt: u64) -> Option<Found<'_>> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    if header[..4] != MAGIC || header[8..16] != salt.to_le_bytes() {
        return None;
    }
    let length = u32::from_le_bytes(*header[4..8].first_chunk()?) as usize;
    let whole = bytes.get(..HEADER_BYTES.checked_add(length)?)?;
    let stored = u32::from_le_bytes(*header[CHECKSUM_AT..].first_chunk()?);
    let sequence = u64::from_le_bytes(*header[16..24].first_chunk()?);
    (checksum(whole) == stored).then_some(Found { sequence, body: &whole[HEADER_BYTES..] })
}

/// Over a record without its own place.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..CHECKSUM_AT]);
    hasher.update(&record[HEADER_BYTES..]);
    hasher.finalize()
}

/// Reads a body back; none when it is not one. Entries that follow each other are one append.
pub(super) fn decode_body(mut body: &[u8]) -> Option<Vec<Write>> {
    let mut writes = Vec::new();
    while let Some((&[kind, a, b, c, d], rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let (bytes, rest) = rest.split_at_checked(length)?;
        body = rest;
        let write = decode_write(kind, bytes)?;
        match (writes.last_mut(), write) {
            (Some(Write::Append(entries)), Write::Append(more)) => entries.extend(more),
            (_, write) => writes.push(write),
        }
    }
    body.is_empty().then_some(writes)
}

fn decode_write(kind: u8, bytes: &[u8]) -> Option<Write> {
    Some(match kind {
        ENTRY => Write::Append(vec![entry_layout::decode_any(bytes).ok()?]),
        VOTE => Write::SaveVote(vote_to_openraft(&VoteRecord::unseal(bytes).ok()?.0)),
        TRUNCATION => Write::Truncate(u64::from_le_bytes(bytes.try_into().ok()?)),
        PURGE => Write::Purge(log_id_to_openraft(&PurgedRecord::unseal(bytes).ok()?.0)),
        COMMITTED => {
            Write::SaveCommitted(log_id_to_openraft(&CommittedRecord::unseal(bytes).ok()?.0))
        }
        _ => return None,
    })
}
