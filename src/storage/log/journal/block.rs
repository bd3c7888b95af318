//! One block of a segment, which says of itself what it is.
//!
//! ```text
//! [crc32: u32, over all else of the block][magic "CFJ2"][salt: u64]
//! [number: u64][place: u32][bytes: u32][last term: u64][last index + 1: u64][body, zeros]
//! ```
//!
//! Numbers are little-endian. `number` is the record's, `place` the block's in it, `bytes` the
//! length of the record's whole body, `last` the log's last entry once the record counts (0 = the
//! log is empty). A block of the number 0 belongs to no record: the first of a segment is its
//! header, the others fill a new segment.
//!
//! What must stay true:
//!
//! - **Every block of a segment is whole at all times**: a segment is made of filling blocks, and
//!   a write of a block leaves the old one or the new one. So bytes that are no block (zeros, a
//!   flipped bit) are damage, wherever they are found.
//! - Where a block lies says nothing about what it is: a record that went astray is told by its
//!   number and place.

use super::BLOCK_BYTES;
use crate::types::LogId;

/// The bytes of a block before its body.
pub(super) const HEADER_BYTES: usize = 48;
/// The bytes of a record's body in one block.
pub(super) const BODY_BYTES: usize = BLOCK_BYTES - HEADER_BYTES;

const MAGIC: [u8; 4] = *b"CFJ2";

/// What a block says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Drawn when the journal was begun; no client can know it.
    pub(super) salt: u64,
    /// The record's number; 0 = no record's.
    pub(super) number: u64,
    /// The block's place in the record; in a segment's header, the segment.
    pub(super) place: u32,
    /// Bytes of the record's body.
    pub(super) bytes: u32,
    /// The log's last entry once the record counts.
    pub(super) last: Option<LogId>,
}

impl Header {
    /// How many blocks the record has.
    pub(super) fn blocks(&self) -> usize {
        blocks_of(self.bytes as usize)
    }
}

/// How many blocks a body takes, at least one.
pub(super) fn blocks_of(body_bytes: usize) -> usize {
    body_bytes.div_ceil(BODY_BYTES).max(1)
}

/// What lies in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block<'bytes> {
    /// A whole block, with its part of the body and what fills it up.
    Whole(Header, &'bytes [u8]),
    /// Neither what was written last nor what was there before.
    Damaged,
}

/// Reads a block.
pub(super) fn read(block: &[u8]) -> Block<'_> {
    let Some((header, body)) = block.split_first_chunk::<HEADER_BYTES>() else {
        return Block::Damaged;
    };
    if body.len() != BODY_BYTES || header[4..8] != MAGIC {
        return Block::Damaged;
    }
    let u32_at = |place: usize| u32::from_le_bytes(array(&header[place..place + 4]));
    let u64_at = |place: usize| u64::from_le_bytes(array(&header[place..place + 8]));
    if u32_at(0) != crc32fast::hash(&block[4..]) {
        return Block::Damaged;
    }
    let last = u64_at(40).checked_sub(1).map(|index| LogId { term: u64_at(32), index });
    let header =
        Header { salt: u64_at(8), number: u64_at(16), place: u32_at(24), bytes: u32_at(28), last };
    Block::Whole(header, body)
}

/// Makes `block`, whose body is there already, a whole one.
pub(super) fn seal(block: &mut [u8], header: &Header) {
    block[4..8].copy_from_slice(&MAGIC);
    block[8..16].copy_from_slice(&header.salt.to_le_bytes());
    block[16..24].copy_from_slice(&header.number.to_le_bytes());
    block[24..28].copy_from_slice(&header.place.to_le_bytes());
    block[28..32].copy_from_slice(&header.bytes.to_le_bytes());
    let (term, end) = header.last.map_or((0, 0), |last| (last.term, last.index + 1));
    block[32..40].copy_from_slice(&term.to_le_bytes());
    block[40..48].copy_from_slice(&end.to_le_bytes());
    let checksum = crc32fast::hash(&block[4..]);
    block[..4].copy_from_slice(&checksum.to_le_bytes());
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cuts out as many bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        salt: 0x0102_0304_0506_0708,
        number: 9,
        place: 1,
        bytes: 5000,
        last: Some(LogId { term: 3, index: 299 }),
    };

    #[test]
    fn the_bytes_of_a_block_are_pinned() {
        let mut block = vec![7; BLOCK_BYTES];
        seal(&mut block, &HEADER);
        assert_eq!(block[..8], [&0xF88A_8CE6_u32.to_le_bytes()[..], b"CFJ2"].concat());
        assert_eq!(block[8..24], [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block[24..32], [1, 0, 0, 0, 0x88, 0x13, 0, 0]);
        assert_eq!(block[32..48], [3, 0, 0, 0, 0, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read(&block), Block::Whole(HEADER, &block[HEADER_BYTES..]));
        assert_eq!(HEADER.blocks(), 2);
    }

    #[test]
    fn a_flipped_bit_is_damage_wherever_it_is_and_so_are_zeros_and_a_cut() {
        let mut block = vec![7; BLOCK_BYTES];
        seal(&mut block, &HEADER);
        let (header, body) = (0..HEADER_BYTES * 8, HEADER_BYTES * 8..BLOCK_BYTES * 8);
        for bit in header.chain(body.step_by(13)) {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&block), Block::Damaged, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(read(&block[..BLOCK_BYTES - 1]), Block::Damaged);
        assert_eq!(read(&[0; BLOCK_BYTES]), Block::Damaged);
        assert_eq!(read(&[]), Block::Damaged);
    }
}
