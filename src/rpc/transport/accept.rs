//! The accepting side's handshake.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::handshake::{
    HandshakeError, Hello, Identity, PROTOCOL_VERSION, Presence, Proof, Received, Refusal, Reply,
    body_of, decode_hello, decode_proof, encode, encode_reply, receive,
};
use super::methods::ServicePaths;
use super::sealing::{AnswererSealer, PassThrough, SealError, Sealer, SessionKeys, check_date};
use crate::auth::session::{AnswerMac, FrameSigner, Transcript, server_proof};
use crate::auth::{PEER_KEY_ID, Scope, Signature};
use crate::clock;
use crate::types::Principal;

/// What the answering side needs to check signatures; without it there is no authentication.
#[derive(Clone)]
pub struct Guard {
    /// The cluster's name.
    pub cluster_name: String,
    /// The service in the scope of the keys: that of clients, or that of peers.
    pub service: &'static str,
    /// What its connections call.
    pub paths: ServicePaths,
    /// The keys in force.
    pub keys: Arc<dyn SessionKeys>,
}

/// Who signs the frames of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUser {
    /// The user, or the cluster itself for a peer.
    pub principal: Principal,
    /// The key.
    pub access_key_id: String,
}

/// Who decides whether somebody may come in.
pub trait Judge {
    /// By what it says of itself. Nothing of it is proven: must change nothing.
    fn judge(&self, hello: &Hello) -> Result<(), Refusal>;

    /// The same, proven, as far as anything is.
    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        let _ = hello;
        Ok(())
    }
}

impl<F: Fn(&Hello) -> Result<(), Refusal>> Judge for F {
    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        self(hello)
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted {
    /// Who connected.
    pub hello: Hello,
    /// Who signs its frames; none without authentication.
    pub user: Option<SessionUser>,
    /// For its frames.
    pub sealer: Sealer,
}

/// Why a connection does not go on.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// We refused it, and said why.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It named a key and could not show that it has the secret.
    #[error("refused key {access_key_id}: {refusal}")]
    Unproven {
        /// The key it named.
        access_key_id: String,
        /// Why it was refused.
        refusal: Refusal,
    },
    /// It never got that far. Nothing was answered to what does not speak our protocol.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// Reads the hello, lets `judge` decide, and has whom it lets in prove who it is, as `guard` says;
/// without a guard there is no authentication. `judge` runs only on a hello of a version and a
/// shape we know.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    presence: impl Into<Presence>,
    guard: Option<&Guard>,
    wait: Duration,
    judge: impl Judge,
) -> Result<Accepted, AcceptError> {
    let presence = presence.into();
    let exchange = async {
        let received = receive(socket).await?;
        let judged = judge_hello(&received, guard, &judge);
        let (hello, claim) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                say_goodbye(socket, received.version, &refusal).await?;
                return Err(AcceptError::Refused(refusal));
            }
        };
        let Some((guard, access_key_id)) = claim else {
            say(socket, &encode_at(received.version, &Reply::Welcome(presence))).await?;
            let sealer = PassThrough::new().into();
            return Ok(Accepted { hello, user: None, sealer });
        };
        let claim = Claim { guard, access_key_id, hello: &hello, body: &received.body };
        let (user, sealer) = challenge(socket, presence, &claim, &judge).await?;
        Ok(Accepted { hello, user: Some(user), sealer })
    };
    timeout(wait, exchange).await.unwrap_or(Err(HandshakeError::Timeout.into()))
}

/// What a signed hello claims.
struct Claim<'a> {
    guard: &'a Guard,
    access_key_id: String,
    /// The hello, and its bytes.
    hello: &'a Hello,
    body: &'a [u8],
}

/// A hello that may go on, with what it must prove: the key that it names, if there is a guard.
type Judged<'a> = (Hello, Option<(&'a Guard, String)>);

fn judge_hello<'a>(
    received: &Received,
    guard: Option<&'a Guard>,
    judge: &impl Judge,
) -> Result<Judged<'a>, Refusal> {
    if received.version > PROTOCOL_VERSION {
        return Err(Refusal::NewerProtocol { newest: PROTOCOL_VERSION });
    }
    let hello = decode_hello(&received.body).map_err(|_| Refusal::Malformed)?;
    judge.judge(&hello)?;
    let (cluster_name, access_key_id) = match &hello {
        Hello::SignedClient { cluster_name, access_key_id, .. } => {
            (cluster_name, access_key_id.clone())
        }
        Hello::SignedPeer { cluster_name, .. } => (cluster_name, PEER_KEY_ID.to_owned()),
        Hello::Client { .. } | Hello::Peer(_) => {
            if guard.is_some() {
                return Err(Refusal::SignatureRequired);
            }
            judge.admit(&hello)?;
            return Ok((hello, None));
        }
    };
    let guard = guard.ok_or(Refusal::NotAuthenticated)?;
    if *cluster_name != guard.cluster_name {
        let (asked, actual) = (cluster_name.clone(), guard.cluster_name.clone());
        return Err(Refusal::WrongClusterName { asked, actual });
    }
    if !guard.keys.can_tell(&access_key_id) {
        return Err(Refusal::NotReady);
    }
    Ok((hello, Some((guard, access_key_id))))
}

/// Has the other end prove that it has the secret, and proves that we have it.
async fn challenge<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    presence: Presence,
    claim: &Claim<'_>,
    judge: &impl Judge,
) -> Result<(SessionUser, Sealer), AcceptError> {
    let challenge = encode_reply(&Reply::Challenge { presence, nonce: rand::random() });
    say(socket, &challenge).await?;
    let received = receive(socket).await?;
    let transcript = Transcript {
        version: PROTOCOL_VERSION,
        cluster_name: &claim.guard.cluster_name,
        client: claim.body,
        server: body_of(&challenge),
    };
    let checked = decode_proof(&received.body)
        .map_err(|_| Refusal::Malformed)
        .and_then(|proof| check_proof(claim.guard, &claim.access_key_id, &transcript, &proof))
        .and_then(|proven| judge.admit(claim.hello).map(|()| proven));
    match checked {
        Ok((user, mac, sealer)) => {
            say(socket, &encode_reply(&Reply::Confirmed { mac: mac.0 })).await?;
            Ok((user, sealer))
        }
        Err(refusal) => {
            say_goodbye(socket, PROTOCOL_VERSION, &refusal).await?;
            let access_key_id = claim.access_key_id.clone();
            Err(AcceptError::Unproven { access_key_id, refusal })
        }
    }
}

/// Whether a proof is right: then who it is, our own proof, and what seals the frames.
fn check_proof(
    guard: &Guard,
    access_key_id: &str,
    transcript: &Transcript<'_>,
    proof: &Proof,
) -> Result<(SessionUser, Signature, Sealer), Refusal> {
    let date = check_date(proof.unix_seconds, clock::wall()).map_err(|error| match error {
        SealError::Skewed { skew_seconds } => Refusal::RequestTimeTooSkewed { skew_seconds },
        _ => Refusal::SignatureDoesNotMatch,
    })?;
    let scope = Scope::new(date, &guard.cluster_name, guard.service);
    let (principal, key) = guard.keys.signing_key(access_key_id, &scope);
    let channel = transcript.channel();
    let (mac, answers) = (server_proof(&key, &channel), AnswerMac::new(&key, &channel));
    let mut signer = FrameSigner::new(channel, scope, key, date);
    // The signature first: an unknown key takes the time of a known one.
    let is_right = signer.verify_session(date, &Signature(proof.signature));
    let principal = principal.filter(|_| is_right).ok_or(Refusal::SignatureDoesNotMatch)?;
    let access_key_id = access_key_id.to_owned();
    let sealer = AnswererSealer::new(
        guard.keys.clone(),
        access_key_id.clone(),
        guard.paths,
        signer,
        answers,
    );
    let user = SessionUser { principal, access_key_id };
    Ok((user, mac, Sealer::Answerer(Box::new(sealer))))
}

async fn say<S: AsyncWrite + Unpin>(socket: &mut S, message: &[u8]) -> Result<(), HandshakeError> {
    socket.write_all(message).await?;
    Ok(socket.flush().await?)
}

/// Refuses, in a version that the other end reads; properly, or a reset could overtake the refusal.
async fn say_goodbye<S: AsyncWrite + Unpin>(
    socket: &mut S,
    version: u16,
    refusal: &Refusal,
) -> Result<(), HandshakeError> {
    say(socket, &encode_at(version, &Reply::Refused(refusal.clone()))).await?;
    Ok(socket.shutdown().await?)
}

/// A reply in the version of whom it is for, as far as we know it.
fn encode_at(version: u16, reply: &Reply) -> Vec<u8> {
    encode(version.clamp(1, PROTOCOL_VERSION), reply)
}

/// Refuses whoever is there, after its hello.
pub async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    identity: Identity,
    wait: Duration,
    refusal: Refusal,
) -> AcceptError {
    match accept(socket, identity, None, wait, |_: &Hello| Err(refusal.clone())).await {
        Err(error) => error,
        Ok(_) => unreachable!("nobody is let in by a judge that refuses everybody"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::transport::handshake::{MAGIC, greet};
    use crate::types::{ClusterId, StartClaim};

    const WAIT: Duration = Duration::from_secs(3);
    const IDENTITY: Identity =
        Identity { cluster_id: ClusterId(1), node_id: 2, incarnation: 3, claim: StartClaim::NONE };

    #[tokio::test]
    async fn who_is_let_in_learns_who_is_there() {
        let (mut near, mut far) = tokio::io::duplex(256);
        let hello = Hello::Client { cluster_id: None };
        let (greeted, accepted) = tokio::join!(
            greet(&mut near, &hello, WAIT),
            accept(&mut far, IDENTITY, None, WAIT, |_: &Hello| Ok(())),
        );
        assert_eq!(greeted.expect("welcome"), IDENTITY.into());
        assert_eq!(accepted.expect("let in").hello, hello);
    }

    #[tokio::test]
    async fn who_is_refused_learns_why() {
        let (mut near, mut far) = tokio::io::duplex(256);
        let hello = Hello::Client { cluster_id: None };
        let (greeted, refused) = tokio::join!(
            greet(&mut near, &hello, WAIT),
            refuse(&mut far, IDENTITY, WAIT, Refusal::Full { max: 7 }),
        );
        assert!(matches!(greeted, Err(HandshakeError::Refused(Refusal::Full { max: 7 }))));
        assert!(matches!(refused, AcceptError::Refused(Refusal::Full { max: 7 })));
    }

    async fn answer_to(bytes: &[u8]) -> (Vec<u8>, Result<Accepted, AcceptError>) {
        let (mut near, mut far) = tokio::io::duplex(256);
        near.write_all(bytes).await.expect("there is room");
        let accepted = accept(&mut far, IDENTITY, None, WAIT, |_: &Hello| Ok(())).await;
        drop(far);
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut near, &mut answer).await.expect("readable");
        (answer, accepted)
    }

    #[tokio::test]
    async fn a_newer_protocol_is_told_what_we_speak() {
        // A body of another version, which must not be looked at.
        let (answer, accepted) = answer_to(&[&MAGIC[..], b"\x00\x03\x00\x03???"].concat()).await;
        let refusal = Refusal::NewerProtocol { newest: PROTOCOL_VERSION };
        assert_eq!(answer, encode_reply(&Reply::Refused(refusal)));
        assert!(matches!(accepted, Err(AcceptError::Refused(Refusal::NewerProtocol { .. }))));
    }

    #[tokio::test]
    async fn a_malformed_hello_is_refused() {
        // A client hello with a trailing byte.
        let bytes = [&MAGIC[..], b"\x00\x01\x00\x03\x00\x00\x00"].concat();
        let (answer, accepted) = answer_to(&bytes).await;
        assert_eq!(answer, encode(1, &Reply::Refused(Refusal::Malformed)), "in its version");
        assert!(matches!(accepted, Err(AcceptError::Refused(Refusal::Malformed))));
    }

    #[tokio::test]
    async fn what_is_not_ours_gets_no_answer() {
        let (answer, accepted) = answer_to(b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(answer.is_empty());
        assert!(matches!(accepted, Err(AcceptError::Handshake(HandshakeError::NotChainfire))));
    }
}
