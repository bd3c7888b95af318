//! What the fuzz targets reach of the gateway's JSON. Compiled for them only.

use serde::Deserialize;

use super::requests::{CompactionJson, DeleteRangeJson, PutJson, RangeJson, TxnJson, read};
use crate::machine;
use crate::types::{Operation, TxnRequest};

/// A body, read as each kind of request, and what it asks held against the rules.
pub fn body(bytes: &[u8]) {
    fn parsed<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
        read(bytes).ok()
    }
    // Any outcome is right; a panic is not.
    if let Some(range) = parsed::<RangeJson>(bytes) {
        let _ = machine::validate_range(&range.into());
    }
    let writes = [
        parsed::<PutJson>(bytes).map(|put| Operation::Put(put.into())),
        parsed::<DeleteRangeJson>(bytes).map(|delete| Operation::DeleteRange(delete.into())),
        parsed::<CompactionJson>(bytes).map(|compaction| Operation::Compact(compaction.into())),
        parsed::<TxnJson>(bytes).and_then(|txn| TxnRequest::try_from(txn).ok()).map(Operation::Txn),
    ];
    for operation in writes.into_iter().flatten() {
        let _ = machine::validate(&operation);
    }
}
