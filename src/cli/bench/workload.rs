//! One operation of a benchmark.

use bytes::Bytes;

use super::plan::{Plan, Workload};
use crate::client::{Client, Condition, Error, Failure, Step, Txn};
use crate::types::KeyRange;

/// Pairs that one range reads.
const RANGE_PAIRS: u64 = 100;

/// One put to so many operations of the mixed load.
const MIXED_PUT_EVERY: u32 = 5;

/// Performs operations by the plan.
#[derive(Clone, Debug)]
pub(super) struct Performer {
    client: Client,
    plan: Plan,
    value: Bytes,
}

impl Performer {
    /// Every put stores the same random value, which does not compress.
    pub(super) fn new(client: &Client, plan: &Plan) -> Self {
        let value: Vec<u8> = (0..plan.value_bytes).map(|_| rand::random()).collect();
        Self { client: client.clone(), plan: plan.clone(), value: value.into() }
    }

    /// The `number`th operation.
    pub(super) async fn perform(&self, number: u64) -> Result<(), Error> {
        let keys = &self.plan.keys;
        match self.plan.workload {
            Workload::Put => self.put(keys.random()).await,
            Workload::Get => self.get(keys.random()).await,
            Workload::Range => self.range(keys.random()).await,
            Workload::Txn => self.txn(keys.random()).await,
            Workload::Mixed if rand::random_ratio(1, MIXED_PUT_EVERY) => {
                self.put(keys.random()).await
            }
            Workload::Mixed => self.get(keys.random()).await,
            Workload::Load => self.put(keys.key(number)).await,
        }
    }

    /// Stores the key of `number`.
    pub(super) async fn fill(&self, number: u64) -> Result<(), Error> {
        self.put(self.plan.keys.key(number)).await
    }

    async fn put(&self, key: Bytes) -> Result<(), Error> {
        self.client.put(key, self.value.clone()).await.map(|_| ())
    }

    async fn get(&self, key: Bytes) -> Result<(), Error> {
        let get = self.client.get(key);
        let get = if self.plan.serializable { get.serializable() } else { get };
        get.await.map(|_| ())
    }

    async fn range(&self, key: Bytes) -> Result<(), Error> {
        let range = self.client.range(KeyRange::from(key)).limit(RANGE_PAIRS).skip_count();
        let range = if self.plan.serializable { range.serializable() } else { range };
        range.await.map(|_| ())
    }

    /// The compare holds for every key of a benchmark: none has a lease.
    async fn txn(&self, key: Bytes) -> Result<(), Error> {
        let txn = Txn::new()
            .when([Condition::lease(key.clone()).equals(0)])
            .then([Step::put(key.clone(), self.value.clone()), Step::get(key)]);
        let answer = self.client.txn(txn).await?;
        if answer.succeeded {
            return Ok(());
        }
        let reason = "a key of the benchmark has a lease; delete the keys that start with bench/";
        Err(Failure::Invalid { reason: reason.to_owned() }.into())
    }
}
