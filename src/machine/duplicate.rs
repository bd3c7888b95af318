//! No key is changed twice in one revision.
//!
//! A transaction that puts a key twice, or puts a key that one of its deletes covers, has no
//! meaning that its writer would agree on, so it is refused, as etcd does: in either branch,
//! nested ones included, before anything is applied. Branches that exclude each other may change
//! the same key. Deletes may overlap: the second finds nothing.
//!
//! etcd lets one case pass, a put in one nested transaction and a delete of it in a *later*
//! one beside it. It is refused here like its mirror image.

use std::collections::BTreeSet;

use crate::types::{KeyRange, OperationError, TxnOperation, TxnRequest};

/// What one operation, or one branch, may write.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a KeyRange>,
}

/// Refuses a transaction that changes a key twice in either of its branches.
pub(super) fn refuse_duplicate_keys(request: &TxnRequest) -> Result<(), OperationError> {
    writes_of_branch(&request.success)?;
    writes_of_branch(&request.failure)?;
    Ok(())
}

/// What a branch may write, if no two of its operations change the same key.
fn writes_of_branch(operations: &[TxnOperation]) -> Result<Writes<'_>, OperationError> {
    let writes = operations
        .iter()
        .map(|operation| match operation {
            TxnOperation::Range(_) => Ok(Writes::default()),
            TxnOperation::Put(request) => {
                Ok(Writes { puts: BTreeSet::from([&request.key[..]]), deletes: Vec::new() })
            }
            TxnOperation::DeleteRange(request) => {
                Ok(Writes { puts: BTreeSet::new(), deletes: vec![&request.range] })
            }
            TxnOperation::Txn(nested) => writes_of_either_branch(nested),
        })
        .collect::<Result<Vec<_>, _>>()?;
    refuse_covered(writes.iter())?;
    refuse_covered(writes.iter().rev())?;

    let mut all = Writes::default();
    for one in writes {
        for key in one.puts {
            if !all.puts.insert(key) {
                return Err(OperationError::DuplicateKey);
            }
        }
        all.deletes.extend(one.deletes);
    }
    Ok(all)
}

/// What a nested transaction may write, whichever branch it takes.
fn writes_of_either_branch(request: &TxnRequest) -> Result<Writes<'_>, OperationError> {
    let mut either = writes_of_branch(&request.success)?;
    let failure = writes_of_branch(&request.failure)?;
    either.puts.extend(failure.puts);
    either.deletes.extend(failure.deletes);
    Ok(either)
}

/// Refuses a put that a delete of a later step covers. Given the steps in both directions it
/// finds every put and delete of two different steps that meet, without comparing each with each.
fn refuse_covered<'a>(steps: impl Iterator<Item = &'a Writes<'a>>) -> Result<(), OperationError> {
    let mut puts: BTreeSet<&[u8]> = BTreeSet::new();
    for step in steps {
        for range in &step.deletes {
            if puts.range::<[u8], _>(range.bounds()).next().is_some() {
                return Err(OperationError::DuplicateKey);
            }
        }
        puts.extend(&step.puts);
    }
    Ok(())
}
