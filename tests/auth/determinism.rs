//! One request has one signature, however often and in whatever order it is signed.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{Draft, Node};

fn draft() -> Draft {
    Draft::new("PUT", "/v1/keys/a%20b?c=3&a=1&b=2&a-b=%2F", b"value")
        .header("content-type", "application/octet-stream")
        .header("x-chainfire-nonce", "1")
        .hashed()
}

fn signature(draft: &Draft) -> String {
    let request = draft.sign();
    let (_, header) = request.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    header.clone()
}

#[test]
fn ten_thousand_repeats_give_one_signature() {
    let first = signature(&draft());
    for _ in 0..10_000 {
        assert_eq!(signature(&draft()), first);
    }
    assert_eq!(Node::new().code(&draft().sign()), "ok");
}

#[test]
fn permuted_input_gives_one_signature() {
    let first = signature(&draft());
    let pairs = vec!["c=3", "a=1", "b=2", "a-b=%2F"];
    let shuffled = (Just(pairs).prop_shuffle(), Just(draft().headers).prop_shuffle());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[4; 32]);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(1_000), rng);
    runner
        .run(&shuffled, |(pairs, headers)| {
            let target = format!("/v1/keys/a%20b?{}", pairs.join("&"));
            let permuted = Draft { target, headers, ..draft() };
            prop_assert_eq!(&signature(&permuted), &first);
            Ok(())
        })
        .unwrap();
}
