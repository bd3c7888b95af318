//! Random requests that are likely to matter: few keys, so that they meet; revisions near the
//! edges of what is readable; values large enough, at times, to fill an answer.

use bytes::Bytes;
use chainfire::types::{
    CompactRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange,
    Operation, PeerAddress, PutRequest, RangeRequest, Sort, SortOrder, SortTarget, TxnOperation,
    TxnRequest,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const KEYS: [&[u8]; 13] = [
    b"a",
    b"a\0",
    b"a\xff",
    b"aa",
    b"ab",
    b"b",
    b"ba",
    b"c",
    b"d",
    b"\0",
    b"\xff",
    b"\xff\xff",
    b"z",
];

const VALUES: [&[u8]; 6] = [b"", b"0", b"1", b"11", b"2", b"\xff"];

/// The revisions of a store, between which reads are worth their while.
#[derive(Clone, Copy)]
pub(crate) struct Revisions {
    pub(crate) compacted: u64,
    pub(crate) current: u64,
}

pub(crate) struct Generator {
    rng: StdRng,
    /// Values of which a few fill an answer; none in most histories.
    large_values: Vec<Bytes>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let large = |byte, bytes| Bytes::from(vec![byte; bytes]);
        let large_values = match rng.random_ratio(1, 4) {
            true => vec![large(b'l', 400_000), large(b'm', 700_000), large(b'n', 1_500_000)],
            false => Vec::new(),
        };
        Self { rng, large_values }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound)
    }

    /// Whether something happens that happens in `percent` of cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    pub(crate) fn client_id(&mut self) -> u128 {
        self.rng.random()
    }

    pub(crate) fn operation(&mut self, revisions: Revisions) -> Operation {
        match self.below(100) {
            0..40 => Operation::Put(self.put()),
            40..55 => Operation::DeleteRange(self.delete()),
            55..93 => Operation::Txn(self.txn(revisions)),
            93..98 => Operation::Compact(CompactRequest {
                // Rarely far ahead, so that there is history to read.
                revision: match self.chance(30) {
                    true => self.revision(revisions),
                    false => revisions.compacted + self.below(4),
                },
            }),
            _ => Operation::RegisterMember {
                node_id: self.below(5),
                address: PeerAddress { name: "n".to_owned(), peer_addr: "h:1".to_owned() },
                client_addr: "h:2".to_owned(),
            },
        }
    }

    pub(crate) fn txn(&mut self, revisions: Revisions) -> TxnRequest {
        match self.below(60) {
            0 => self.oversize_txn(revisions),
            _ => self.txn_at(1, 70, revisions),
        }
    }

    pub(crate) fn read_txn(&mut self, revisions: Revisions) -> TxnRequest {
        let writes_percent = if self.chance(5) { 70 } else { 0 };
        self.txn_at(1, writes_percent, revisions)
    }

    fn txn_at(&mut self, depth: u32, writes_percent: u32, revisions: Revisions) -> TxnRequest {
        let compares = (0..self.below(3)).map(|_| self.compare(revisions)).collect();
        let mut branch = || -> Vec<TxnOperation> {
            let length = self.below(5);
            (0..length).map(|_| self.txn_operation(depth, writes_percent, revisions)).collect()
        };
        TxnRequest { compares, success: branch(), failure: branch() }
    }

    fn txn_operation(
        &mut self,
        depth: u32,
        writes_percent: u32,
        revisions: Revisions,
    ) -> TxnOperation {
        if depth < 4 && self.chance(15) {
            return TxnOperation::Txn(self.txn_at(depth + 1, writes_percent, revisions));
        }
        if !self.chance(writes_percent) {
            TxnOperation::Range(self.range(revisions))
        } else if self.chance(70) {
            TxnOperation::Put(self.put())
        } else {
            TxnOperation::DeleteRange(self.delete())
        }
    }

    /// One that breaks a limit: too long, too deep, too much in all.
    fn oversize_txn(&mut self, revisions: Revisions) -> TxnRequest {
        let one = TxnOperation::Range(self.range(revisions));
        let wide =
            |length| TxnRequest { success: vec![one.clone(); length], ..TxnRequest::default() };
        match self.below(4) {
            0 => wide(129),
            1 => TxnRequest {
                failure: vec![TxnOperation::Txn(wide(128)); 12],
                ..TxnRequest::default()
            },
            2 => (0..8 + self.below(3)).fold(wide(1), |inner, _| TxnRequest {
                success: vec![TxnOperation::Txn(inner)],
                ..TxnRequest::default()
            }),
            _ => TxnRequest {
                success: (0..2).map(|_| TxnOperation::Put(self.put_of(800_000))).collect(),
                ..TxnRequest::default()
            },
        }
    }

    fn put_of(&mut self, value_bytes: usize) -> PutRequest {
        PutRequest { key: self.key(), value: vec![0; value_bytes].into(), ..PutRequest::default() }
    }

    fn put(&mut self) -> PutRequest {
        let ignore_value = self.chance(10);
        PutRequest {
            key: self.key(),
            value: if ignore_value && self.chance(90) { Bytes::new() } else { self.value() },
            lease: if self.chance(2) { 7 } else { 0 },
            prev_kv: self.chance(30),
            ignore_value,
            ignore_lease: self.chance(10),
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest { range: self.key_range(), prev_kv: self.chance(40) }
    }

    pub(crate) fn range(&mut self, revisions: Revisions) -> RangeRequest {
        let filter = |this: &mut Self| match this.chance(8) {
            true => this.revision(revisions),
            false => 0,
        };
        RangeRequest {
            range: if self.chance(30) { KeyRange::all() } else { self.key_range() },
            limit: if self.chance(50) { 0 } else { 1 + self.below(5) },
            revision: if self.chance(60) { 0 } else { self.revision(revisions) },
            sort: self.sort(),
            keys_only: self.chance(15),
            count_only: self.chance(8),
            skip_count: self.chance(25),
            serializable: self.chance(20),
            min_mod_revision: filter(self),
            max_mod_revision: filter(self),
            min_create_revision: filter(self),
            max_create_revision: filter(self),
        }
    }

    fn sort(&mut self) -> Option<Sort> {
        if self.chance(35) {
            return None;
        }
        let targets = [
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::CreateRevision,
            SortTarget::ModRevision,
            SortTarget::Value,
        ];
        let target = self.one_of(&targets);
        Some(Sort { target, order: self.one_of(&[SortOrder::Ascending, SortOrder::Descending]) })
    }

    fn compare(&mut self, revisions: Revisions) -> Compare {
        let target = match self.below(5) {
            0 => CompareTarget::Version(self.below(4)),
            1 => CompareTarget::CreateRevision(self.revision(revisions)),
            2 => CompareTarget::ModRevision(self.revision(revisions)),
            3 => CompareTarget::Value(self.value()),
            _ => CompareTarget::Lease(self.below(2) as i64),
        };
        let operators = [
            CompareOperator::Equal,
            CompareOperator::NotEqual,
            CompareOperator::Less,
            CompareOperator::Greater,
        ];
        Compare { range: self.key_range(), target, operator: self.one_of(&operators) }
    }

    /// From a little below what is readable to a little above; 0 among them.
    fn revision(&mut self, revisions: Revisions) -> u64 {
        let low = revisions.compacted.saturating_sub(2);
        low + self.below(revisions.current + 3 - low)
    }

    fn key(&mut self) -> Bytes {
        match self.below(300) {
            0 => Bytes::new(),
            1 => vec![b'k'; 1_024].into(),
            2 => vec![b'k'; 1_025].into(),
            _ => Bytes::from_static(self.one_of(&KEYS)),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.large_values.choose(&mut self.rng) {
            Some(large) if self.rng.random_ratio(1, 3) => large.clone(),
            _ => Bytes::from_static(self.one_of(&VALUES)),
        }
    }

    fn key_range(&mut self) -> KeyRange {
        match self.below(100) {
            0..45 => KeyRange::single(self.key()),
            45..75 => KeyRange::between(self.key(), self.key()),
            75..85 => KeyRange::from(self.key()),
            85..95 => KeyRange::prefix(self.key()),
            95..98 => KeyRange::all().after(&self.key()),
            _ => KeyRange::all(),
        }
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.rng).expect("there is something to choose from")
    }
}
