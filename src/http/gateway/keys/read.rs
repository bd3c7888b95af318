//! Reading one key, or those with a prefix.

use axum::http::HeaderName;
use bytes::Bytes;

use super::parameters::{Parameters, flag};
use crate::http::gateway::problem::Problem;
use crate::http::gateway::reply::{Reply, tag};
use crate::http::gateway::request::Request;
use crate::http::gateway::{Shared, etcd};
use crate::types::{KeyRange, KeyValue, RangeRequest};

/// What else there is to know of a pair.
const REVISION: HeaderName = HeaderName::from_static("x-chainfire-revision");
const CREATE_REVISION: HeaderName = HeaderName::from_static("x-chainfire-create-revision");
const VERSION: HeaderName = HeaderName::from_static("x-chainfire-version");
const LEASE: HeaderName = HeaderName::from_static("x-chainfire-lease");

/// `GET /v1/keys/{key}`: its value; with `?prefix` every pair whose key starts with it.
pub(in crate::http::gateway) async fn get(
    gateway: &Shared,
    request: &Request,
    key: &[u8],
) -> Result<Reply, Problem> {
    let parameters = Parameters::read(request.target())?;
    let key = Bytes::copy_from_slice(key);
    match parameters.prefix {
        Some(value) if flag("prefix", value)? => {
            list_range(gateway, request, KeyRange::prefix(key), &parameters).await
        }
        _ if parameters.limit.is_some() => {
            Err(Problem::invalid("limit is for a list: add prefix, or leave it out"))
        }
        _ => get_one(gateway, request, key, &parameters).await,
    }
}

/// `GET /v1/keys?prefix=`: every pair whose key starts with it.
pub(in crate::http::gateway) async fn list(
    gateway: &Shared,
    request: &Request,
    _key: &[u8],
) -> Result<Reply, Problem> {
    let parameters = Parameters::read(request.target())?;
    let Some(prefix) = parameters.prefix else {
        return Err(Problem::invalid("give the keys' prefix; ?prefix= lists every key"));
    };
    let range = KeyRange::prefix(Bytes::copy_from_slice(prefix));
    list_range(gateway, request, range, &parameters).await
}

async fn list_range(
    gateway: &Shared,
    request: &Request,
    range: KeyRange,
    parameters: &Parameters<'_>,
) -> Result<Reply, Problem> {
    if !request.clauses().is_empty() {
        return Err(Problem::invalid("If-Match and If-None-Match are for one key"));
    }
    let read = RangeRequest {
        limit: parameters.limit.unwrap_or(0),
        revision: parameters.revision,
        serializable: parameters.serializable,
        ..RangeRequest::new(range)
    };
    let answer = gateway.store.range(request.caller(), read, gateway.timeout).await?;
    etcd::range_reply(gateway, &answer)
}

async fn get_one(
    gateway: &Shared,
    request: &Request,
    key: Bytes,
    parameters: &Parameters<'_>,
) -> Result<Reply, Problem> {
    let read = RangeRequest {
        revision: parameters.revision,
        serializable: parameters.serializable,
        ..RangeRequest::new(KeyRange::single(key))
    };
    let answer = gateway.store.range(request.caller(), read, gateway.timeout).await?;
    let pair = answer.kvs.into_iter().next();
    let mod_revision = pair.as_ref().map_or(0, |pair| pair.mod_revision);
    let clauses = request.clauses();
    if clauses.fails(mod_revision) {
        return Err(
            Problem::precondition_failed().with(axum::http::header::ETAG, &tag(mod_revision))
        );
    }
    let pair = pair.ok_or_else(Problem::no_such_key)?;
    let reply = match clauses.has(mod_revision) {
        true => Reply::not_modified(),
        false => Reply::bytes(pair.value.clone()),
    };
    Ok(describe(reply, &pair, answer.revision))
}

fn describe(reply: Reply, pair: &KeyValue, revision: u64) -> Reply {
    let reply = reply
        .with_tag(pair.mod_revision)
        .with(REVISION, &revision.to_string())
        .with(CREATE_REVISION, &pair.create_revision.to_string())
        .with(VERSION, &pair.version.to_string());
    if pair.lease == 0 { reply } else { reply.with(LEASE, &pair.lease.to_string()) }
}
