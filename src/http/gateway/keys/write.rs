//! Writing one key, on the conditions of its entity tag.

use axum::http::header;
use bytes::Bytes;

use super::parameters;
use crate::http::gateway::problem::Problem;
use crate::http::gateway::reply::{Reply, tag};
use crate::http::gateway::request::Request;
use crate::http::gateway::{Shared, etcd};
use crate::types::{
    Answer, DeleteRangeRequest, KeyRange, Operation, OperationAnswer, PutRequest, RangeRequest,
    TxnAnswer, TxnOperation, TxnRequest,
};

/// `PUT /v1/keys/{key}`: the body is the value.
pub(in crate::http::gateway) async fn put(
    gateway: &Shared,
    request: &Request,
    key: &[u8],
) -> Result<Reply, Problem> {
    let put = PutRequest {
        key: Bytes::copy_from_slice(key),
        value: request.body().clone(),
        ..PutRequest::default()
    };
    let answer = if request.clauses().is_empty() {
        match write(gateway, request, Operation::Put(put)).await? {
            Answer::Put(answer) => answer,
            _ => return Err(Problem::other_answer()),
        }
    } else {
        match swap(gateway, request, key, TxnOperation::Put(put)).await? {
            OperationAnswer::Put(answer) => answer,
            _ => return Err(Problem::other_answer()),
        }
    };
    // A put is the last change of its key.
    Ok(etcd::put_reply(gateway, &answer)?.with_tag(answer.revision))
}

/// `DELETE /v1/keys/{key}`.
pub(in crate::http::gateway) async fn delete(
    gateway: &Shared,
    request: &Request,
    key: &[u8],
) -> Result<Reply, Problem> {
    if !request.body().is_empty() {
        return Err(Problem::invalid("a DELETE has no body"));
    }
    let range = KeyRange::single(Bytes::copy_from_slice(key));
    let delete = DeleteRangeRequest { range, prev_kv: false };
    let answer = if request.clauses().is_empty() {
        match write(gateway, request, Operation::DeleteRange(delete)).await? {
            Answer::DeleteRange(answer) => answer,
            _ => return Err(Problem::other_answer()),
        }
    } else {
        match swap(gateway, request, key, TxnOperation::DeleteRange(delete)).await? {
            OperationAnswer::DeleteRange(answer) => answer,
            _ => return Err(Problem::other_answer()),
        }
    };
    match answer.deleted {
        0 => Err(Problem::no_such_key()),
        _ => etcd::delete_range_reply(gateway, &answer),
    }
}

async fn write(
    gateway: &Shared,
    request: &Request,
    operation: Operation,
) -> Result<Answer, Problem> {
    parameters::none(request.target())?;
    gateway.write(request, operation).await
}

/// Does `operation` if the request's conditions hold, in one transaction; else says what the tag is.
async fn swap(
    gateway: &Shared,
    request: &Request,
    key: &[u8],
    operation: TxnOperation,
) -> Result<OperationAnswer, Problem> {
    let current = RangeRequest {
        keys_only: true,
        ..RangeRequest::new(KeyRange::single(Bytes::copy_from_slice(key)))
    };
    let txn = TxnRequest {
        compares: request.clauses().compares(key)?,
        success: vec![operation],
        failure: vec![TxnOperation::Range(current)],
    };
    let Answer::Txn(answer) = write(gateway, request, Operation::Txn(txn)).await? else {
        return Err(Problem::other_answer());
    };
    let TxnAnswer { succeeded, answers, .. } = answer;
    match (succeeded, answers.into_iter().next()) {
        (true, Some(answer)) => Ok(answer),
        (false, Some(OperationAnswer::Range(current))) => {
            let problem = Problem::precondition_failed();
            Err(match current.kvs.first() {
                Some(pair) => problem.with(header::ETAG, &tag(pair.mod_revision)),
                None => problem,
            })
        }
        _ => Err(Problem::other_answer()),
    }
}
