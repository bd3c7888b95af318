//! Transactions.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;

use super::Client;
use super::builder::ClientBuilder;
use super::error::{Error, Failure};
use super::write::{Sending, unexpected};
use crate::rpc::api::StoreClient;
use crate::types::limits::TXN_DEPTH_MAX;
use crate::types::{
    Answer, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange, Operation,
    OperationError, PutRequest, RangeRequest, TxnAnswer, TxnOperation, TxnRequest,
};

/// What a transaction does: when every condition holds, one list of steps, else the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a transaction is sent by Client::txn"]
pub struct Txn {
    request: TxnRequest,
}

impl Txn {
    /// Without conditions and steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds conditions, all of which must hold. None = they hold.
    pub fn when(mut self, conditions: impl IntoIterator<Item = Compare>) -> Self {
        self.request.compares.extend(conditions);
        self
    }

    /// Adds steps to do when every condition holds.
    pub fn then(mut self, steps: impl IntoIterator<Item = TxnOperation>) -> Self {
        self.request.success.extend(steps);
        self
    }

    /// Adds steps to do otherwise.
    pub fn or_else(mut self, steps: impl IntoIterator<Item = TxnOperation>) -> Self {
        self.request.failure.extend(steps);
        self
    }
}

impl From<Txn> for TxnRequest {
    fn from(txn: Txn) -> Self {
        txn.request
    }
}

impl From<TxnRequest> for Txn {
    fn from(request: TxnRequest) -> Self {
        Self { request }
    }
}

/// The left-hand side of a condition; one of `equals`, `differs`, `less_than` and `greater_than`
/// completes it. A key that does not exist has 0 everywhere, and no value: every condition on
/// the value of a missing key is false.
#[derive(Clone, Debug)]
#[must_use = "complete it with equals, differs, less_than or greater_than"]
pub struct Condition<T> {
    range: KeyRange,
    target: fn(T) -> CompareTarget,
}

impl Condition<u64> {
    /// On the number of puts since the key was created; 0 = it does not exist.
    pub fn version(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::single(key), target: CompareTarget::Version }
    }

    /// On the main revision of the key's creation.
    pub fn create_revision(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::single(key), target: CompareTarget::CreateRevision }
    }

    /// On the main revision of the key's last change.
    pub fn mod_revision(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::single(key), target: CompareTarget::ModRevision }
    }
}

impl Condition<Bytes> {
    /// On the value.
    pub fn value(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::single(key), target: CompareTarget::Value }
    }
}

impl Condition<i64> {
    /// On the attached lease; 0 = none.
    pub fn lease(key: impl Into<Bytes>) -> Self {
        Self { range: KeyRange::single(key), target: CompareTarget::Lease }
    }
}

impl<T> Condition<T> {
    /// For every key of `range` instead of one.
    pub fn over(mut self, range: KeyRange) -> Self {
        self.range = range;
        self
    }

    /// stored = given
    pub fn equals(self, given: impl Into<T>) -> Compare {
        self.compare(CompareOperator::Equal, given.into())
    }

    /// stored != given
    pub fn differs(self, given: impl Into<T>) -> Compare {
        self.compare(CompareOperator::NotEqual, given.into())
    }

    /// stored < given
    pub fn less_than(self, given: impl Into<T>) -> Compare {
        self.compare(CompareOperator::Less, given.into())
    }

    /// stored > given
    pub fn greater_than(self, given: impl Into<T>) -> Compare {
        self.compare(CompareOperator::Greater, given.into())
    }

    fn compare(self, operator: CompareOperator, given: T) -> Compare {
        Compare { range: self.range, target: (self.target)(given), operator }
    }
}

/// Makes the steps of a transaction. For every option of a step, build the [`TxnOperation`] from
/// its request.
#[derive(Clone, Copy, Debug)]
pub struct Step;

impl Step {
    /// Stores one pair.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> TxnOperation {
        let (key, value) = (key.into(), value.into());
        TxnOperation::Put(PutRequest { key, value, ..PutRequest::default() })
    }

    /// Reads one key.
    pub fn get(key: impl Into<Bytes>) -> TxnOperation {
        Self::range(KeyRange::single(key))
    }

    /// Reads a range.
    pub fn range(range: KeyRange) -> TxnOperation {
        TxnOperation::Range(RangeRequest::new(range))
    }

    /// Deletes one key.
    pub fn delete(key: impl Into<Bytes>) -> TxnOperation {
        Self::delete_range(KeyRange::single(key))
    }

    /// Deletes a range.
    pub fn delete_range(range: KeyRange) -> TxnOperation {
        TxnOperation::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
    }

    /// A transaction inside.
    pub fn txn(txn: Txn) -> TxnOperation {
        TxnOperation::Txn(txn.into())
    }
}

/// A transaction to send; made by [`Client::txn`]. Await it to send it.
///
/// One that cannot write does not go through the log, and may be asked to be serializable.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct SendTxn {
    client: Client,
    request: TxnRequest,
    serializable: bool,
    timeout: Option<Duration>,
}

impl SendTxn {
    pub(super) fn new(client: &Client, request: TxnRequest) -> Self {
        Self { client: client.clone(), request, serializable: false, timeout: None }
    }

    /// Answers what the asked node has applied, without a round to the leader. Has no effect on a
    /// transaction that can write.
    pub fn serializable(mut self) -> Self {
        self.serializable = true;
        self
    }

    /// How long this request may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl IntoFuture for SendTxn {
    type Output = Result<TxnAnswer, Error>;
    type IntoFuture = Sending<TxnAnswer>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, request, serializable, timeout } = self;
        Box::pin(async move {
            let inner = &client.inner;
            if request.depth() > TXN_DEPTH_MAX {
                // A node would take such a frame for an attack and hang up.
                let error = OperationError::NestedTooDeep { max: TXN_DEPTH_MAX as u64 };
                return Err(Failure::from(error).into());
            }
            if !request.is_read_only() {
                return match inner.send(Operation::Txn(request), timeout).await? {
                    Answer::Txn(answer) => Ok(answer),
                    other => Err(unexpected(&other)),
                };
            }
            let timeout = ClientBuilder::request_timeout(inner.timeout, timeout);
            let send = |store: StoreClient, context| {
                let request = request.clone();
                async move { store.read_txn(context, request, serializable).await }
            };
            inner.read(timeout, send).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_steps_become_the_request() {
        let txn = Txn::new()
            .when([
                Condition::version("a").equals(0_u64),
                Condition::value("b").differs("x"),
                Condition::lease("c").over(KeyRange::prefix("c")).less_than(7),
                Condition::mod_revision("d").greater_than(3_u64),
            ])
            .then([Step::put("k", "v"), Step::txn(Txn::new().then([Step::delete("n")]))])
            .or_else([Step::get("k"), Step::delete_range(KeyRange::all())]);
        let request = TxnRequest::from(txn);
        let expected = [
            (KeyRange::single("a"), CompareTarget::Version(0), CompareOperator::Equal),
            (KeyRange::single("b"), CompareTarget::Value("x".into()), CompareOperator::NotEqual),
            (KeyRange::prefix("c"), CompareTarget::Lease(7), CompareOperator::Less),
            (KeyRange::single("d"), CompareTarget::ModRevision(3), CompareOperator::Greater),
        ];
        let expected =
            expected.map(|(range, target, operator)| Compare { range, target, operator });
        assert_eq!(request.compares, expected);
        assert_eq!((request.success.len(), request.failure.len()), (2, 2));
        assert!(!request.is_read_only());
    }
}
