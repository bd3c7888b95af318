//! The journal on a real disk: what it replays, what it takes for an end, and what for damage.
//!
//! The rule that all tests of damage hold it to: whatever is acknowledged is replayed, or a loss is
//! told; and a write that was cut short in any way is neither.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::record::decode_body;
use super::*;
use crate::consensus::{EncodedCommand, RaftEntry, RaftLogId};
use crate::storage::log::meta_layout::JournalRecord;
use crate::storage::log::write::Write;
use crate::types::LogId;

const SALT: u64 = 0x0102_0304_0506_0708;

fn entry(index: u64, payload: &[u8]) -> RaftEntry {
    RaftEntry {
        log_id: RaftLogId::new_term_index(1, index),
        payload: openraft::EntryPayload::Normal(EncodedCommand(payload.to_vec().into())),
    }
}

fn append(index: u64, payload_bytes: usize) -> Write {
    Write::Append(vec![entry(index, &vec![7; payload_bytes])])
}

fn last(index: u64) -> Option<LogId> {
    Some(LogId { term: 1, index })
}

/// A journal that is written as the writer thread does, and the tables beside it.
struct Log {
    directory: tempfile::TempDir,
    journal: Journal,
    held: JournalRecord,
    written: Vec<Write>,
    last: Option<LogId>,
}

impl Log {
    fn new(blocks: usize) -> Self {
        Self::begun(tempfile::tempdir().unwrap(), blocks, SALT)
    }

    fn begun(directory: tempfile::TempDir, blocks: usize, salt: u64) -> Self {
        let bytes = blocks * BLOCK_BYTES;
        let journal = Journal::create(directory.path(), bytes, salt, 0, false).unwrap();
        let held = JournalRecord {
            salt,
            segment_bytes: bytes as u64,
            sequence: 0,
            position: journal.position(),
            closed: false,
        };
        Self { directory, journal, held, written: Vec::new(), last: None }
    }

    /// Entries from 0 on, of so many bytes each.
    fn with(blocks: usize, payloads: &[usize]) -> Self {
        let mut log = Self::new(blocks);
        for (index, bytes) in payloads.iter().enumerate() {
            log.write(append(index as u64, *bytes));
        }
        log
    }

    fn write(&mut self, write: Write) {
        if let Write::Append(entries) = &write {
            self.last = entries.last().and_then(|entry| last(entry.log_id.index));
        }
        let mut record = Record::begin(Vec::new(), self.last);
        record.push(&write, &mut Vec::new());
        assert!(self.journal.takes(&record));
        if !self.journal.has_room(&record) {
            self.take_over();
            self.journal.switch();
        }
        self.journal.write(record).unwrap();
        self.written.push(write);
    }

    /// The tables hold all that was written so far.
    fn take_over(&mut self) {
        self.held.sequence = self.journal.sequence();
        self.held.position = self.journal.position();
        self.written.clear();
    }

    fn segment(&self, number: usize) -> PathBuf {
        segment_path(self.directory.path(), number)
    }

    fn bytes(&self, number: usize) -> Vec<u8> {
        std::fs::read(self.segment(number)).unwrap()
    }

    fn set(&self, number: usize, bytes: &[u8]) {
        std::fs::write(self.segment(number), bytes).unwrap();
    }

    fn replay(&self) -> Replay {
        replay(self.directory.path(), &self.held).unwrap()
    }

    /// Holds what is there to the rule; everything written was acknowledged. Answers the loss.
    fn check(&self, what: &str) -> Option<Loss> {
        let replay = self.replay();
        let kept = replay.writes.len();
        assert_eq!(replay.writes, self.written[..kept], "{what}");
        assert_eq!(replay.sequence, self.held.sequence + kept as u64, "{what}");
        let whole = kept == self.written.len();
        assert!(whole || replay.loss.is_some(), "{what}: {kept} writes, and nothing is told");
        assert!(replay.loss.is_none() || replay.damaged, "{what}");
        if let Some(loss) = &replay.loss {
            assert_eq!(loss.record, replay.sequence + 1, "{what}");
            assert!(whole || loss.last.is_none_or(|it| Some(it) >= self.last), "{what}: {loss:?}");
        }
        replay.loss
    }
}

#[test]
fn every_kind_of_write_is_replayed_in_order_across_segments() {
    let mut log = Log::new(5);
    let writes = [
        append(7, 10),
        append(8, 5000),
        Write::Truncate(8),
        Write::Purge(RaftLogId::new_term_index(1, 6)),
        Write::SaveCommitted(RaftLogId::new_term_index(1, 7)),
        Write::MadeGood,
    ];
    let held = log.held;
    for one in &writes {
        log.write(one.clone());
    }
    log.held = held;
    let replay = log.replay();
    assert_eq!(replay.writes, writes);
    assert_eq!((replay.sequence, replay.loss, replay.damaged), (6, None, false));
}

#[test]
fn what_the_tables_hold_is_not_replayed_and_nothing_of_a_closed_journal_is() {
    let mut log = Log::with(8, &[10, 10, 10]);
    log.take_over();
    log.write(append(3, 10));
    assert_eq!(log.check("one more"), None);
    assert_eq!((log.replay().writes.len(), log.replay().sequence), (1, 4));
    log.held.closed = true;
    log.set(0, &[]);
    assert_eq!(log.replay(), Replay { sequence: 3, ..Replay::default() });
}

#[test]
fn another_run_s_records_are_not_replayed() {
    let log = Log::with(8, &[10, 10, 6000]);
    drop(Journal::create(log.directory.path(), 8 * BLOCK_BYTES, SALT + 1, 3, false).unwrap());
    let held =
        JournalRecord { salt: SALT + 1, sequence: 3, position: JournalPosition::FIRST, ..log.held };
    let found = replay(log.directory.path(), &held).unwrap();
    assert_eq!(found, Replay { sequence: 3, ..Replay::default() });
}

/// Every block of the record under way is what it was to be or what was there before.
#[test]
fn a_record_under_way_may_be_cut_short_in_every_way() {
    const BLOCKS: usize = 5;
    // Before it: nothing but filling blocks; or another run's records; or an earlier turn's.
    let fresh = || Log::with(12, &[10, 5000]);
    let reused = || {
        let mut other = Log::begun(tempfile::tempdir().unwrap(), 12, SALT ^ 1);
        (0..11).for_each(|index| other.write(append(index, 4000)));
        let mut log = Log::begun(other.directory, 12, SALT);
        log.write(append(0, 10));
        log.write(append(1, 5000));
        log
    };
    let turned = || {
        let mut log = Log::with(12, &[4000; 22]);
        log.take_over();
        log.journal.switch();
        log.write(append(22, 10));
        log.write(append(23, 5000));
        log
    };
    let makers: [(&str, &dyn Fn() -> Log); 3] =
        [("fresh", &fresh), ("reused", &reused), ("turned", &turned)];
    for (name, make) in makers {
        let mut log = make();
        let before = log.bytes(0);
        let begin = log.journal.position();
        assert_eq!(begin.segment, 0);
        let acknowledged = log.written.clone();
        let index = acknowledged.len() as u64 + 22;
        log.write(append(index, (BLOCKS - 1) * 4048 + 100));
        assert_eq!(log.journal.position(), begin.plus(BLOCKS));
        let after = log.bytes(0);
        for mask in 0..1 << BLOCKS {
            let mut bytes = before.clone();
            for block in (0..BLOCKS).filter(|block| mask & (1 << block) != 0) {
                let at = (begin.block as usize + block) * BLOCK_BYTES;
                bytes[at..at + BLOCK_BYTES].copy_from_slice(&after[at..at + BLOCK_BYTES]);
            }
            log.set(0, &bytes);
            let replay = log.replay();
            assert_eq!((&replay.loss, replay.damaged), (&None, false), "{name}, blocks {mask:b}");
            let whole = mask == (1 << BLOCKS) - 1;
            let expected = if whole { &log.written } else { &acknowledged };
            assert_eq!(replay.writes, *expected, "{name}, blocks {mask:b}");
        }
    }
}

/// The same for a record that did not fit and went to the other segment.
#[test]
fn a_record_under_way_may_be_cut_short_in_the_other_segment() {
    let mut log = Log::with(4, &[10, 10]);
    let before = log.bytes(1);
    let held = log.held;
    let acknowledged = log.written.clone();
    log.write(append(2, 8000));
    log.held = held;
    let after = log.bytes(1);
    for mask in 0..4 {
        let mut bytes = before.clone();
        for block in (0..2).filter(|block| mask & (1 << block) != 0) {
            let at = (1 + block) * BLOCK_BYTES;
            bytes[at..at + BLOCK_BYTES].copy_from_slice(&after[at..at + BLOCK_BYTES]);
        }
        log.set(1, &bytes);
        let replay = log.replay();
        assert_eq!((replay.loss, replay.damaged), (None, false), "blocks {mask:b}");
        assert_eq!(replay.writes.len(), if mask == 3 { 3 } else { 2 }, "blocks {mask:b}");
        assert_eq!(replay.writes[..2], acknowledged);
    }
}

#[test]
fn a_flipped_bit_in_the_last_record_is_a_loss_that_names_the_block() {
    let log = Log::with(8, &[10, 10]);
    let mut bytes = log.bytes(0);
    bytes[2 * BLOCK_BYTES + 100] ^= 4;
    log.set(0, &bytes);
    let loss = log.check("the last record").unwrap();
    assert_eq!(loss.record, 2);
    assert_eq!(loss.reason, "block 2 of journal.0 is damaged");
    assert_eq!(loss.last, None, "nothing that can be read tells what was in it");
}

#[test]
fn what_was_lost_is_known_when_any_block_of_the_last_record_can_be_read() {
    let log = Log::with(8, &[10, 10, 6000]);
    for block in [1, 2, 3, 4] {
        let whole = log.bytes(0);
        let mut bytes = whole.clone();
        bytes[block * BLOCK_BYTES + 9] ^= 1;
        log.set(0, &bytes);
        let loss = log.check("any block").unwrap();
        assert_eq!(loss.last, last(2), "block {block}");
        log.set(0, &whole);
    }
}

#[test]
fn flipped_bits_all_over_acknowledged_blocks_are_told() {
    // Whole blocks of small records; the last spans two.
    let log = Log::with(8, &[10, 900, 5000]);
    let whole = log.bytes(0);
    for bit in (BLOCK_BYTES * 8..5 * BLOCK_BYTES * 8).step_by(331) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        log.set(0, &bytes);
        assert!(log.check(&format!("bit {bit}")).is_some(), "bit {bit}");
    }
}

#[test]
fn a_damaged_header_or_a_damaged_block_that_holds_nothing_costs_nothing() {
    let log = Log::with(8, &[10, 900]);
    for (segment, block) in [(0, 0), (0, 5), (1, 3)] {
        let whole = log.bytes(segment);
        let mut bytes = whole.clone();
        bytes[block * BLOCK_BYTES + 70] ^= 1;
        log.set(segment, &bytes);
        let replay = log.replay();
        assert_eq!((replay.writes.len(), replay.loss), (2, None), "{segment} {block}");
        assert!(replay.damaged, "so that it is made anew");
        log.set(segment, &whole);
    }
}

#[test]
fn segments_that_are_gone_cut_zeroed_or_another_journal_s_are_named() {
    let both = || {
        let mut log = Log::with(4, &[10, 10, 10]);
        let held = log.held;
        let written = log.written.clone();
        log.write(append(3, 10));
        log.held = held;
        log.written = [written, vec![append(3, 10)]].concat();
        assert_eq!(log.check("whole"), None);
        log
    };
    for segment in [0, 1] {
        let log = both();
        let name = format!("journal.{segment}");
        let whole = log.bytes(segment);
        let other = Log::begun(tempfile::tempdir().unwrap(), 4, SALT ^ 1);
        let cases: [(&str, Vec<u8>, String); 5] = [
            ("emptied", vec![], format!("{name} is missing or empty")),
            ("cut in a block", whole[..5000].to_vec(), format!("{name} has 5000 bytes of 16384")),
            ("cut", whole[..4096].to_vec(), format!("{name} has 4096 bytes of 16384")),
            ("zeroed", vec![0; whole.len()], format!("block 1 of {name} is damaged")),
            ("another", other.bytes(segment), "record".to_owned()),
        ];
        for (what, bytes, reason) in cases {
            log.set(segment, &bytes);
            let loss = log.check(&format!("{name} {what}"));
            let loss = loss.unwrap_or_else(|| panic!("{name} {what}: nothing told"));
            let foreign = format!("{name} belongs to another journal");
            let named = loss.reason.contains(&reason) || loss.reason == foreign;
            assert!(named, "{name} {what}: {}", loss.reason);
        }
        std::fs::remove_file(log.segment(segment)).unwrap();
        let loss = log.check("gone").unwrap();
        assert_eq!(loss.reason, format!("{name} is missing or empty"));
    }
}

/// A record that the disk wrote elsewhere, and one that it never wrote.
#[test]
fn writes_that_went_astray_or_were_lost_before_a_later_one_are_told() {
    let log = Log::with(8, &[10, 10, 10]);
    let whole = log.bytes(0);
    let block = |number: usize| number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES;
    let filling = whole[block(6)].to_vec();

    let mut lost = whole.clone();
    lost[block(2)].copy_from_slice(&filling);
    log.set(0, &lost);
    assert!(log.check("lost").unwrap().reason.starts_with("record 2 is gone and record 3"));

    let mut astray = whole.clone();
    astray.copy_within(block(3), block(6).start);
    astray[block(3)].copy_from_slice(&filling);
    log.set(0, &astray);
    assert!(log.check("astray").unwrap().reason.starts_with("record 3 is gone and record 3"));

    let mut over = whole.clone();
    over.copy_within(block(3), block(1).start);
    log.set(0, &over);
    assert!(log.check("over another").is_some());
}

#[test]
fn no_single_fault_in_a_random_journal_goes_untold() {
    let seed = std::env::var("CHAINFIRE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_260_801);
    println!("CHAINFIRE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut faults, mut losses) = (0, 0);
    for round in 0..40 {
        let mut log = Log::new(16);
        for index in 0..random.random_range(1..40) {
            if random.random_bool(0.2) {
                log.take_over();
            }
            log.write(append(index, random.random_range(0..9000)));
        }
        assert_eq!(log.check("whole"), None, "round {round}");
        for fault in 0..20 {
            let segment = random.random_range(0..SEGMENTS);
            let whole = log.bytes(segment);
            let mut bytes = whole.clone();
            let block = random.random_range(0..16) * BLOCK_BYTES;
            let kind = random.random_range(0..4);
            match kind {
                0 => bytes[block + random.random_range(0..BLOCK_BYTES)] ^= 1 << (fault % 8),
                1 => bytes[block..block + BLOCK_BYTES].fill(0),
                2 => bytes.truncate(block + random.random_range(0..BLOCK_BYTES)),
                _ => bytes.fill(0),
            }
            log.set(segment, &bytes);
            let what = format!("round {round}, fault {fault} of kind {kind}");
            losses += usize::from(log.check(&what).is_some());
            faults += 1;
            log.set(segment, &whole);
        }
    }
    assert!(losses > faults / 4, "the faults hit what counts: {losses} of {faults}");
}

/// What a client stores is never taken for a record, wherever it comes to lie.
#[test]
fn a_value_made_like_a_block_is_not_one() {
    let mut forged = Record::begin(Vec::new(), None);
    forged.push(&append(70, 10), &mut Vec::new());
    let forged = AlignedBuffer::default().filled(&forged, SALT, 2).to_vec();
    let mut log = Log::new(8);
    log.write(Write::Append(vec![entry(0, &[forged.clone(), forged].concat())]));
    assert_eq!(log.check("whole"), None);
    let bytes = log.bytes(0);
    let place = bytes.windows(4).position(|four| four == b"CFJ2");
    assert_eq!(place, Some(4), "a block's own header stands where a block begins, and no other");
}

#[test]
fn a_body_that_is_none_is_told_and_does_not_panic() {
    for body in [&[1][..], &[1, 0, 0, 0, 0], &[9, 0, 0, 0, 0], &[3, 255, 255, 255, 255, 1]] {
        assert_eq!(decode_body(body), None, "{body:?}");
    }
    assert_eq!(decode_body(&[]), Some(vec![]));
}

#[test]
fn the_body_of_a_record_is_pinned() {
    let mut record = Record::begin(b"what was there".to_vec(), last(1));
    let mut scratch = Vec::new();
    record.push(&Write::Truncate(300), &mut scratch);
    record.push(&Write::MadeGood, &mut scratch);
    assert_eq!(record.push(&Write::Append(vec![entry(1, b"c")]), &mut scratch), 5 + 5 + 5);
    let body = record.body();
    assert_eq!(body[..13], [3, 8, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(body[13..18], [6, 0, 0, 0, 0]);
    assert_eq!(body[18..24], [1, 10, 0, 0, 0, 1]);
    assert_eq!(body[28..], [1, 1, 1, 1, b'c']);
}

#[test]
fn segments_of_another_size_are_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    for bytes in [1, 3 * BLOCK_BYTES, 2 * BLOCK_BYTES] {
        let bytes = segment_bytes(bytes);
        drop(Journal::create(directory.path(), bytes, SALT, 0, false).unwrap());
        let length = std::fs::metadata(segment_path(directory.path(), 0)).unwrap().len();
        assert_eq!(length, bytes as u64);
    }
    assert_eq!((segment_bytes(0), segment_bytes(1)), (0, 2 * BLOCK_BYTES));
}
