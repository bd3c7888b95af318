//! The shapes of JSON answers, which are a contract, and the text of a pair.

use std::io;

use serde::Serialize;

use super::bytes::Base64;
use super::terminal::Terminal;
use crate::types::{
    CompactAnswer, DeleteRangeAnswer, Distrust, KeyValue, Member, MemberRole, NodeRole, NodeStatus,
    OperationAnswer, PutAnswer, RangeAnswer, TxnAnswer,
};

/// A pair as text: the key on a line, the value on the next, as the bytes they are.
pub(super) fn print_pair(terminal: &mut Terminal, pair: &KeyValue) -> io::Result<()> {
    terminal.line(&pair.key)?;
    terminal.line(&pair.value)
}

/// A pair.
#[derive(Debug, Serialize)]
pub(super) struct PairJson {
    key: Base64,
    value: Base64,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    lease: i64,
}

impl From<&KeyValue> for PairJson {
    fn from(pair: &KeyValue) -> Self {
        Self {
            key: Base64(pair.key.clone()),
            value: Base64(pair.value.clone()),
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            lease: pair.lease,
        }
    }
}

fn pairs(pairs: &[KeyValue]) -> Vec<PairJson> {
    pairs.iter().map(PairJson::from).collect()
}

/// The answer to `get`.
#[derive(Debug, Serialize)]
pub(super) struct RangeJson {
    revision: u64,
    count: u64,
    more: bool,
    kvs: Vec<PairJson>,
}

impl From<&RangeAnswer> for RangeJson {
    fn from(answer: &RangeAnswer) -> Self {
        let &RangeAnswer { revision, count, more, ref kvs } = answer;
        Self { revision, count, more, kvs: pairs(kvs) }
    }
}

/// The answer to `put`.
#[derive(Debug, Serialize)]
pub(super) struct PutJson {
    revision: u64,
    prev_kv: Option<PairJson>,
}

impl From<&PutAnswer> for PutJson {
    fn from(answer: &PutAnswer) -> Self {
        let prev_kv = answer.prev_kv.as_ref().map(PairJson::from);
        Self { revision: answer.revision, prev_kv }
    }
}

/// The answer to `del`.
#[derive(Debug, Serialize)]
pub(super) struct DeleteJson {
    revision: u64,
    deleted: u64,
    prev_kvs: Vec<PairJson>,
}

impl From<&DeleteRangeAnswer> for DeleteJson {
    fn from(answer: &DeleteRangeAnswer) -> Self {
        let DeleteRangeAnswer { revision, deleted, prev_kvs } = answer;
        Self { revision: *revision, deleted: *deleted, prev_kvs: pairs(prev_kvs) }
    }
}

/// The answer to `compact`.
#[derive(Debug, Serialize)]
pub(super) struct CompactJson {
    revision: u64,
}

impl From<&CompactAnswer> for CompactJson {
    fn from(answer: &CompactAnswer) -> Self {
        Self { revision: answer.revision }
    }
}

/// The answer to `txn`.
#[derive(Debug, Serialize)]
pub(super) struct TxnJson {
    revision: u64,
    succeeded: bool,
    responses: Vec<ResponseJson>,
}

/// The answer to one operation of a transaction, under the operation's name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum ResponseJson {
    Get(RangeJson),
    Put(PutJson),
    Del(DeleteJson),
    Txn(TxnJson),
}

impl From<&TxnAnswer> for TxnJson {
    fn from(answer: &TxnAnswer) -> Self {
        let response = |answer: &OperationAnswer| match answer {
            OperationAnswer::Range(answer) => ResponseJson::Get(answer.into()),
            OperationAnswer::Put(answer) => ResponseJson::Put(answer.into()),
            OperationAnswer::DeleteRange(answer) => ResponseJson::Del(answer.into()),
            OperationAnswer::Txn(answer) => ResponseJson::Txn(answer.into()),
        };
        Self {
            revision: answer.revision,
            succeeded: answer.succeeded,
            responses: answer.answers.iter().map(response).collect(),
        }
    }
}

/// One endpoint in the answer to `status`; null where it said nothing.
#[derive(Debug, Default, Serialize)]
pub(super) struct StatusJson<'a> {
    endpoint: &'a str,
    node_id: Option<u64>,
    name: Option<&'a str>,
    leader_id: Option<u64>,
    role: Option<&'static str>,
    term: Option<u64>,
    last_log_index: Option<u64>,
    applied_index: Option<u64>,
    revision: Option<u64>,
    db_size_bytes: Option<u64>,
    version: Option<&'a str>,
    reachable: bool,
    /// Names of the reasons for which the node does not trust what it holds.
    untrusted: Vec<&'static str>,
    used_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    full: bool,
    deletes: Vec<DeleteProgressJson>,
}

/// A delete of many keys that is being written out.
#[derive(Debug, Serialize)]
struct DeleteProgressJson {
    revision: u64,
    deleted: u64,
}

/// What an operator must act on.
#[derive(Debug, Serialize)]
pub(super) struct AlarmJson<'a> {
    pub(super) alarm: &'static str,
    pub(super) node_id: u64,
    pub(super) name: &'a str,
    pub(super) detail: String,
}

impl<'a> StatusJson<'a> {
    pub(super) fn new(endpoint: &'a str, status: Option<&'a NodeStatus>) -> Self {
        let Some(status) = status else { return Self { endpoint, ..Self::default() } };
        Self {
            endpoint,
            node_id: Some(status.node_id),
            name: Some(&status.name),
            leader_id: status.leader_id,
            role: Some(node_role(status.role)),
            term: Some(status.term),
            last_log_index: Some(status.last_log_index),
            applied_index: Some(status.applied_index),
            revision: Some(status.revision),
            db_size_bytes: Some(status.db_size_bytes),
            version: Some(&status.version),
            reachable: true,
            untrusted: status.untrusted.iter().map(Distrust::name).collect(),
            used_bytes: Some(status.space.used_bytes),
            limit_bytes: Some(status.space.limit_bytes),
            full: status.space.is_full,
            deletes: status
                .deletes
                .iter()
                .map(|it| DeleteProgressJson { revision: it.revision, deleted: it.deleted })
                .collect(),
        }
    }
}

/// One member in the answer to `member list`.
#[derive(Debug, Serialize)]
pub(super) struct MemberJson<'a> {
    id: u64,
    name: &'a str,
    peer_addr: &'a str,
    client_addr: &'a str,
    role: &'static str,
}

impl<'a> From<&'a Member> for MemberJson<'a> {
    fn from(member: &'a Member) -> Self {
        Self {
            id: member.id,
            name: &member.name,
            peer_addr: &member.peer_addr,
            client_addr: &member.client_addr,
            role: member_role(member.role),
        }
    }
}

pub(super) fn node_role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Leader => "leader",
        NodeRole::Follower => "follower",
        NodeRole::Learner => "learner",
        NodeRole::Candidate => "candidate",
    }
}

pub(super) fn member_role(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Joining => "joining",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterId;
    use crate::types::{DeleteProgress, SpaceUse};

    fn pair() -> KeyValue {
        KeyValue {
            key: "k".into(),
            value: vec![0xff].into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease: 0,
        }
    }

    const PAIR: &str = r#"{"key":"aw==","value":"/w==","create_revision":2,"mod_revision":3,"version":2,"lease":0}"#;

    fn text(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("serialisable")
    }

    #[test]
    fn get_put_and_del_have_their_documented_shapes() {
        let range = RangeAnswer { revision: 9, kvs: vec![pair()], more: true, count: 7 };
        let expected = format!(r#"{{"revision":9,"count":7,"more":true,"kvs":[{PAIR}]}}"#);
        assert_eq!(text(&RangeJson::from(&range)), expected);

        let put = PutAnswer { revision: 4, prev_kv: None };
        assert_eq!(text(&PutJson::from(&put)), r#"{"revision":4,"prev_kv":null}"#);
        let put = PutAnswer { revision: 4, prev_kv: Some(pair()) };
        let expected = format!(r#"{{"revision":4,"prev_kv":{PAIR}}}"#);
        assert_eq!(text(&PutJson::from(&put)), expected);

        let delete = DeleteRangeAnswer { revision: 5, deleted: 1, prev_kvs: vec![pair()] };
        let expected = format!(r#"{{"revision":5,"deleted":1,"prev_kvs":[{PAIR}]}}"#);
        assert_eq!(text(&DeleteJson::from(&delete)), expected);
    }

    #[test]
    fn a_txn_answers_each_operation_under_its_name() {
        let nested = TxnAnswer { revision: 6, succeeded: false, answers: vec![] };
        let txn = TxnAnswer {
            revision: 6,
            succeeded: true,
            answers: vec![
                OperationAnswer::Put(PutAnswer { revision: 6, prev_kv: None }),
                OperationAnswer::Range(RangeAnswer { revision: 6, ..RangeAnswer::default() }),
                OperationAnswer::Txn(nested),
            ],
        };
        let expected = concat!(
            r#"{"revision":6,"succeeded":true,"responses":["#,
            r#"{"put":{"revision":6,"prev_kv":null}},"#,
            r#"{"get":{"revision":6,"count":0,"more":false,"kvs":[]}},"#,
            r#"{"txn":{"revision":6,"succeeded":false,"responses":[]}}]}"#
        );
        assert_eq!(text(&TxnJson::from(&txn)), expected);
    }

    #[test]
    fn status_has_its_documented_shape_also_when_nobody_answers() {
        let status = NodeStatus {
            node_id: 1,
            name: "a".into(),
            cluster_id: ClusterId(1),
            leader_id: Some(2),
            role: NodeRole::Follower,
            term: 3,
            last_log_index: 4,
            applied_index: 5,
            revision: 6,
            compact_revision: 0,
            db_size_bytes: 7,
            version: "0.1.0".into(),
            untrusted: vec![Distrust::StateDiffers { index: 5 }],
            space: SpaceUse { used_bytes: 8, limit_bytes: 9, is_full: false },
            deletes: vec![DeleteProgress { revision: 4, deleted: 3 }],
        };
        let expected = concat!(
            r#"{"endpoint":"h:1","node_id":1,"name":"a","leader_id":2,"role":"follower","#,
            r#""term":3,"last_log_index":4,"applied_index":5,"revision":6,"#,
            r#""db_size_bytes":7,"version":"0.1.0","reachable":true,"#,
            r#""untrusted":["state_differs"],"used_bytes":8,"limit_bytes":9,"full":false,"#,
            r#""deletes":[{"revision":4,"deleted":3}]}"#
        );
        assert_eq!(text(&StatusJson::new("h:1", Some(&status))), expected);
        let expected = concat!(
            r#"{"endpoint":"h:1","node_id":null,"name":null,"leader_id":null,"role":null,"#,
            r#""term":null,"last_log_index":null,"applied_index":null,"revision":null,"#,
            r#""db_size_bytes":null,"version":null,"reachable":false,"untrusted":[],"#,
            r#""used_bytes":null,"limit_bytes":null,"full":false,"deletes":[]}"#
        );
        assert_eq!(text(&StatusJson::new("h:1", None)), expected);
    }

    #[test]
    fn a_member_has_its_documented_shape() {
        let member = Member {
            id: 3,
            name: "c".into(),
            peer_addr: "h:2".into(),
            client_addr: "h:1".into(),
            role: MemberRole::Voter,
        };
        let expected =
            r#"{"id":3,"name":"c","peer_addr":"h:2","client_addr":"h:1","role":"voter"}"#;
        assert_eq!(text(&MemberJson::from(&member)), expected);
    }
}
