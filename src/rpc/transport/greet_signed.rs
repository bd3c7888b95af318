//! The connecting side's handshake with authentication.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::handshake::{
    HandshakeError, Hello, PROTOCOL_VERSION, Presence, Proof, Reply, body_of, decode_reply,
    encode_hello, encode_proof, receive,
};
use super::methods::ServicePaths;
use super::sealing::{CallerSealer, Sealer};
use crate::auth::session::{AnswerMac, FrameSigner, Transcript, verify_server_proof};
use crate::auth::{AmzDate, Signature, Signer};
use crate::clock;

/// Says `hello`, a signed one, proves that we have its key's secret, and has the other end prove
/// that it has it too. Answers who is there and how far
/// its state is, and what seals the frames.
pub async fn greet_signed<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    hello: &Hello,
    credentials: Arc<Signer>,
    paths: ServicePaths,
    wait: Duration,
) -> Result<(Presence, Sealer), HandshakeError> {
    let exchange = async {
        let hello = encode_hello(hello);
        socket.write_all(&hello).await?;
        socket.flush().await?;
        let challenge = receive(socket).await?;
        if challenge.version > PROTOCOL_VERSION {
            return Err(HandshakeError::UnknownVersion { version: challenge.version });
        }
        let presence = match decode_reply(&challenge.body)? {
            Reply::Challenge { presence, .. } => presence,
            Reply::Refused(refusal) => return Err(HandshakeError::Refused(refusal)),
            // Whoever welcomes us without a proof does not get our requests.
            Reply::Welcome(_) | Reply::Confirmed { .. } => return Err(HandshakeError::Unproven),
        };
        let date = AmzDate::from_unix(clock::wall());
        let key = credentials.signing_key(date);
        let transcript = Transcript {
            version: PROTOCOL_VERSION,
            cluster_name: credentials.region(),
            client: body_of(&hello),
            server: &challenge.body,
        };
        let channel = transcript.channel();
        let mut signer = FrameSigner::new(channel, credentials.scope(date), key.clone(), date);
        let Signature(signature) = signer.sign_session(date);
        let proof = Proof { unix_seconds: date.unix_seconds(), signature };
        socket.write_all(&encode_proof(&proof)).await?;
        socket.flush().await?;
        match decode_reply(&receive(socket).await?.body)? {
            Reply::Confirmed { mac } if verify_server_proof(&key, &channel, &Signature(mac)) => {}
            Reply::Refused(refusal) => return Err(HandshakeError::Refused(refusal)),
            _ => return Err(HandshakeError::Unproven),
        }
        let answers = AnswerMac::new(&key, &channel);
        let sealer = CallerSealer::new(credentials, paths, signer, answers);
        Ok((presence, Sealer::Caller(Box::new(sealer))))
    };
    timeout(wait, exchange).await.unwrap_or(Err(HandshakeError::Timeout))
}
