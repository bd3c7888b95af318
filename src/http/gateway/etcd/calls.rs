//! The routes: read the body, ask the store, write the answer.

use super::answers::{
    CompactionAnswerJson, DeleteRangeAnswerJson, HeaderJson, MemberListAnswerJson, PutAnswerJson,
    RangeAnswerJson, StatusAnswerJson, TxnAnswerJson,
};
use super::requests::{
    self, CompactionJson, DeleteRangeJson, MemberListJson, NothingJson, PutJson, RangeJson, TxnJson,
};
use crate::http::gateway::Shared;
use crate::http::gateway::problem::Problem;
use crate::http::gateway::reply::Reply;
use crate::http::gateway::request::Request;
use crate::types::{Answer, DeleteRangeAnswer, Operation, PutAnswer, RangeAnswer, TxnRequest};

type Outcome = Result<Reply, Problem>;

/// Reads the body of a route that takes nothing else.
fn read<'a, T: serde::Deserialize<'a>>(request: &'a Request) -> Result<T, Problem> {
    if !request.target().query().is_empty() {
        return Err(Problem::invalid("this path takes no parameters, only a body"));
    }
    if !request.clauses().is_empty() {
        return Err(Problem::invalid(
            "If-Match and If-None-Match are for /v1/keys; compare in a txn",
        ));
    }
    requests::read(request.body())
}

fn header(gateway: &Shared, revision: u64) -> HeaderJson {
    HeaderJson::new(&gateway.store.figures(), revision)
}

/// `POST /v1/kv/range`
pub(in crate::http::gateway) async fn range(gateway: &Shared, request: &Request) -> Outcome {
    let read = read::<RangeJson>(request)?.into();
    let answer = gateway.store.range(request.caller(), read, gateway.timeout).await?;
    range_reply(gateway, &answer)
}

/// `POST /v1/kv/put`
pub(in crate::http::gateway) async fn put(gateway: &Shared, request: &Request) -> Outcome {
    let put = read::<PutJson>(request)?.into();
    match gateway.write(request, Operation::Put(put)).await? {
        Answer::Put(answer) => put_reply(gateway, &answer),
        _ => Err(Problem::other_answer()),
    }
}

/// `POST /v1/kv/deleterange`
pub(in crate::http::gateway) async fn delete_range(gateway: &Shared, request: &Request) -> Outcome {
    let delete = read::<DeleteRangeJson>(request)?.into();
    match gateway.write(request, Operation::DeleteRange(delete)).await? {
        Answer::DeleteRange(answer) => delete_range_reply(gateway, &answer),
        _ => Err(Problem::other_answer()),
    }
}

/// `POST /v1/kv/txn`. One that cannot write is a read.
pub(in crate::http::gateway) async fn txn(gateway: &Shared, request: &Request) -> Outcome {
    let txn: TxnRequest = read::<TxnJson>(request)?.try_into()?;
    let answer = if txn.is_read_only() {
        gateway.store.read_txn(request.caller(), txn, gateway.timeout).await?
    } else {
        match gateway.write(request, Operation::Txn(txn)).await? {
            Answer::Txn(answer) => answer,
            _ => return Err(Problem::other_answer()),
        }
    };
    Reply::json(&TxnAnswerJson::new(header(gateway, answer.revision), &answer))
}

/// `POST /v1/kv/compaction`
pub(in crate::http::gateway) async fn compaction(gateway: &Shared, request: &Request) -> Outcome {
    let compact = read::<CompactionJson>(request)?.into();
    match gateway.write(request, Operation::Compact(compact)).await? {
        Answer::Compact(answer) => {
            Reply::json(&CompactionAnswerJson { header: header(gateway, answer.revision) })
        }
        _ => Err(Problem::other_answer()),
    }
}

/// `POST /v1/cluster/member/list`
pub(in crate::http::gateway) async fn member_list(gateway: &Shared, request: &Request) -> Outcome {
    let asked = read::<MemberListJson>(request)?;
    if asked.linearizable.unwrap_or_default() {
        // An empty transaction reads nothing, after everything that was acknowledged before.
        gateway.store.read_txn(request.caller(), TxnRequest::default(), gateway.timeout).await?;
    }
    let members = gateway.store.members(request.caller(), gateway.timeout).await?;
    // As etcd's: no revision.
    Reply::json(&MemberListAnswerJson::new(header(gateway, 0), &members))
}

/// `POST /v1/maintenance/status`
pub(in crate::http::gateway) async fn status(gateway: &Shared, request: &Request) -> Outcome {
    let NothingJson {} = read(request)?;
    let status = gateway.store.status(request.caller(), gateway.timeout).await?;
    Reply::json(&StatusAnswerJson::new(header(gateway, status.revision), &status))
}

/// The answer to a range.
pub(in crate::http::gateway) fn range_reply(gateway: &Shared, answer: &RangeAnswer) -> Outcome {
    Reply::json(&RangeAnswerJson::new(header(gateway, answer.revision), answer))
}

/// The answer to a put.
pub(in crate::http::gateway) fn put_reply(gateway: &Shared, answer: &PutAnswer) -> Outcome {
    Reply::json(&PutAnswerJson::new(header(gateway, answer.revision), answer))
}

/// The answer to a delete.
pub(in crate::http::gateway) fn delete_range_reply(
    gateway: &Shared,
    answer: &DeleteRangeAnswer,
) -> Outcome {
    Reply::json(&DeleteRangeAnswerJson::new(header(gateway, answer.revision), answer))
}
