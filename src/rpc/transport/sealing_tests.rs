//! What opens and what does not, over two ends that shook hands.

use tokio::io::duplex;

use super::super::methods::CANCEL;
use super::super::{Accepted, Guard, Hello, Identity, accept, greet_signed};
use super::*;
use crate::auth::{CLIENT_SERVICE, SecretKey};
use crate::types::{ClusterId, StartClaim};

const WAIT: Duration = Duration::from_secs(5);
const IDENTITY: Identity =
    Identity { cluster_id: ClusterId(1), node_id: 2, incarnation: 3, claim: StartClaim::NONE };
const PATHS: ServicePaths = ServicePaths {
    methods: &["/chainfire/test/read", "/chainfire/test/write"],
    cancel: "/chainfire/test/cancel",
};
const READ: CallFields = CallFields { method: 0, timeout_ms: 1_000 };
const WRITE: CallFields = CallFields { method: 1, timeout_ms: 1_000 };
const CANCELLATION: CallFields = CallFields { method: CANCEL, timeout_ms: 0 };

/// Knows one key of one user.
struct OneKey;

impl SessionKeys for OneKey {
    fn signing_key(&self, access_key_id: &str, scope: &Scope) -> (Option<Principal>, SigningKey) {
        let known = access_key_id == "K";
        let secret = SecretKey::new(if known { "secret" } else { "nobody's" });
        let principal = known.then(|| Principal("ann".to_owned()));
        (principal, SigningKey::derive(&secret, scope))
    }
}

/// The two ends of a new connection.
async fn ends() -> (Sealer, Sealer) {
    let (mut near, mut far) = duplex(4_096);
    let signer =
        Arc::new(Signer::new("K", SecretKey::new("secret"), "c".to_owned(), CLIENT_SERVICE));
    let guard = Guard {
        cluster_name: "c".to_owned(),
        service: CLIENT_SERVICE,
        paths: PATHS,
        keys: Arc::new(OneKey),
    };
    let hello = Hello::SignedClient {
        cluster_id: None,
        cluster_name: "c".to_owned(),
        access_key_id: "K".to_owned(),
        nonce: rand::random(),
    };
    let judge = |_: &Hello| Ok(());
    let (greeted, accepted) = tokio::join!(
        greet_signed(&mut near, &hello, signer, PATHS, WAIT),
        accept(&mut far, IDENTITY, Some(&guard), WAIT, judge),
    );
    let (identity, caller) = greeted.expect("confirmed");
    let Accepted { user, sealer, .. } = accepted.expect("let in");
    assert_eq!(identity, IDENTITY.into());
    assert_eq!(user.expect("signed").principal, Principal("ann".to_owned()));
    (caller, sealer)
}

fn now() -> Duration {
    crate::clock::wall()
}

fn frame(sealer: &mut Sealer, call: CallFields, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; sealer.head_bytes()];
    frame.extend_from_slice(body);
    sealer.seal(&mut frame, call, now()).expect("sealed");
    frame
}

fn open(sealer: &mut Sealer, frame: &[u8]) -> Result<Vec<u8>, SealError> {
    sealer.open(frame, now()).map(|opened| opened.body.to_vec())
}

#[tokio::test]
async fn frames_open_in_their_order_in_both_directions() {
    let (mut caller, mut answerer) = ends().await;
    for number in 0..5_u8 {
        let call = frame(&mut caller, WRITE, &[number]);
        let opened = answerer.open(&call, now()).expect("opened");
        assert_eq!((opened.body, opened.call), (&[number][..], Some(WRITE)));
        let answer = frame(&mut answerer, CANCELLATION, &[number, number]);
        assert_eq!(open(&mut caller, &answer), Ok(vec![number, number]));
    }
    let cancel = frame(&mut caller, CANCELLATION, b"");
    assert_eq!(answerer.open(&cancel, now()).expect("opened").call, Some(CANCELLATION));
}

#[tokio::test]
async fn a_frame_repeated_left_out_or_moved_does_not_open() {
    let (mut caller, mut answerer) = ends().await;
    let first = frame(&mut caller, READ, b"1");
    let second = frame(&mut caller, READ, b"2");
    let third = frame(&mut caller, READ, b"3");
    let skipped = open(&mut answerer, &second);
    assert_eq!(skipped, Err(SealError::Sequence { expected: 1, found: 2 }));

    let (mut caller, mut answerer) = ends().await;
    let other = open(&mut answerer, &first);
    assert_eq!(other, Err(SealError::Signature), "a frame of another channel");
    let mine = frame(&mut caller, READ, b"1");
    let (mut caller, mut answerer) = (caller, ends().await.1);
    assert_eq!(open(&mut answerer, &mine), Err(SealError::Signature));
    drop((third, frame(&mut caller, READ, b"2")));

    let (mut caller, mut answerer) = ends().await;
    let first = frame(&mut caller, READ, b"1");
    open(&mut answerer, &first).expect("opened");
    let repeated = open(&mut answerer, &first);
    assert_eq!(repeated, Err(SealError::Sequence { expected: 2, found: 1 }));
}

#[tokio::test]
async fn a_repeated_frame_under_the_next_number_does_not_open() {
    let (mut caller, mut answerer) = ends().await;
    let mut first = frame(&mut caller, WRITE, b"pay once");
    open(&mut answerer, &first).expect("opened");
    first[1..9].copy_from_slice(&2_u64.to_be_bytes());
    assert_eq!(open(&mut answerer, &first), Err(SealError::Signature));
}

#[tokio::test]
async fn a_changed_bit_anywhere_does_not_open() {
    let bits = (CALL_HEAD_BYTES + 4) * 8;
    for bit in (0..bits).step_by(5) {
        let (mut caller, mut answerer) = ends().await;
        let mut call = frame(&mut caller, READ, b"body");
        call[bit / 8] ^= 1 << (bit % 8);
        open(&mut answerer, &call).expect_err("a flipped bit");
    }
    for bit in (0..(TAG_BYTES + 4) * 8).step_by(5) {
        let (mut caller, mut answerer) = ends().await;
        let mut answer = frame(&mut answerer, CANCELLATION, b"body");
        answer[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&mut caller, &answer), Err(SealError::Signature), "bit {bit}");
    }
}

#[tokio::test]
async fn a_forged_cancel_does_not_open() {
    let (mut caller, mut answerer) = ends().await;
    let mut forged = frame(&mut caller, READ, b"\x01\x07");
    forged[0] = CANCEL;
    forged[17..25].fill(0);
    assert_eq!(open(&mut answerer, &forged), Err(SealError::Signature));
    let (_, mut answerer) = ends().await;
    let mut unsigned = vec![0; CALL_HEAD_BYTES];
    unsigned[0] = CANCEL;
    unsigned[8] = 1;
    unsigned[9..17].copy_from_slice(&now().as_secs().to_be_bytes());
    assert_eq!(open(&mut answerer, &unsigned), Err(SealError::Signature));
    let short = open(&mut answerer, &[CANCEL; 10]);
    assert_eq!(short, Err(SealError::TooShort { bytes: 10 }));
}

#[tokio::test]
async fn what_was_sent_is_not_taken_when_it_comes_back() {
    let (mut caller, mut answerer) = ends().await;
    let call = frame(&mut caller, READ, b"body");
    assert_eq!(open(&mut caller, &call), Err(SealError::Signature));
    let answer = frame(&mut answerer, CANCELLATION, &[0; 64]);
    open(&mut answerer, &answer).expect_err("an answer is no call");
}

#[tokio::test]
async fn answers_repeated_or_left_out_do_not_open() {
    let (mut caller, mut answerer) = ends().await;
    let first = frame(&mut answerer, CANCELLATION, b"1");
    let second = frame(&mut answerer, CANCELLATION, b"2");
    assert_eq!(open(&mut caller, &second), Err(SealError::Signature));
    let (mut caller, _) = ends().await;
    assert_eq!(open(&mut caller, &first), Err(SealError::Signature), "of another channel");
}

#[tokio::test]
async fn a_date_too_far_away_is_named_and_a_new_day_is_none() {
    let (mut caller, mut answerer) = ends().await;
    let body = |sealer: &mut Sealer, at: Duration| {
        let mut frame = vec![0; sealer.head_bytes()];
        sealer.seal(&mut frame, READ, at).expect("sealed");
        frame
    };
    let seconds = Duration::from_secs;
    let midnight = seconds((now().as_secs() / 86_400 + 1) * 86_400);
    for at in [midnight - seconds(1), midnight, midnight + seconds(1), midnight - seconds(2)] {
        let call = body(&mut caller, at);
        for clock in [at + seconds(899), at - seconds(899)] {
            // Only the first of the two is the next frame.
            let opened = answerer.open(&call, clock);
            assert!(matches!(opened, Ok(_) | Err(SealError::Sequence { .. })), "{opened:?}");
            if opened.is_err() {
                let Sealer::Answerer(sealer) = &mut answerer else { unreachable!("it answers") };
                sealer.opened -= 1;
            }
        }
    }
    let call = body(&mut caller, midnight);
    let skewed = answerer.open(&call, midnight + seconds(901)).expect_err("15:01 away");
    assert_eq!(skewed, SealError::Skewed { skew_seconds: 901 });
    assert!(skewed.to_string().contains("901 s away"), "{skewed}");
}

#[test]
fn a_frame_without_authentication_is_left_as_it_is() {
    let mut sealer = Sealer::from(PassThrough::new());
    assert_eq!(sealer.head_bytes(), 0);
    let mut bytes = *b"body";
    assert_eq!(sealer.seal(&mut bytes, READ, Duration::ZERO), Ok(1));
    assert_eq!(sealer.seal(&mut bytes, READ, Duration::ZERO), Ok(2));
    assert_eq!(sealer.open(&bytes, Duration::ZERO).expect("opened").body, b"body");
    let mut spent = Sealer::from(PassThrough { sealed: u64::MAX, opened: u64::MAX });
    let exhausted = spent.seal(&mut bytes, READ, Duration::ZERO);
    assert_eq!(exhausted, Err(SealError::SequenceExhausted));
}
