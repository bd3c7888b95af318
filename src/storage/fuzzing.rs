//! What the fuzz targets reach of the disk's formats. Compiled for them only.
//!
//! Most records carry a checksum, which no fuzzer guesses. So every decoder is tried twice: on the
//! bytes as they are, and on the bytes as the body of a record whose checksum is right. Where
//! there is an encoder, what decodes must encode to something that decodes to the same.

use std::fmt::Debug;

use super::envelope::{self, ENVELOPE_BYTES};
use super::identity::Identity;
use super::snapshot::format::{CHUNK_HEADER_BYTES, ChunkHeader};
use super::snapshot::{RecordCounts, SnapshotHeader, SnapshotReader, SnapshotWriter};
use super::state::layout::answers::{decode_answer, encode_answer};
use super::state::layout::history::{decode_history_record, encode_history_record};
use super::state::layout::keys::{decode_key_record, encode_key_record};
use super::state::layout::members::{decode_member, encode_member};
use super::state::layout::meta::{LAYOUT_VERSION, StateMeta, decode_meta, encode_meta};
use super::state::layout::sessions::{decode_session, encode_session};
use super::state::layout::{LayoutError, Table};
use crate::types::{ClusterId, MembershipConfig};

/// The one version of every envelope so far.
const VERSION: u8 = 1;

/// Tries `bytes` as they are and as the body of an envelope with the right checksum.
pub(super) fn tried_twice(bytes: &[u8], attempt: impl Fn(&[u8])) {
    attempt(bytes);
    let mut sealed = envelope::seal(VERSION, &());
    sealed.extend_from_slice(bytes);
    let checksum = envelope::checksum(VERSION, bytes);
    sealed[1..ENVELOPE_BYTES].copy_from_slice(&checksum.to_le_bytes());
    attempt(&sealed);
}

/// The identity and the format of a data directory.
pub fn data_directory(bytes: &[u8]) {
    tried_twice(bytes, |bytes| {
        if let Ok(identity) = envelope::unseal::<Identity>(VERSION, bytes) {
            let again = envelope::unseal(VERSION, &envelope::seal(VERSION, &identity));
            assert_eq!(again, Ok(identity));
        }
    });
    if let Some(version) = super::data_dir::parse_format_line(bytes) {
        assert_eq!(super::data_dir::format_line(version).as_bytes(), bytes);
    }
}

/// Real files of a data directory, bodies of envelopes among them.
pub fn data_directory_seeds() -> Vec<Vec<u8>> {
    let identity =
        Identity { cluster_id: ClusterId(7), node_id: 3, incarnation: u128::MAX, name: "n".into() };
    vec![body(envelope::seal(VERSION, &identity)), super::data_dir::format_line(1).into_bytes()]
}

/// Every kind of record in the state's tables.
pub fn state_records(bytes: &[u8]) {
    if let Ok(record) = decode_key_record(bytes) {
        let mut again = Vec::new();
        encode_key_record(&mut again, &record);
        assert_eq!(again, bytes);
    }
    if let Ok(record) = decode_history_record(bytes) {
        let mut again = Vec::new();
        encode_history_record(&mut again, &record);
        assert_eq!(again, bytes);
    }
    tried_twice(bytes, |bytes| {
        decodes_to_the_same(bytes, decode_meta, encode_meta);
        decodes_to_the_same(bytes, decode_session, encode_session);
        decodes_to_the_same(bytes, decode_member, encode_member);
        decodes_to_the_same(bytes, decode_answer, encode_answer);
    });
}

/// Real records, bodies of envelopes among them.
pub fn state_records_seeds() -> Vec<Vec<u8>> {
    vec![body(encode_meta(&StateMeta::empty())), vec![0; 64], vec![1; 64]]
}

/// A snapshot file: the bytes as a file, and as the chunks of a file whose header and checksums
/// are right.
pub fn snapshot(bytes: &[u8]) {
    read_to_the_end(bytes);
    let header = SnapshotHeader {
        cluster_id: ClusterId(1),
        last_log_id: None,
        membership_log_id: None,
        membership: MembershipConfig::default(),
        revision: 1,
        compact_revision: 0,
        layout_version: LAYOUT_VERSION,
        hash: crate::types::StateHash::EMPTY,
        records: RecordCounts::default(),
    };
    let Ok((mut file, _, digest)) =
        SnapshotWriter::new(Vec::new(), &header).and_then(|w| w.finish())
    else {
        unreachable!("a vector takes every byte")
    };
    file.truncate(file.len() - digest.len() - CHUNK_HEADER_BYTES);
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<CHUNK_HEADER_BYTES>() {
        let Some((mut chunk, _)) = ChunkHeader::decode(chunk) else { break };
        let (stored, after) = after.split_at(after.len().min(chunk.stored_bytes as usize));
        chunk.stored_bytes = stored.len() as u32;
        file.extend_from_slice(&chunk.encode(stored));
        file.extend_from_slice(stored);
        rest = after;
    }
    read_to_the_end(&file);
}

/// A real file, and a chunk.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let raw = b"\0\x03\0\0\0\x05keyvalue";
    let stored = lz4_flex::block::compress(raw);
    let chunk = ChunkHeader {
        table: Some(Table::Keys),
        records: 1,
        raw_bytes: raw.len() as u32,
        stored_bytes: stored.len() as u32,
    };
    let mut bytes = chunk.encode(&stored).to_vec();
    bytes.extend_from_slice(&stored);
    vec![bytes]
}

fn read_to_the_end(bytes: &[u8]) {
    let Ok(mut reader) = SnapshotReader::open(bytes) else { return };
    while let Ok(Some(mut chunk)) = reader.next_chunk() {
        while let Ok(Some(_)) = chunk.next_record() {}
    }
}

fn decodes_to_the_same<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        assert_eq!(decode(&encode(&value)), Ok(value));
    }
}

pub(super) fn body(mut sealed: Vec<u8>) -> Vec<u8> {
    sealed.split_off(ENVELOPE_BYTES)
}
