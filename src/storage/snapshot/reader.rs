//! Reading and verifying a snapshot, chunk by chunk, in bounded memory.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use super::error::SnapshotError;
use super::format::{
    DIGEST_BYTES, FORMAT_VERSION, HEADER_BYTES_MAX, MAGIC, PREFIX_BYTES, RECORD_HEADER_BYTES,
};
use super::header::{SnapshotHeader, decode_header};
use super::stored::{StoredChunk, read_exact};
use crate::storage::envelope::EnvelopeError;
use crate::storage::state::layout::Table;

/// Reads a snapshot from `R`. What it gave out is verified only when [`next_chunk`] has answered
/// none.
///
/// [`next_chunk`]: Self::next_chunk
pub(crate) struct SnapshotReader<R> {
    input: R,
    digest: Sha256,
    header: SnapshotHeader,
    /// Bytes before the first chunk.
    head_bytes: u64,
    chunk: u64,
    read_bytes: u64,
    table: Table,
    counts: [u64; Table::ALL.len()],
    stored: StoredChunk,
    raw: Vec<u8>,
}

/// A record's key and value.
pub(crate) type Record<'a> = (&'a [u8], &'a [u8]);

/// Records of one table.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) table: Table,
    /// Where in the file it begins, in bytes.
    pub(crate) offset: u64,
    /// Which chunk of the file, from 0.
    pub(crate) number: u64,
    raw: &'a [u8],
}

impl<R: Read> SnapshotReader<R> {
    /// Reads up to the first chunk.
    pub(crate) fn open(mut input: R) -> Result<Self, SnapshotError> {
        let mut digest = Sha256::new();
        let (header, head_bytes) = read_header(&mut input, &mut digest)?;
        Ok(Self {
            input,
            digest,
            header,
            head_bytes,
            chunk: 0,
            read_bytes: 0,
            table: Table::Keys,
            counts: [0; Table::ALL.len()],
            stored: StoredChunk::empty(),
            raw: Vec::new(),
        })
    }

    /// What the file says of itself.
    pub(crate) fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Bytes of chunks read.
    pub(crate) fn position_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Bytes before the first chunk.
    pub(crate) fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// The next chunk; none after the last one, when the whole file was found to be right.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, SnapshotError> {
        let (number, offset) = (self.chunk, self.head_bytes + self.read_bytes);
        self.stored.read(&mut self.input, number, offset)?;
        for part in self.stored.parts() {
            self.digest.update(part);
        }
        let Some(table) = self.stored.table() else {
            self.finish()?;
            return Ok(None);
        };
        if table < self.table {
            return Err(self.stored.corrupt("it is out of order"));
        }
        let chunk = self.stored.records_in(&mut self.raw)?;
        self.table = table;
        self.counts[table as usize] += u64::from(self.stored.records());
        self.chunk += 1;
        self.read_bytes += self.stored.file_bytes();
        Ok(Some(chunk))
    }

    fn finish(&mut self) -> Result<(), SnapshotError> {
        let mut found = [0; DIGEST_BYTES];
        read_exact(&mut self.input, &mut found, || "its digest".into())?;
        if self.digest.clone().finalize()[..] != found {
            return Err(SnapshotError::DigestMismatch);
        }
        let counts = Table::ALL.into_iter().zip(self.counts).zip(self.header.records.0);
        for ((table, found), expected) in counts {
            if found != expected {
                return Err(SnapshotError::WrongCount { table: table.name(), found, expected });
            }
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(SnapshotError::TrailingBytes),
            Err(source) => Err(SnapshotError::Io { action: "read", source }),
        }
    }
}

impl<'a> Chunk<'a> {
    /// The records `raw` of chunk `number`, which begins at `offset`.
    pub(super) fn new(table: Table, number: u64, offset: u64, raw: &'a [u8]) -> Self {
        Self { table, offset, number, raw }
    }

    /// Bytes of the records that are left.
    pub(crate) fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// The next record's key and value; none after the last one.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record<'a>>, SnapshotError> {
        if self.raw.is_empty() {
            return Ok(None);
        }
        let split = |bytes: &'a [u8], at: usize| {
            let cut = "a record is cut off";
            let error = SnapshotError::CorruptChunk { chunk: self.number, reason: cut };
            bytes.split_at_checked(at).ok_or(error)
        };
        let (lengths, rest) = split(self.raw, RECORD_HEADER_BYTES)?;
        let [a, b, c, d, e, f] = *lengths.first_chunk().expect("it has just been cut");
        let (key, rest) = split(rest, u16::from_be_bytes([a, b]).into())?;
        let (value, rest) = split(rest, u32::from_be_bytes([c, d, e, f]) as usize)?;
        self.raw = rest;
        Ok(Some((key, value)))
    }
}

fn read_header(
    input: &mut impl Read,
    digest: &mut Sha256,
) -> Result<(SnapshotHeader, u64), SnapshotError> {
    let corrupt = |reason: &str| SnapshotError::CorruptHeader { reason: reason.into() };
    let place = || "its header".to_owned();
    let mut prefix = [0; PREFIX_BYTES];
    read_exact(input, &mut prefix, place)?;
    if prefix[..8] != MAGIC {
        return Err(SnapshotError::NotASnapshot);
    }
    let number = |start: usize| {
        let number = prefix[start..].first_chunk::<4>();
        u32::from_be_bytes(*number.expect("every field lies inside the prefix"))
    };
    if crc32fast::hash(&prefix[..16]) != number(16) {
        return Err(corrupt("its first bytes do not match their checksum"));
    }
    let (found, newest) = (number(8), FORMAT_VERSION);
    if found > newest {
        return Err(SnapshotError::NewerFormat { found, newest });
    }
    let header_bytes = number(12) as usize;
    if header_bytes > HEADER_BYTES_MAX {
        return Err(corrupt("its length is impossible"));
    }
    let mut bytes = vec![0; header_bytes];
    read_exact(input, &mut bytes, place)?;
    let header = decode_header(&bytes).map_err(|error| match error {
        EnvelopeError::NewerVersion { found, .. } => {
            SnapshotError::NewerFormat { found: found.into(), newest }
        }
        _ => corrupt(&error.to_string()),
    })?;
    digest.update(prefix);
    digest.update(&bytes);
    Ok((header, (PREFIX_BYTES + bytes.len()) as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::encode_prefix;
    use super::super::header::RecordCounts;
    use super::super::writer::SnapshotWriter;
    use super::*;
    use crate::types::{ClusterId, LogId, MembershipConfig, StateHash};

    type Whole = (Table, Vec<u8>, Vec<u8>);

    fn header(records: &[Whole]) -> SnapshotHeader {
        let mut counts = [0; Table::ALL.len()];
        for (table, ..) in records {
            counts[*table as usize] += 1;
        }
        SnapshotHeader {
            cluster_id: ClusterId(7),
            last_log_id: Some(LogId { term: 2, index: 9 }),
            membership_log_id: None,
            membership: MembershipConfig::default(),
            revision: 5,
            compact_revision: 3,
            layout_version: 1,
            hash: StateHash([6; 16]),
            records: RecordCounts(counts),
        }
    }

    fn write_with(header: &SnapshotHeader, records: &[Whole]) -> Vec<u8> {
        let mut writer = SnapshotWriter::new(Vec::new(), header).unwrap();
        for (table, key, value) in records {
            writer.record(*table, key, value).unwrap();
        }
        let (bytes, size, digest) = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(bytes[bytes.len() - DIGEST_BYTES..], digest);
        bytes
    }

    fn write(records: &[Whole]) -> Vec<u8> {
        write_with(&header(records), records)
    }

    fn read(bytes: &[u8]) -> Result<(SnapshotHeader, Vec<Whole>), SnapshotError> {
        let mut reader = SnapshotReader::open(bytes)?;
        let mut records = Vec::new();
        while let Some(mut chunk) = reader.next_chunk()? {
            let table = chunk.table;
            while let Some((key, value)) = chunk.next_record()? {
                records.push((table, key.to_vec(), value.to_vec()));
            }
        }
        Ok((reader.header().clone(), records))
    }

    fn few() -> Vec<Whole> {
        vec![
            (Table::Keys, b"a".to_vec(), b"1".to_vec()),
            (Table::Keys, b"b".to_vec(), b"2".to_vec()),
            (Table::Meta, b"m".to_vec(), b"3".to_vec()),
        ]
    }

    #[test]
    fn the_bytes_of_a_file_are_pinned() {
        let bytes = write(&few());
        let expected = [
            &b"chfrsnap"[..],
            &[0, 0, 0, 1, 0, 0, 0, 0x29],
            &crc32fast::hash(&bytes[..16]).to_be_bytes(),
        ];
        assert_eq!(bytes[..20], expected.concat());
        let header_end = 20 + 0x29;
        let header =
            [&[7][..], &[1, 2, 9], &[0], &[0, 0], &[5, 3, 1], &[9, 2, 0, 0, 0, 0, 1, 0, 0, 0]];
        assert_eq!(bytes[25..header_end], [&header.concat()[..], &[6; 16]].concat());
        let chunk = &bytes[header_end..];
        assert_eq!(chunk[..13], [0, 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 18]);
        let records = [&[0xf0, 1][..], &[0, 1, 0, 0, 0, 1], b"a1", &[0, 1, 0, 0, 0, 1], b"b2"];
        assert_eq!(chunk[17..35], records.concat());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = write(&few());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = read(&flipped).expect_err("a flipped bit");
            assert!(!matches!(error, SnapshotError::NewerFormat { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn a_flipped_bit_in_a_chunk_names_the_chunk() {
        let records: Vec<Whole> =
            (0..9u8).map(|key| (Table::Keys, vec![key], vec![key; 100_000])).collect();
        let mut writer = SnapshotWriter::new(Vec::new(), &header(&records)).unwrap();
        let mut noise = 1u64;
        for (table, key, value) in &records {
            // Bytes that do not compress, so that chunks have a length worth the name.
            let value: Vec<u8> = value
                .iter()
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect();
            writer.record(*table, key, &value).unwrap();
        }
        let (mut bytes, ..) = writer.finish().unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        let error = read(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "its chunk 1 is corrupt: its checksum does not match; fetch it again"
        );
    }

    #[test]
    fn every_truncation_is_found() {
        let bytes = write(&few());
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(matches!(error, SnapshotError::Truncated { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn what_is_after_the_end_is_refused() {
        let mut bytes = write(&few());
        bytes.push(0);
        assert!(matches!(read(&bytes), Err(SnapshotError::TrailingBytes)));
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = write(&few());
        bytes[..PREFIX_BYTES].copy_from_slice(&encode_prefix(2, 0x15));
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error, SnapshotError::NewerFormat { found: 2, newest: 1 }), "{error}");
        assert!(matches!(read(b"something of another kind"), Err(SnapshotError::NotASnapshot)));
    }

    #[test]
    fn records_left_out_are_found() {
        let records = few();
        let bytes = write_with(&header(&records), &records[1..]);
        let error = read(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "table keys has 1 records, its header says 2; fetch it again"
        );
    }

    #[test]
    fn a_length_of_four_gibibytes_takes_no_memory() {
        let mut bytes = write(&few());
        let prefix = encode_prefix(1, u32::MAX);
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
        assert!(matches!(read(&bytes), Err(SnapshotError::CorruptHeader { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_snapshot_survives_the_way_there_and_back(
            records in prop::collection::vec(
                (0..6usize, any::<[u8; 3]>(), any::<u8>(), 0..70_000usize), 0..40,
            ),
        ) {
            let mut records: Vec<Whole> = records
                .into_iter()
                .map(|(table, key, byte, length)| {
                    (Table::ALL[table], key.to_vec(), vec![byte; length])
                })
                .collect();
            records.sort();
            let (found, read) = read(&write(&records)).unwrap();
            prop_assert_eq!(found, header(&records));
            prop_assert!(read == records);
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let mut whole = encode_prefix(1, 0).to_vec();
            whole.extend(bytes);
            prop_assert!(read(&whole).is_err());
        }
    }
}
