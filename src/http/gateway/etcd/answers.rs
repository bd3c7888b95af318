//! Answers as they are written.

use serde::Serialize;

use super::scalars::{Blob, Number};
use crate::http::gateway::ClusterFigures;
use crate::types::{
    DeleteRangeAnswer, KeyValue, Member, MemberRole, NodeRole, NodeStatus, OperationAnswer,
    PutAnswer, RangeAnswer, TxnAnswer,
};

type Whole = Number<u64>;

/// What every answer starts with. Inside a transaction's answer only the revision is told.
#[derive(Debug, Default, Serialize)]
pub(super) struct HeaderJson {
    #[serde(skip_serializing_if = "Number::is_default")]
    cluster_id: Whole,
    #[serde(skip_serializing_if = "Number::is_default")]
    member_id: Whole,
    #[serde(skip_serializing_if = "Number::is_default")]
    revision: Whole,
    #[serde(skip_serializing_if = "Number::is_default")]
    raft_term: Whole,
}

impl HeaderJson {
    pub(super) fn new(figures: &ClusterFigures, revision: u64) -> Self {
        Self {
            // etcd's is a number of 64 bits: the first half of ours.
            cluster_id: Number((figures.cluster_id.0 >> 64) as u64),
            member_id: Number(figures.node_id),
            revision: Number(revision),
            raft_term: Number(figures.term),
        }
    }

    fn inner(revision: u64) -> Self {
        Self { revision: Number(revision), ..Self::default() }
    }
}

#[derive(Debug, Serialize)]
struct PairJson {
    key: Blob,
    create_revision: Whole,
    mod_revision: Whole,
    version: Whole,
    #[serde(skip_serializing_if = "is_empty")]
    value: Blob,
    #[serde(skip_serializing_if = "Number::is_default")]
    lease: Number<i64>,
}

fn is_empty(blob: &Blob) -> bool {
    blob.0.is_empty()
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl From<&KeyValue> for PairJson {
    fn from(pair: &KeyValue) -> Self {
        Self {
            key: Blob(pair.key.clone()),
            create_revision: Number(pair.create_revision),
            mod_revision: Number(pair.mod_revision),
            version: Number(pair.version),
            value: Blob(pair.value.clone()),
            lease: Number(pair.lease),
        }
    }
}

fn pairs(pairs: &[KeyValue]) -> Vec<PairJson> {
    pairs.iter().map(PairJson::from).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct RangeAnswerJson {
    header: HeaderJson,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kvs: Vec<PairJson>,
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
    #[serde(skip_serializing_if = "Number::is_default")]
    count: Whole,
}

impl RangeAnswerJson {
    pub(super) fn new(header: HeaderJson, answer: &RangeAnswer) -> Self {
        let &RangeAnswer { more, count, ref kvs, .. } = answer;
        Self { header, kvs: pairs(kvs), more, count: Number(count) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PutAnswerJson {
    header: HeaderJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_kv: Option<PairJson>,
}

impl PutAnswerJson {
    pub(super) fn new(header: HeaderJson, answer: &PutAnswer) -> Self {
        Self { header, prev_kv: answer.prev_kv.as_ref().map(PairJson::from) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct DeleteRangeAnswerJson {
    header: HeaderJson,
    #[serde(skip_serializing_if = "Number::is_default")]
    deleted: Whole,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prev_kvs: Vec<PairJson>,
}

impl DeleteRangeAnswerJson {
    pub(super) fn new(header: HeaderJson, answer: &DeleteRangeAnswer) -> Self {
        let DeleteRangeAnswer { deleted, prev_kvs, .. } = answer;
        Self { header, deleted: Number(*deleted), prev_kvs: pairs(prev_kvs) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct CompactionAnswerJson {
    pub(super) header: HeaderJson,
}

#[derive(Debug, Serialize)]
pub(super) struct TxnAnswerJson {
    header: HeaderJson,
    #[serde(skip_serializing_if = "is_false")]
    succeeded: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responses: Vec<ResponseJson>,
}

/// The answer to one operation, under the operation's name.
#[derive(Debug, Serialize)]
enum ResponseJson {
    #[serde(rename = "response_range")]
    Range(RangeAnswerJson),
    #[serde(rename = "response_put")]
    Put(PutAnswerJson),
    #[serde(rename = "response_delete_range")]
    DeleteRange(DeleteRangeAnswerJson),
    #[serde(rename = "response_txn")]
    Txn(TxnAnswerJson),
}

impl From<&OperationAnswer> for ResponseJson {
    fn from(answer: &OperationAnswer) -> Self {
        match answer {
            OperationAnswer::Range(answer) => {
                let header = HeaderJson::inner(answer.revision);
                Self::Range(RangeAnswerJson::new(header, answer))
            }
            OperationAnswer::Put(answer) => {
                let header = HeaderJson::inner(answer.revision);
                Self::Put(PutAnswerJson::new(header, answer))
            }
            OperationAnswer::DeleteRange(answer) => {
                let header = HeaderJson::inner(answer.revision);
                Self::DeleteRange(DeleteRangeAnswerJson::new(header, answer))
            }
            OperationAnswer::Txn(answer) => {
                let header = HeaderJson::inner(answer.revision);
                Self::Txn(TxnAnswerJson::new(header, answer))
            }
        }
    }
}

impl TxnAnswerJson {
    pub(super) fn new(header: HeaderJson, answer: &TxnAnswer) -> Self {
        let responses = answer.answers.iter().map(ResponseJson::from).collect();
        Self { header, succeeded: answer.succeeded, responses }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct MemberListAnswerJson<'a> {
    header: HeaderJson,
    members: Vec<MemberJson<'a>>,
}

/// One member, under the names that etcd has given the fields.
#[derive(Debug, Serialize)]
struct MemberJson<'a> {
    #[serde(rename = "ID")]
    id: Whole,
    name: &'a str,
    #[serde(rename = "peerURLs")]
    peer_urls: [&'a str; 1],
    #[serde(rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<&'a str>,
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    is_learner: bool,
}

impl<'a> MemberListAnswerJson<'a> {
    pub(super) fn new(header: HeaderJson, members: &'a [Member]) -> Self {
        let member = |member: &'a Member| MemberJson {
            id: Number(member.id),
            name: &member.name,
            peer_urls: [&member.peer_addr],
            client_urls: Some(&member.client_addr[..])
                .filter(|address| !address.is_empty())
                .into_iter()
                .collect(),
            is_learner: member.role != MemberRole::Voter,
        };
        Self { header, members: members.iter().map(member).collect() }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusAnswerJson<'a> {
    header: HeaderJson,
    version: &'a str,
    db_size: Whole,
    #[serde(skip_serializing_if = "Number::is_default")]
    leader: Whole,
    raft_index: Whole,
    raft_term: Whole,
    raft_applied_index: Whole,
    #[serde(skip_serializing_if = "is_false")]
    is_learner: bool,
}

impl<'a> StatusAnswerJson<'a> {
    pub(super) fn new(header: HeaderJson, status: &'a NodeStatus) -> Self {
        Self {
            header,
            version: &status.version,
            db_size: Number(status.db_size_bytes),
            leader: Number(status.leader_id.unwrap_or(0)),
            raft_index: Number(status.last_log_index),
            raft_term: Number(status.term),
            raft_applied_index: Number(status.applied_index),
            is_learner: status.role == NodeRole::Learner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterId;

    fn header() -> HeaderJson {
        let figures = ClusterFigures { cluster_id: ClusterId(5 << 64), node_id: 1, term: 2 };
        HeaderJson::new(&figures, 9)
    }

    const HEADER: &str =
        r#""header":{"cluster_id":"5","member_id":"1","revision":"9","raft_term":"2"}"#;

    #[test]
    fn answers_have_the_shapes_of_etcds_gateway() {
        let pair = KeyValue {
            key: "key".into(),
            value: "value".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease: 0,
        };
        let written = r#"{"key":"a2V5","create_revision":"2","mod_revision":"3","version":"2","value":"dmFsdWU="}"#;
        let range = RangeAnswer { revision: 9, kvs: vec![pair.clone()], more: true, count: 7 };
        let text = serde_json::to_string(&RangeAnswerJson::new(header(), &range)).expect("text");
        assert_eq!(text, format!(r#"{{{HEADER},"kvs":[{written}],"more":true,"count":"7"}}"#));

        let txn = TxnAnswer {
            revision: 9,
            succeeded: true,
            answers: vec![
                OperationAnswer::Put(PutAnswer { revision: 9, prev_kv: None }),
                OperationAnswer::DeleteRange(DeleteRangeAnswer {
                    revision: 9,
                    deleted: 1,
                    prev_kvs: vec![pair],
                }),
            ],
        };
        let text = serde_json::to_string(&TxnAnswerJson::new(header(), &txn)).expect("text");
        let put = r#"{"response_put":{"header":{"revision":"9"}}}"#;
        let delete = format!(
            r#"{{"response_delete_range":{{"header":{{"revision":"9"}},"deleted":"1","prev_kvs":[{written}]}}}}"#
        );
        assert_eq!(text, format!(r#"{{{HEADER},"succeeded":true,"responses":[{put},{delete}]}}"#));
    }
}
