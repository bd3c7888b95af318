//! The bodies of the HTTP gateway, in etcd's JSON.
#![no_main]

use chainfire::http::gateway::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: chainfire_fuzz::plant(seeds()), |bytes: &[u8]| fuzzing::body(bytes));

fn seeds() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"key":"a2V5","range_end":"AA==","limit":"3","sort_order":"DESCEND","keys_only":true}"#,
        r#"{"key":"a2V5","value":"dmFsdWU=","lease":"7","prev_kv":true}"#,
        r#"{"revision":9,"physical":true}"#,
        r#"{"compare":[{"key":"a2V5","target":"MOD","result":"GREATER","modRevision":"1"}],
            "success":[{"requestPut":{"key":"YQ==","value":"Yg=="}}],
            "failure":[{"request_txn":{"success":[{"requestRange":{"key":"YQ=="}}]}}]}"#,
    ];
    bodies.map(|body| body.as_bytes().to_vec()).into()
}
