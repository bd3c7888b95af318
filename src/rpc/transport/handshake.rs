//! Who is at the other end: the one exchange before the first frame.
//!
//! ```text
//!   0        8         10       12
//!   | magic  | version | length | body, in postcard ... |
//!
//!   calling side                               answering side
//!   Hello: key id or node, nonce  ---------->
//!                                 <----------  Reply::Challenge: node, replicated time, nonce
//!   Proof: date, signature        ---------->
//!                                 <----------  Reply::Confirmed: MAC
//! ```
//!
//! Both hash the bytes of hello and challenge into the channel's name; the signature and the MAC
//! are over that name ([`auth::session`](crate::auth::session)), so either side learns that the
//! other has the secret and heard the same words. A node that runs without authentication answers
//! an unsigned hello with `Reply::Welcome` instead.
//!
//! Version and length are 16 bits, big endian; the length counts the body and the whole stays
//! under [`HANDSHAKE_BYTES_MAX`]. The magic begins with a byte that no text begins with and ends
//! with a line feed, and is compared byte by byte as it arrives: what is not ours is found out at
//! once, and answered by closing.
//!
//! The version is that of everything that follows. A node that is asked for a version it does not
//! know says so in version 1, which every release can read: the layout above, [`Reply`] and
//! [`Refusal`] only ever grow at their ends.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::codec::{CodecError, decode, encode_into};
use super::limits::{HANDSHAKE_BYTES_MAX, PEER_UNACKNOWLEDGED_MAX, WRITE_STALL_TIMEOUT};
use super::tls_error::TlsError;
use crate::types::error::stale_start;
use crate::types::{ClusterId, NodeId, StartClaim};

/// The version of the protocol this release speaks.
pub const PROTOCOL_VERSION: u16 = 2;

/// The first bytes of every connection, in both directions.
pub(super) const MAGIC: [u8; 8] = *b"\x93CHFIRE\n";

/// How TLS begins: a record of its handshake, or an alert.
const TLS_RECORDS: [u8; 2] = [0x16, 0x15];

const HEADER_BYTES: usize = MAGIC.len() + 2 + 2;
const BODY_BYTES_MAX: usize = HANDSHAKE_BYTES_MAX - HEADER_BYTES;

/// What a connection between two nodes carries; each kind of traffic has its own, so that none
/// waits behind another. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Votes, heartbeats, forwarded requests, read-index rounds: small and urgent.
    Control,
    /// Log entries.
    Append,
    /// Snapshots.
    Snapshot,
}

impl Lane {
    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Append => "append",
            Self::Snapshot => "snapshot",
        }
    }

    /// How long what was sent may stay unacknowledged by the other system.
    pub(super) fn unacknowledged_max(self) -> Duration {
        match self {
            Self::Control | Self::Append => PEER_UNACKNOWLEDGED_MAX,
            // Its receiver writes to a disk, and may let the sender wait meanwhile.
            Self::Snapshot => WRITE_STALL_TIMEOUT,
        }
    }
}

/// What the side that connects says of itself. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hello {
    /// A client.
    Client {
        /// The cluster it wants to reach; none = whichever is there.
        cluster_id: Option<ClusterId>,
    },
    /// Another node, without authentication.
    Peer(PeerHello),
    /// A client with a key.
    SignedClient {
        /// The cluster it wants to reach; none = whichever has this name.
        cluster_id: Option<ClusterId>,
        /// The cluster's name, for which requests are signed.
        cluster_name: String,
        /// The key that it will sign with.
        access_key_id: String,
        /// Drawn for this connection.
        nonce: [u8; 32],
    },
    /// Another node with the secret of the cluster's peers.
    SignedPeer {
        /// Who it is.
        peer: PeerHello,
        /// The cluster's name.
        cluster_name: String,
        /// Drawn for this connection.
        nonce: [u8; 32],
    },
}

impl Hello {
    /// What a node says of itself, if this is one.
    pub fn peer(&self) -> Option<&PeerHello> {
        match self {
            Self::Peer(peer) | Self::SignedPeer { peer, .. } => Some(peer),
            Self::Client { .. } | Self::SignedClient { .. } => None,
        }
    }
}

/// The calling side proves that it has the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// When it was signed, in seconds since 1970.
    pub unix_seconds: u64,
    /// The signature of `POST /chainfire/session`.
    pub signature: [u8; 32],
}

/// What a node says of itself to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Its id.
    pub node_id: NodeId,
    /// Drawn when its data directory was created: tells a wiped node from the one before.
    pub incarnation: u128,
    /// Its start: tells a directory that was copied or put back.
    pub claim: StartClaim,
    /// The node it believes to reach.
    pub expected_node_id: NodeId,
    /// What the connection is for.
    pub lane: Lane,
}

/// What the side that accepted says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Its id.
    pub node_id: NodeId,
    /// Drawn when its data directory was created.
    pub incarnation: u128,
    /// Its start; of no meaning to clients.
    pub claim: StartClaim,
}

/// The side that accepted, and how far its state was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who it is.
    pub identity: Identity,
    /// The replicated time that it had applied, in milliseconds; 0 where nobody needs it. A client
    /// that begins a session later on says so with this time
    /// ([`RequestId::begun_ms`](crate::types::RequestId)).
    pub time_ms: u64,
}

impl From<Identity> for Presence {
    fn from(identity: Identity) -> Self {
        Self { identity, time_ms: 0 }
    }
}

/// The answer to a [`Hello`]. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Frames may follow.
    Welcome(Presence),
    /// The connection will be closed.
    Refused(Refusal),
    /// Prove that you have the secret of the key you named.
    Challenge {
        /// Who asks.
        presence: Presence,
        /// Drawn for this connection.
        nonce: [u8; 32],
    },
    /// The proof is right, and so is this one: frames may follow.
    Confirmed {
        /// The answering side's MAC over the channel.
        mac: [u8; 32],
    },
}

/// Why a connection was refused. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Another cluster lives here.
    #[error("the node belongs to cluster {actual}, not {asked}; check the address")]
    WrongCluster {
        /// The cluster asked for.
        asked: ClusterId,
        /// The node's cluster.
        actual: ClusterId,
    },
    /// The side that connects is newer.
    #[error("the node speaks protocol version {newest} at most; upgrade the node")]
    NewerProtocol {
        /// The newest version the node speaks.
        newest: u16,
    },
    /// Another node lives here.
    #[error("node {actual} is there, not node {expected}; check the addresses of the members")]
    NotThatNode {
        /// The node asked for.
        expected: NodeId,
        /// The node that is there.
        actual: NodeId,
    },
    /// The node that connects is not the one known under its id.
    #[error(
        "node {node_id} is known with another data directory; a node that lost its data is a new one: remove it with 'chainfire member remove {node_id}', empty its directory and start it with --join"
    )]
    OtherIncarnation {
        /// The id.
        node_id: NodeId,
    },
    /// A client on the port for peers.
    #[error("this is the port for peers; use the node's client address")]
    PeersOnly,
    /// A peer on the port for clients.
    #[error("this is the port for clients; use the node's peer address")]
    ClientsOnly,
    /// As many connections as the node takes.
    #[error("the node has {max} connections, as many as it takes; close some or use another node")]
    Full {
        /// The limit.
        max: u64,
    },
    /// The hello was not understood.
    #[error("the node did not understand the handshake")]
    Malformed,
    /// An unsigned hello.
    #[error(
        "the node wants signed requests and none were offered; give credentials (--credentials FILE)"
    )]
    SignatureRequired,
    /// A signed hello to a node that checks no signatures.
    #[error(
        "the node runs without authentication (--insecure-no-auth) and cannot prove who it is; connect without credentials if you trust it"
    )]
    NotAuthenticated,
    /// The key is unknown or not active, or its secret is another.
    #[error(
        "SignatureDoesNotMatch: the node does not accept this key; check the credentials, or whether the key was deactivated"
    )]
    SignatureDoesNotMatch,
    /// The clocks are too far apart.
    #[error(
        "RequestTimeTooSkewed: this machine's clock and the node's are {skew_seconds} s apart, at most 900 s are allowed; set the clock"
    )]
    RequestTimeTooSkewed {
        /// How far.
        skew_seconds: u64,
    },
    /// The credentials are for a cluster of another name.
    #[error("the credentials are for a cluster named {asked}, the node's is named {actual}")]
    WrongClusterName {
        /// The name in the credentials.
        asked: String,
        /// The name of the node's cluster.
        actual: String,
    },
    /// No TLS on a port that wants it.
    #[error(
        "the node wants TLS; give --tls-ca FILE, the certificate of its CA (a node: the sections \
         [tls.client] and [tls.peer] of the configuration)"
    )]
    TlsRequired,
    /// The node knows no user yet.
    #[error("the node is not ready yet: it joins, or its cluster is being founded; try again")]
    NotReady,
    /// Another start of the node's data directory is known, which this one does not continue.
    #[error("{}", stale_start(*node_id, *counter))]
    StaleStart {
        /// The id.
        node_id: NodeId,
        /// The start that was taken last.
        counter: u64,
    },
}

impl Refusal {
    /// Whether the same hello may be welcomed later, without anybody having changed something.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Full { .. } | Self::NotReady => true,
            Self::WrongCluster { .. }
            | Self::NewerProtocol { .. }
            | Self::NotThatNode { .. }
            | Self::OtherIncarnation { .. }
            | Self::StaleStart { .. }
            | Self::PeersOnly
            | Self::ClientsOnly
            | Self::Malformed
            | Self::SignatureRequired
            | Self::NotAuthenticated
            | Self::SignatureDoesNotMatch
            | Self::RequestTimeTooSkewed { .. }
            | Self::WrongClusterName { .. }
            | Self::TlsRequired => false,
        }
    }

    /// In metrics and audit lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WrongCluster { .. } | Self::WrongClusterName { .. } => "wrong_cluster",
            Self::NewerProtocol { .. } => "newer_protocol",
            Self::NotThatNode { .. } => "not_that_node",
            Self::OtherIncarnation { .. } => "other_incarnation",
            Self::PeersOnly | Self::ClientsOnly => "wrong_port",
            Self::Full { .. } => "full",
            Self::Malformed => "malformed",
            Self::SignatureRequired => "unsigned",
            Self::NotAuthenticated => "not_authenticated",
            Self::SignatureDoesNotMatch => "signature_does_not_match",
            Self::RequestTimeTooSkewed { .. } => "time_too_skewed",
            Self::TlsRequired => "no_tls",
            Self::NotReady => "not_ready",
            Self::StaleStart { .. } => "stale_start",
        }
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket failed or was closed.
    #[error("the connection broke during the handshake: {0}")]
    Socket(#[from] io::Error),
    /// It took too long.
    #[error("the other end did not complete the handshake in time")]
    Timeout,
    /// Something else speaks there.
    #[error("the other end does not speak chainfire's protocol; check the address and the port")]
    NotChainfire,
    /// TLS, where none is spoken.
    #[error(
        "the other end speaks TLS and this end does not; set both up for it, or neither \
         (docs/operations.md, TLS)"
    )]
    TlsUnexpected,
    /// TLS was not set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The other end speaks a version we do not.
    #[error(
        "the other end speaks protocol version {version}; this release speaks {PROTOCOL_VERSION}"
    )]
    UnknownVersion {
        /// The version.
        version: u16,
    },
    /// Longer than a handshake may be.
    #[error("a handshake of {bytes} bytes was announced; at most {BODY_BYTES_MAX} are allowed")]
    TooLong {
        /// The length announced.
        bytes: u64,
    },
    /// The body is not what belongs there.
    #[error("the handshake is malformed: {0}")]
    Malformed(#[from] CodecError),
    /// The other end refused.
    #[error(transparent)]
    Refused(Refusal),
    /// The other end said something else than belongs there.
    #[error("the other end answered out of turn")]
    OutOfTurn,
    /// The other end let us in without knowing the secret.
    #[error(
        "the other end could not prove that it knows the key's secret; it is no node of this cluster, or somebody is in between"
    )]
    Unproven,
}

/// The bytes of a message in a version of the protocol, header included.
pub(super) fn encode<T: Serialize>(version: u16, body: &T) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::with_capacity(HEADER_BYTES + 64);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    encode_into(body, &mut bytes).expect("a buffer takes every byte and no field refuses");
    let length = u16::try_from(bytes.len() - HEADER_BYTES).expect("a handshake is short");
    bytes[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    bytes.into()
}

/// The bytes of a hello, header included.
pub fn encode_hello(hello: &Hello) -> Vec<u8> {
    encode(PROTOCOL_VERSION, hello)
}

/// The bytes of a reply, header included.
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    encode(PROTOCOL_VERSION, reply)
}

/// Reads the body of a hello.
pub fn decode_hello(body: &[u8]) -> Result<Hello, CodecError> {
    decode(body)
}

/// The bytes of a proof, header included.
pub fn encode_proof(proof: &Proof) -> Vec<u8> {
    encode(PROTOCOL_VERSION, proof)
}

/// Reads the body of a proof.
pub fn decode_proof(body: &[u8]) -> Result<Proof, CodecError> {
    decode(body)
}

/// Reads the body of a reply.
pub fn decode_reply(body: &[u8]) -> Result<Reply, CodecError> {
    decode(body)
}

/// The first half of a handshake message as it came.
pub(super) struct Received {
    pub(super) version: u16,
    pub(super) body: Vec<u8>,
}

/// The body of a message as it is in its bytes.
pub(super) fn body_of(message: &[u8]) -> &[u8] {
    &message[HEADER_BYTES..]
}

/// Reads one handshake message, and no byte more.
pub(super) async fn receive<S: AsyncRead + Unpin>(
    socket: &mut S,
) -> Result<Received, HandshakeError> {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        let read = socket.read(&mut header[filled..]).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += read;
        if TLS_RECORDS.contains(&header[0]) {
            return Err(HandshakeError::TlsUnexpected);
        }
        let compared = filled.min(MAGIC.len());
        if header[..compared] != MAGIC[..compared] {
            return Err(HandshakeError::NotChainfire);
        }
    }
    let version = u16::from_be_bytes([header[8], header[9]]);
    let length = usize::from(u16::from_be_bytes([header[10], header[11]]));
    if length > BODY_BYTES_MAX {
        return Err(HandshakeError::TooLong { bytes: length as u64 });
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(Received { version, body })
}

/// The connecting side's handshake without authentication: says `hello`, and answers who is there.
pub async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    hello: &Hello,
    wait: Duration,
) -> Result<Presence, HandshakeError> {
    let exchange = async {
        socket.write_all(&encode_hello(hello)).await?;
        socket.flush().await?;
        let reply = receive(socket).await?;
        if reply.version > PROTOCOL_VERSION {
            return Err(HandshakeError::UnknownVersion { version: reply.version });
        }
        match decode_reply(&reply.body)? {
            Reply::Welcome(presence) => Ok(presence),
            Reply::Refused(refusal) => Err(HandshakeError::Refused(refusal)),
            Reply::Challenge { .. } | Reply::Confirmed { .. } => Err(HandshakeError::OutOfTurn),
        }
    };
    timeout(wait, exchange).await.unwrap_or(Err(HandshakeError::Timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0x0102);
    const CLAIM: StartClaim =
        StartClaim { counter: 6, nonce: 9, continues: [8, 0, 0, 0, 0, 0, 0, 0] };
    const CLAIM_BYTES: &[u8] = b"\x06\x09\x08\0\0\0\0\0\0\0";

    #[test]
    fn the_bytes_of_a_hello_never_change() {
        let client = encode_hello(&Hello::Client { cluster_id: None });
        assert_eq!(client, b"\x93CHFIRE\n\x00\x02\x00\x02\x00\x00");
        let client = encode_hello(&Hello::Client { cluster_id: Some(CLUSTER) });
        assert_eq!(client, b"\x93CHFIRE\n\x00\x02\x00\x04\x00\x01\x82\x02");
        let peer = encode_hello(&Hello::Peer(PeerHello {
            cluster_id: CLUSTER,
            node_id: 1,
            incarnation: 300,
            claim: CLAIM,
            expected_node_id: 2,
            lane: Lane::Snapshot,
        }));
        assert_eq!(peer, b"\x93CHFIRE\n\x00\x02\x00\x12\x01\x82\x02\x01\xac\x02\x06\x09\x08\0\0\0\0\0\0\0\x02\x02");
    }

    #[test]
    fn the_bytes_of_a_reply_never_change() {
        let identity = Identity { cluster_id: CLUSTER, node_id: 3, incarnation: 5, claim: CLAIM };
        let presence = Presence { identity, time_ms: 300 };
        let name = |name: &str| name.to_owned();
        let cases: [(Reply, &[u8]); 16] = [
            (
                Reply::Welcome(presence),
                b"\x00\x11\x00\x82\x02\x03\x05\x06\x09\x08\0\0\0\0\0\0\0\xac\x02",
            ),
            (
                Reply::Refused(Refusal::WrongCluster { asked: ClusterId(9), actual: CLUSTER }),
                b"\x00\x05\x01\x00\x09\x82\x02",
            ),
            (Reply::Refused(Refusal::NewerProtocol { newest: 1 }), b"\x00\x03\x01\x01\x01"),
            (
                Reply::Refused(Refusal::NotThatNode { expected: 1, actual: 2 }),
                b"\x00\x04\x01\x02\x01\x02",
            ),
            (Reply::Refused(Refusal::OtherIncarnation { node_id: 4 }), b"\x00\x03\x01\x03\x04"),
            (Reply::Refused(Refusal::PeersOnly), b"\x00\x02\x01\x04"),
            (Reply::Refused(Refusal::ClientsOnly), b"\x00\x02\x01\x05"),
            (Reply::Refused(Refusal::Full { max: 7 }), b"\x00\x03\x01\x06\x07"),
            (Reply::Refused(Refusal::Malformed), b"\x00\x02\x01\x07"),
            (Reply::Refused(Refusal::SignatureRequired), b"\x00\x02\x01\x08"),
            (Reply::Refused(Refusal::NotAuthenticated), b"\x00\x02\x01\x09"),
            (Reply::Refused(Refusal::SignatureDoesNotMatch), b"\x00\x02\x01\x0a"),
            (
                Reply::Refused(Refusal::RequestTimeTooSkewed { skew_seconds: 300 }),
                b"\x00\x04\x01\x0b\xac\x02",
            ),
            (
                Reply::Refused(Refusal::WrongClusterName { asked: name("a"), actual: name("b") }),
                b"\x00\x06\x01\x0c\x01a\x01b",
            ),
            (Reply::Refused(Refusal::TlsRequired), b"\x00\x02\x01\x0d"),
            (
                Reply::Refused(Refusal::StaleStart { node_id: 4, counter: 9 }),
                b"\x00\x04\x01\x0f\x04\x09",
            ),
        ];
        for (reply, expected) in cases {
            let bytes = encode_reply(&reply);
            assert_eq!(&bytes[..10], b"\x93CHFIRE\n\x00\x02", "{reply:?}");
            assert_eq!(&bytes[10..], expected, "{reply:?}");
            assert_eq!(decode_reply(&bytes[HEADER_BYTES..]), Ok(reply));
        }
    }

    #[test]
    fn the_bytes_of_a_signed_handshake_never_change() {
        let [nonce, mac] = [[7; 32], [9; 32]];
        let client = encode_hello(&Hello::SignedClient {
            cluster_id: None,
            cluster_name: "c".to_owned(),
            access_key_id: "K1".to_owned(),
            nonce,
        });
        assert_eq!(body_of(&client), [&b"\x02\x00\x01c\x02K1"[..], &nonce].concat());
        let peer = PeerHello {
            cluster_id: CLUSTER,
            node_id: 1,
            incarnation: 300,
            claim: CLAIM,
            expected_node_id: 2,
            lane: Lane::Snapshot,
        };
        let peer = encode_hello(&Hello::SignedPeer { peer, cluster_name: "c".to_owned(), nonce });
        let expected =
            [&b"\x03\x82\x02\x01\xac\x02"[..], CLAIM_BYTES, b"\x02\x02\x01c", &nonce].concat();
        assert_eq!(body_of(&peer), expected);
        let identity = Identity { cluster_id: CLUSTER, node_id: 3, incarnation: 5, claim: CLAIM };
        let presence = Presence { identity, time_ms: 300 };
        let challenge = encode_reply(&Reply::Challenge { presence, nonce });
        assert_eq!(
            body_of(&challenge),
            [&b"\x02\x82\x02\x03\x05"[..], CLAIM_BYTES, b"\xac\x02", &nonce].concat()
        );
        let confirmed = encode_reply(&Reply::Confirmed { mac });
        assert_eq!(body_of(&confirmed), [&b"\x03"[..], &mac].concat());
        let proof = encode_proof(&Proof { unix_seconds: 300, signature: mac });
        assert_eq!(body_of(&proof), [&b"\xac\x02"[..], &mac].concat());
    }

    #[tokio::test]
    async fn the_first_wrong_byte_ends_a_handshake() {
        // The other end stays open and silent after these bytes.
        for bytes in [&b"G"[..], b"\x93CHFIRE\r", b"\0\0\0\0"] {
            let (mut near, mut far) = tokio::io::duplex(64);
            far.write_all(bytes).await.expect("there is room");
            let received = receive(&mut near).await;
            assert!(matches!(received, Err(HandshakeError::NotChainfire)), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn tls_is_known_by_its_first_byte() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"\x16\x03\x01\x02").await.expect("there is room");
        assert!(matches!(receive(&mut near).await, Err(HandshakeError::TlsUnexpected)));
    }

    #[tokio::test]
    async fn a_long_handshake_is_refused_from_its_header() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"\x93CHFIRE\n\x00\x01\xff\xff").await.expect("there is room");
        let received = receive(&mut near).await;
        assert!(matches!(received, Err(HandshakeError::TooLong { bytes: 0xffff })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_end_runs_into_the_timeout() {
        let (mut near, _far) = tokio::io::duplex(64);
        let hello = Hello::Client { cluster_id: None };
        let greeted = greet(&mut near, &hello, Duration::from_secs(3)).await;
        assert!(matches!(greeted, Err(HandshakeError::Timeout)));
    }
}
