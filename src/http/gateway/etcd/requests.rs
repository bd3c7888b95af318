//! Requests as they are written, and the same in the store's terms.

use serde::Deserialize;

use super::scalars::{Blob, Named, Names, Number, Object};
use crate::http::gateway::problem::Problem;
use crate::types::limits::TXN_TOTAL_MAX;
use crate::types::{
    CompactRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange,
    PutRequest, RangeRequest, Sort, SortOrder, SortTarget, TxnOperation, TxnRequest,
};

/// Most JSON objects of a body: those of the largest transaction, of which each operation is two.
const OBJECTS_MAX: usize = 2 * TXN_TOTAL_MAX + 1;

/// Reads a body. An empty one asks what `{}` asks.
pub(super) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Problem> {
    // An object of two bytes becomes one of hundreds: more than any request has are not read.
    let objects = body.iter().filter(|byte| **byte == b'{').count();
    if objects > OBJECTS_MAX {
        let message = format!("the body has more than {OBJECTS_MAX} objects");
        return Err(Problem::invalid(message));
    }
    let body = if body.is_empty() { b"{}" } else { body };
    let object = serde_json::from_slice(body);
    let Object(read) = object.map_err(|error| Problem::invalid(format!("the body: {error}")))?;
    Ok(read)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RangeJson {
    key: Blob,
    #[serde(alias = "rangeEnd")]
    range_end: Blob,
    limit: Number<u64>,
    revision: Number<u64>,
    #[serde(alias = "sortOrder")]
    sort_order: Named<Order>,
    #[serde(alias = "sortTarget")]
    sort_target: Named<Target>,
    serializable: Option<bool>,
    #[serde(alias = "keysOnly")]
    keys_only: Option<bool>,
    #[serde(alias = "countOnly")]
    count_only: Option<bool>,
    #[serde(alias = "minModRevision")]
    min_mod_revision: Number<u64>,
    #[serde(alias = "maxModRevision")]
    max_mod_revision: Number<u64>,
    #[serde(alias = "minCreateRevision")]
    min_create_revision: Number<u64>,
    #[serde(alias = "maxCreateRevision")]
    max_create_revision: Number<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    None,
    Ascend,
    Descend,
}

impl Names for Order {
    const NAMES: &'static [(&'static str, Self)] =
        &[("NONE", Self::None), ("ASCEND", Self::Ascend), ("DESCEND", Self::Descend)];
}

/// What to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

impl Names for Target {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("KEY", Self::Key),
        ("VERSION", Self::Version),
        ("CREATE", Self::Create),
        ("MOD", Self::Mod),
        ("VALUE", Self::Value),
    ];
}

fn sort(target: Target, order: Order) -> Option<Sort> {
    let target = match target {
        Target::Key => SortTarget::Key,
        Target::Version => SortTarget::Version,
        Target::Create => SortTarget::CreateRevision,
        Target::Mod => SortTarget::ModRevision,
        Target::Value => SortTarget::Value,
    };
    match (target, order) {
        // As the store answers anyway.
        (SortTarget::Key, Order::None | Order::Ascend) => None,
        (target, Order::Descend) => Some(Sort { target, order: SortOrder::Descending }),
        (target, Order::None | Order::Ascend) => Some(Sort { target, order: SortOrder::Ascending }),
    }
}

fn key_range(key: Blob, range_end: Blob) -> KeyRange {
    KeyRange { key: key.0, range_end: range_end.0 }
}

impl From<RangeJson> for RangeRequest {
    fn from(json: RangeJson) -> Self {
        Self {
            range: key_range(json.key, json.range_end),
            limit: json.limit.0,
            revision: json.revision.0,
            sort: sort(json.sort_target.0, json.sort_order.0),
            keys_only: json.keys_only.unwrap_or_default(),
            count_only: json.count_only.unwrap_or_default(),
            skip_count: false,
            serializable: json.serializable.unwrap_or_default(),
            min_mod_revision: json.min_mod_revision.0,
            max_mod_revision: json.max_mod_revision.0,
            min_create_revision: json.min_create_revision.0,
            max_create_revision: json.max_create_revision.0,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PutJson {
    key: Blob,
    value: Blob,
    lease: Number<i64>,
    #[serde(alias = "prevKv")]
    prev_kv: Option<bool>,
    #[serde(alias = "ignoreValue")]
    ignore_value: Option<bool>,
    #[serde(alias = "ignoreLease")]
    ignore_lease: Option<bool>,
}

impl From<PutJson> for PutRequest {
    fn from(json: PutJson) -> Self {
        Self {
            key: json.key.0,
            value: json.value.0,
            lease: json.lease.0,
            prev_kv: json.prev_kv.unwrap_or_default(),
            ignore_value: json.ignore_value.unwrap_or_default(),
            ignore_lease: json.ignore_lease.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeleteRangeJson {
    key: Blob,
    #[serde(alias = "rangeEnd")]
    range_end: Blob,
    #[serde(alias = "prevKv")]
    prev_kv: Option<bool>,
}

impl From<DeleteRangeJson> for DeleteRangeRequest {
    fn from(json: DeleteRangeJson) -> Self {
        let prev_kv = json.prev_kv.unwrap_or_default();
        Self { range: key_range(json.key, json.range_end), prev_kv }
    }
}

/// `physical` asks etcd to answer only when the space is free; space is freed here as it is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CompactionJson {
    revision: Number<u64>,
    #[serde(rename = "physical")]
    _physical: Option<bool>,
}

impl From<CompactionJson> for CompactRequest {
    fn from(json: CompactionJson) -> Self {
        Self { revision: json.revision.0 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MemberListJson {
    pub(super) linearizable: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NothingJson {}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TxnJson {
    compare: Option<Vec<Object<CompareJson>>>,
    success: Option<Vec<Object<OperationJson>>>,
    failure: Option<Vec<Object<OperationJson>>>,
}

impl TryFrom<TxnJson> for TxnRequest {
    type Error = Problem;

    fn try_from(json: TxnJson) -> Result<Self, Problem> {
        let compares = json.compare.unwrap_or_default().into_iter();
        let operations = |list: Option<Vec<Object<OperationJson>>>| -> Result<Vec<_>, Problem> {
            list.unwrap_or_default()
                .into_iter()
                .map(|Object(operation)| operation.try_into())
                .collect()
        };
        Ok(Self {
            compares: compares
                .map(|Object(compare)| compare.try_into())
                .collect::<Result<_, _>>()?,
            success: operations(json.success)?,
            failure: operations(json.failure)?,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OperationJson {
    #[serde(alias = "requestRange")]
    request_range: Option<Object<RangeJson>>,
    #[serde(alias = "requestPut")]
    request_put: Option<Object<PutJson>>,
    #[serde(alias = "requestDeleteRange")]
    request_delete_range: Option<Object<DeleteRangeJson>>,
    #[serde(alias = "requestTxn")]
    request_txn: Option<Box<Object<TxnJson>>>,
}

impl TryFrom<OperationJson> for TxnOperation {
    type Error = Problem;

    fn try_from(json: OperationJson) -> Result<Self, Problem> {
        let OperationJson { request_range, request_put, request_delete_range, request_txn } = json;
        match (request_range, request_put, request_delete_range, request_txn) {
            (Some(range), None, None, None) => Ok(Self::Range(range.0.into())),
            (None, Some(put), None, None) => Ok(Self::Put(put.0.into())),
            (None, None, Some(delete), None) => Ok(Self::DeleteRange(delete.0.into())),
            (None, None, None, Some(txn)) => Ok(Self::Txn(txn.0.try_into()?)),
            _ => Err(Problem::invalid(
                "each operation of a transaction is one of request_range, request_put, \
                 request_delete_range and request_txn",
            )),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CompareJson {
    result: Named<Outcome>,
    target: Named<Compared>,
    key: Blob,
    #[serde(alias = "rangeEnd")]
    range_end: Blob,
    version: Option<Number<u64>>,
    #[serde(alias = "createRevision")]
    create_revision: Option<Number<u64>>,
    #[serde(alias = "modRevision")]
    mod_revision: Option<Number<u64>>,
    value: Option<Blob>,
    lease: Option<Number<i64>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outcome {
    #[default]
    Equal,
    Greater,
    Less,
    NotEqual,
}

impl Names for Outcome {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("EQUAL", Self::Equal),
        ("GREATER", Self::Greater),
        ("LESS", Self::Less),
        ("NOT_EQUAL", Self::NotEqual),
    ];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Compared {
    #[default]
    Version,
    Create,
    Mod,
    Value,
    Lease,
}

impl Names for Compared {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("VERSION", Self::Version),
        ("CREATE", Self::Create),
        ("MOD", Self::Mod),
        ("VALUE", Self::Value),
        ("LEASE", Self::Lease),
    ];
}

impl TryFrom<CompareJson> for Compare {
    type Error = Problem;

    fn try_from(json: CompareJson) -> Result<Self, Problem> {
        let CompareJson { version, create_revision, mod_revision, value, lease, .. } = json;
        let given = [
            (version.is_some(), Compared::Version),
            (create_revision.is_some(), Compared::Create),
            (mod_revision.is_some(), Compared::Mod),
            (value.is_some(), Compared::Value),
            (lease.is_some(), Compared::Lease),
        ];
        if given.iter().any(|(is_given, field)| *is_given && *field != json.target.0) {
            return Err(Problem::invalid(
                "a compare has a value for another field than its target",
            ));
        }
        let or_zero = |number: Option<Number<u64>>| number.unwrap_or_default().0;
        let target = match json.target.0 {
            Compared::Version => CompareTarget::Version(or_zero(version)),
            Compared::Create => CompareTarget::CreateRevision(or_zero(create_revision)),
            Compared::Mod => CompareTarget::ModRevision(or_zero(mod_revision)),
            Compared::Value => CompareTarget::Value(value.unwrap_or_default().0),
            Compared::Lease => CompareTarget::Lease(lease.unwrap_or_default().0),
        };
        let operator = match json.result.0 {
            Outcome::Equal => CompareOperator::Equal,
            Outcome::Greater => CompareOperator::Greater,
            Outcome::Less => CompareOperator::Less,
            Outcome::NotEqual => CompareOperator::NotEqual,
        };
        Ok(Self { range: key_range(json.key, json.range_end), target, operator })
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
