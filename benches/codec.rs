//! What it costs to put a leader's batch into a frame and to take it out: 64 entries of 256 bytes.

use std::hint::black_box;

use bytes::BytesMut;
use chainfire::rpc::peer::{AppendRequest, PeerRequest};
use chainfire::rpc::transport::{decode_call, encode_call};
use chainfire::types::{LogEntry, LogEntryPayload, LogId, Vote};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tarpc::{ClientMessage, Request};

const ENTRIES: u64 = 64;
const ENTRY_BYTES: usize = 256;

fn batch() -> ClientMessage<PeerRequest> {
    let entry = |index| LogEntry {
        log_id: LogId { term: 7, index: 1_000_000 + index },
        payload: LogEntryPayload::Command(vec![index as u8; ENTRY_BYTES].into()),
    };
    let request = AppendRequest {
        vote: Vote { term: 7, node_id: 1, committed: true },
        prev_log_id: Some(LogId { term: 7, index: 999_999 }),
        entries: (0..ENTRIES).map(entry).collect(),
        leader_commit: Some(LogId { term: 7, index: 999_990 }),
    };
    let message = PeerRequest::Append { request };
    ClientMessage::Request(Request { context: tarpc::context::current(), id: 77, message })
}

fn codec(criterion: &mut Criterion) {
    let message = batch();
    let mut body = BytesMut::new();
    encode_call(&message, &mut body).expect("a batch can be encoded");
    let mut group = criterion.benchmark_group("append of 64 entries of 256 bytes");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let mut out = BytesMut::with_capacity(body.len());
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_call(black_box(&message), &mut out).expect("a batch can be encoded");
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode_call::<PeerRequest>(black_box(&body)).expect("a good body"));
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
