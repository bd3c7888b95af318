//! The fixed parts of a snapshot file, and its limits.

use crate::storage::state::layout::Table;
use crate::types::limits::{
    ENVELOPE_BYTES_MAX, KEY_BYTES_MAX, REQUEST_BYTES_MAX, TXN_ANSWER_BYTES_MAX,
};

/// The first bytes of every snapshot file, of any format.
pub(crate) const MAGIC: [u8; 8] = *b"chfrsnap";
/// The newest format read, and the one written.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Bytes before the header.
pub(crate) const PREFIX_BYTES: usize = 8 + 4 + 4 + 4;
/// Longest header, in bytes: a membership of thousands.
pub(crate) const HEADER_BYTES_MAX: usize = 1 << 20;
/// A chunk is closed when its records take this many bytes.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Bytes before a chunk's stored bytes.
pub(crate) const CHUNK_HEADER_BYTES: usize = 1 + 4 + 4 + 4 + 4;
/// Bytes before a record's key.
pub(crate) const RECORD_HEADER_BYTES: usize = 2 + 4;
/// Longest value of any table: a session's record, whose answers are many but short, or one long
/// answer, or a user's value. What is longer was not written by us.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 20;
/// Longest chunk before compression.
pub(crate) const RAW_BYTES_MAX: usize =
    CHUNK_BYTES + RECORD_HEADER_BYTES + u16::MAX as usize + VALUE_BYTES_MAX;
/// Longest chunk after compression: LZ4 of incompressible bytes is a little longer than them.
pub(crate) const STORED_BYTES_MAX: usize = RAW_BYTES_MAX + RAW_BYTES_MAX / 255 + 64;
/// Bytes of the digest at the end.
pub(crate) const DIGEST_BYTES: usize = 32;
/// The table byte of the end marker.
const END: u8 = u8::MAX;

const _: () = {
    assert!(REQUEST_BYTES_MAX + ENVELOPE_BYTES_MAX + KEY_BYTES_MAX < VALUE_BYTES_MAX);
    assert!(TXN_ANSWER_BYTES_MAX * 2 < VALUE_BYTES_MAX);
    assert!(STORED_BYTES_MAX < u32::MAX as usize);
};

/// What stands before a chunk's stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    /// Whose records it holds; none = the end of the file.
    pub(crate) table: Option<Table>,
    /// How many records.
    pub(crate) records: u32,
    /// Their bytes.
    pub(crate) raw_bytes: u32,
    /// Their bytes as stored.
    pub(crate) stored_bytes: u32,
}

impl ChunkHeader {
    /// The end of the chunks.
    pub(crate) const END: Self = Self { table: None, records: 0, raw_bytes: 0, stored_bytes: 0 };

    /// The header's bytes, with the checksum over it and `stored`.
    pub(crate) fn encode(&self, stored: &[u8]) -> [u8; CHUNK_HEADER_BYTES] {
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        bytes[0] = self.table.map_or(END, |table| table as u8);
        bytes[1..5].copy_from_slice(&self.records.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.raw_bytes.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.stored_bytes.to_be_bytes());
        let checksum = checksum(&bytes[..13], stored);
        bytes[13..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// [`encode`](Self::encode) back, with the checksum, which is not looked at. None when no
    /// writer writes such a header.
    pub(crate) fn decode(bytes: &[u8; CHUNK_HEADER_BYTES]) -> Option<(Self, u32)> {
        let number = |start: usize| {
            let number = bytes[start..].first_chunk::<4>();
            u32::from_be_bytes(*number.expect("every field lies inside the header"))
        };
        let table = match bytes[0] {
            END => None,
            table => Some(*Table::ALL.get(usize::from(table))?),
        };
        let (records, raw_bytes, stored_bytes) = (number(1), number(5), number(9));
        let fits = |bytes: u32, max: usize| usize::try_from(bytes).is_ok_and(|bytes| bytes <= max);
        let possible = fits(raw_bytes, RAW_BYTES_MAX) && fits(stored_bytes, STORED_BYTES_MAX);
        possible.then_some((Self { table, records, raw_bytes, stored_bytes }, number(13)))
    }
}

/// The checksum of a chunk: over its header up to the checksum, and its stored bytes.
pub(crate) fn checksum(header: &[u8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(stored);
    hasher.finalize()
}

/// The bytes before the header.
pub(crate) fn encode_prefix(format: u32, header_bytes: u32) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..12].copy_from_slice(&format.to_be_bytes());
    prefix[12..16].copy_from_slice(&header_bytes.to_be_bytes());
    let checksum = crc32fast::hash(&prefix[..16]);
    prefix[16..].copy_from_slice(&checksum.to_be_bytes());
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_header_is_pinned_and_survives_the_way_there_and_back() {
        let header = ChunkHeader {
            table: Some(Table::History),
            records: 2,
            raw_bytes: 0x0304,
            stored_bytes: 0x0102,
        };
        let bytes = header.encode(b"stored");
        assert_eq!(bytes[..13], [1, 0, 0, 0, 2, 0, 0, 3, 4, 0, 0, 1, 2]);
        let expected = checksum(&bytes[..13], b"stored");
        assert_eq!(ChunkHeader::decode(&bytes), Some((header, expected)));
        let end = ChunkHeader::END.encode(b"");
        assert_eq!(ChunkHeader::decode(&end).map(|(header, _)| header), Some(ChunkHeader::END));
    }

    #[test]
    fn impossible_chunk_headers_are_refused() {
        let mut table = ChunkHeader::END.encode(b"");
        table[0] = Table::ALL.len() as u8;
        assert_eq!(ChunkHeader::decode(&table), None);
        let mut length = ChunkHeader::END.encode(b"");
        length[5] = 0xff;
        assert_eq!(ChunkHeader::decode(&length), None);
        let mut length = ChunkHeader::END.encode(b"");
        length[9] = 0xff;
        assert_eq!(ChunkHeader::decode(&length), None);
    }

    #[test]
    fn the_prefix_is_pinned() {
        let prefix = encode_prefix(1, 0x0203);
        assert_eq!(prefix[..16], *b"chfrsnap\0\0\0\x01\0\0\x02\x03");
    }
}
