//! What is asked, by the verified method and path.

use super::problem::Problem;
use crate::auth::Target;

/// What there is to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compaction,
    MemberList,
    Status,
    ListKeys,
    GetKey,
    PutKey,
    DeleteKey,
}

/// The path of one key, before the key.
const KEYS: &str = "/v1/keys/{key}";
const KEY_PREFIX: &[u8] = b"/v1/keys/";

const TABLE: &[(&str, &str, Call)] = &[
    ("POST", "/v1/kv/range", Call::Range),
    ("POST", "/v1/kv/put", Call::Put),
    ("POST", "/v1/kv/deleterange", Call::DeleteRange),
    ("POST", "/v1/kv/txn", Call::Txn),
    ("POST", "/v1/kv/compaction", Call::Compaction),
    ("POST", "/v1/cluster/member/list", Call::MemberList),
    ("POST", "/v1/maintenance/status", Call::Status),
    ("GET", "/v1/keys", Call::ListKeys),
    ("GET", KEYS, Call::GetKey),
    ("PUT", KEYS, Call::PutKey),
    ("DELETE", KEYS, Call::DeleteKey),
];

/// The method and path of every route, for the description of them.
pub const ROUTES: [(&str, &str); TABLE.len()] = {
    let mut routes = [("", ""); TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        routes[at] = (TABLE[at].0, TABLE[at].1);
        at += 1;
    }
    routes
};

/// What a request asks, and the key in its path, empty where the path has none.
pub(super) fn find<'a>(method: &str, target: &'a Target) -> Result<(Call, &'a [u8]), Problem> {
    let path = target.path();
    let key = path.strip_prefix(KEY_PREFIX).filter(|key| !key.is_empty());
    let is_at = |pattern: &str| match key {
        Some(_) => pattern == KEYS,
        None => pattern.as_bytes() == path,
    };
    let mut allowed = Vec::new();
    for (taken, _, call) in TABLE.iter().filter(|(_, pattern, _)| is_at(pattern)) {
        if *taken == method {
            return Ok((*call, key.unwrap_or_default()));
        }
        allowed.push(*taken);
    }
    match &allowed[..] {
        [] => Err(Problem::no_such_route()),
        some => Err(Problem::method_not_allowed(&some.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, target: &str) -> Result<(Call, String), &'static str> {
        let target = Target::parse(target).expect("a target");
        let (call, key) = find(method, &target).map_err(|problem| problem.code())?;
        Ok((call, String::from_utf8(key.to_vec()).expect("text")))
    }

    #[test]
    fn a_key_is_the_rest_of_its_path() {
        for (target, key) in [
            ("/v1/keys/a", "a"),
            ("/v1/keys/a/b%20c?revision=1", "a/b c"),
            ("/v1/keys/a%2Fb", "a/b"),
            ("/v1/keys/a%2520b", "a%20b"),
            ("/v1/keys/%7Bkey%7D", "{key}"),
            ("/v1/keys/v1/kv/put", "v1/kv/put"),
        ] {
            assert_eq!(found("GET", target), Ok((Call::GetKey, key.to_owned())), "{target}");
        }
        assert_eq!(found("GET", "/v1/keys?prefix=a"), Ok((Call::ListKeys, String::new())));
        assert_eq!(found("POST", "/v1/kv/txn"), Ok((Call::Txn, String::new())));
    }

    #[test]
    fn what_is_not_there_and_what_is_not_taken_are_told_apart() {
        for target in ["/v1", "/v1/kv", "/v1/kv/range/x", "/v2/keys/a", "/", "/v1/KV/range"] {
            assert_eq!(found("POST", target), Err("NoSuchRoute"), "{target}");
        }
        for (method, target) in
            [("GET", "/v1/kv/put"), ("POST", "/v1/keys/a"), ("HEAD", "/v1/keys/a")]
        {
            assert_eq!(found(method, target), Err("MethodNotAllowed"), "{method} {target}");
        }
    }
}
