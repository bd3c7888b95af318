//! The body of one record: everything that was queued at one moment.
//!
//! ```text
//! for each write [kind: u8][length: u32][bytes]
//!   1 an entry            as it lies in the tables
//!   3 a truncation        the first index removed: u64
//!   4 a purge             the purged log id, in an envelope
//!   5 a committed entry   its log id, in an envelope
//!   6 the node has again what the log had lost; no bytes
//! ```
//!
//! Numbers are little-endian. The vote is not here: see `vote`. How a body lies in blocks says
//! `block`.

use super::super::entry_layout;
use super::super::meta_layout::{decode_log_id, encode_log_id};
use super::super::write::Write;
use super::block;
use crate::consensus::{log_id_from_openraft, log_id_to_openraft};
use crate::types::LogId;

const ENTRY: u8 = 1;
const TRUNCATION: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;
const MADE_GOOD: u8 = 6;

/// A record being made.
#[derive(Debug)]
pub(in super::super) struct Record {
    body: Vec<u8>,
    /// The log's last entry once the record counts.
    last: Option<LogId>,
}

impl Record {
    /// An empty record in `buffer`, whose contents are thrown away. Once it is written the log
    /// ends at `last`.
    pub(in super::super) fn begin(mut buffer: Vec<u8>, last: Option<LogId>) -> Self {
        buffer.clear();
        Self { body: buffer, last }
    }

    /// Adds a write; `scratch` is for encoding. Answers the bytes of its entries.
    pub(in super::super) fn push(&mut self, write: &Write, scratch: &mut Vec<u8>) -> usize {
        let before = self.body.len();
        match write {
            Write::Append(entries) => {
                for entry in entries {
                    entry_layout::encode(entry, scratch);
                    self.put(ENTRY, scratch);
                }
                return self.body.len() - before;
            }
            Write::SaveVote(_) => {}
            Write::Truncate(first) => self.put(TRUNCATION, &first.to_le_bytes()),
            Write::MadeGood => self.put(MADE_GOOD, &[]),
            Write::Purge(log_id) => self.put(PURGE, &encode_log_id(log_id_from_openraft(log_id))),
            Write::SaveCommitted(log_id) => {
                self.put(COMMITTED, &encode_log_id(log_id_from_openraft(log_id)));
            }
        }
        0
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("an entry is far below 4 GiB");
        self.body.push(kind);
        self.body.extend_from_slice(&length.to_le_bytes());
        self.body.extend_from_slice(bytes);
    }

    /// Whether nothing is in it.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The body so far.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The log's last entry once the record counts.
    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Its buffer, to be used again.
    pub(in super::super) fn into_buffer(self) -> Vec<u8> {
        self.body
    }

    /// The blocks it takes in a segment.
    pub(super) fn blocks(&self) -> usize {
        block::blocks_of(self.body.len())
    }
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
        TRUNCATION => Write::Truncate(u64::from_le_bytes(bytes.try_into().ok()?)),
        PURGE => Write::Purge(log_id_to_openraft(&decode_log_id(bytes).ok()?)),
        COMMITTED => Write::SaveCommitted(log_id_to_openraft(&decode_log_id(bytes).ok()?)),
        MADE_GOOD if bytes.is_empty() => Write::MadeGood,
        _ => return None,
    })
}
