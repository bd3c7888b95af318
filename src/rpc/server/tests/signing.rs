//! Who is let in with a signature, and what becomes of those who have none.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::echo_peer::PeerServer;
use super::echo_store::{EchoServer, is_served, write};
use super::{CLUSTER, IDENTITY, PATIENCE, soon};
use crate::auth::{
    CLIENT_SERVICE, PEER_KEY_ID, PEER_SERVICE, Scope, SecretKey, Signer, SigningKey,
};
use crate::rpc::api::StoreRequest;
use crate::rpc::peer::{Lane, PeerConnections, PeerDialer, PeerRequest};
use crate::rpc::server::{Admission, ListenerLimits};
use crate::rpc::transport::{
    ConnectError, ConnectOptions, Guard, HandshakeError, Hello, Identity, PeerHello, Refusal,
    ServicePaths, ServiceRequest, SessionKeys, StoreConnection, call_context, connect_store,
    greet_signed,
};
use crate::types::{Principal, StartClaim};

const NAME: &str = "c";

/// One key and its secret.
struct OneKey(&'static str, &'static str);

impl SessionKeys for OneKey {
    fn signing_key(&self, access_key_id: &str, scope: &Scope) -> (Option<Principal>, SigningKey) {
        let known = access_key_id == self.0;
        let secret = SecretKey::new(if known { self.1 } else { "nobody's" });
        (known.then(|| Principal("ann".to_owned())), SigningKey::derive(&secret, scope))
    }
}

fn guard(key: OneKey, service: &'static str, paths: ServicePaths) -> Guard {
    Guard { cluster_name: NAME.to_owned(), service, paths, keys: Arc::new(key) }
}

async fn store() -> EchoServer {
    let guard = guard(OneKey("K", "secret"), CLIENT_SERVICE, StoreRequest::PATHS);
    let node = Admission::new(1_000, 1 << 26);
    EchoServer::guarded(ListenerLimits::clients(), node, Some(guard)).await
}

async fn peer() -> PeerServer {
    let guard = guard(OneKey(PEER_KEY_ID, "peers"), PEER_SERVICE, PeerRequest::PATHS);
    PeerServer::guarded("127.0.0.1:0", IDENTITY, Some(guard)).await
}

fn signer(id: &str, secret: &str, name: &str, service: &'static str) -> Arc<Signer> {
    Arc::new(Signer::new(id, SecretKey::new(secret), name, service))
}

async fn connect(
    address: &str,
    credentials: Option<Arc<Signer>>,
) -> Result<StoreConnection, ConnectError> {
    let options = ConnectOptions { credentials, ..ConnectOptions::default() };
    soon(connect_store(address, &options)).await
}

fn refusal(result: Result<StoreConnection, ConnectError>) -> Refusal {
    match result {
        Err(ConnectError::Handshake { source: HandshakeError::Refused(refusal), .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_signed_connection_is_served() {
    let server = store().await;
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    let connection = connect(&server.address, Some(credentials)).await.expect("let in");
    assert_eq!(connection.identity, IDENTITY);
    is_served(&connection).await;
    is_served(&connection).await;
}

#[tokio::test]
async fn an_unknown_key_and_a_wrong_secret_are_refused_in_the_same_words() {
    let server = store().await;
    let wrong = signer("K", "another", NAME, CLIENT_SERVICE);
    let unknown = signer("X", "secret", NAME, CLIENT_SERVICE);
    for credentials in [wrong, unknown] {
        let refused = refusal(connect(&server.address, Some(credentials)).await);
        assert_eq!(refused, Refusal::SignatureDoesNotMatch);
    }
    server.counts.reaches("client signature_does_not_match", 2).await;
    for key in ["K", "X"] {
        server.counts.reaches(&format!("{key}: signature_does_not_match"), 1).await;
    }
    let elsewhere = signer("K", "secret", "other", CLIENT_SERVICE);
    let refused = refusal(connect(&server.address, Some(elsewhere)).await);
    let (asked, actual) = ("other".to_owned(), NAME.to_owned());
    assert_eq!(refused, Refusal::WrongClusterName { asked, actual });
}

#[tokio::test]
async fn who_does_not_sign_is_not_served_and_who_does_trusts_no_node_that_does_not() {
    let signed = store().await;
    assert_eq!(refusal(connect(&signed.address, None).await), Refusal::SignatureRequired);
    signed.counts.reaches("nobody: unsigned", 1).await;
    let open = EchoServer::start().await;
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    let refused = refusal(connect(&open.address, Some(credentials)).await);
    assert_eq!(refused, Refusal::NotAuthenticated);
}

fn peer_hello() -> PeerHello {
    let (node_id, incarnation) = (2, 22);
    PeerHello {
        cluster_id: CLUSTER,
        node_id,
        incarnation,
        claim: StartClaim::NONE,
        expected_node_id: 1,
        lane: Lane::Control,
    }
}

#[tokio::test]
async fn a_key_of_clients_opens_no_port_for_peers_and_the_other_way_round() {
    let (clients, peers) = (store().await, peer().await);
    let client_key = signer("K", "secret", NAME, CLIENT_SERVICE);
    let peer_key = signer(PEER_KEY_ID, "peers", NAME, PEER_SERVICE);
    let refused = refusal(connect(&peers.address, Some(client_key.clone())).await);
    assert_eq!(refused, Refusal::PeersOnly);
    let as_peer =
        |nonce| Hello::SignedPeer { peer: peer_hello(), cluster_name: NAME.to_owned(), nonce };
    let greet = async |address: &str, hello: Hello, signer| {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        match greet_signed(&mut stream, &hello, signer, PeerRequest::PATHS, PATIENCE).await {
            Err(HandshakeError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let refused = greet(&clients.address, as_peer([1; 32]), peer_key.clone()).await;
    assert_eq!(refused, Refusal::ClientsOnly);
    // With the right words and the other kind of key, either way.
    let refused = greet(&peers.address, as_peer([2; 32]), client_key).await;
    assert_eq!(refused, Refusal::SignatureDoesNotMatch);
    let as_client = Hello::SignedClient {
        cluster_id: None,
        cluster_name: NAME.to_owned(),
        access_key_id: PEER_KEY_ID.to_owned(),
        nonce: [3; 32],
    };
    let refused = greet(&clients.address, as_client, peer_key).await;
    assert_eq!(refused, Refusal::SignatureDoesNotMatch);
}

fn dialer(secret: &str) -> PeerConnections {
    let us = Identity { cluster_id: CLUSTER, node_id: 2, incarnation: 22, claim: StartClaim::NONE };
    let credentials = Some(signer(PEER_KEY_ID, secret, NAME, PEER_SERVICE));
    PeerConnections::new(PeerDialer { credentials, ..PeerDialer::new(us) })
}

#[tokio::test]
async fn a_node_with_another_cluster_key_is_refused_by_name_and_claims_no_identity() {
    let server = peer().await;
    let impostor = dialer("another").peer(1, &server.address, Lane::Control);
    let error = soon(impostor.read_index(PATIENCE)).await.expect_err("refused").to_string();
    assert!(error.contains("another cluster key"), "{error}");
    server.counts.reaches("peer signature_does_not_match", 1).await;
    // The impostor claimed to be node 2 with another data directory; the real one is let in.
    let us = Identity { cluster_id: CLUSTER, node_id: 2, incarnation: 99, claim: StartClaim::NONE };
    let credentials = Some(signer(PEER_KEY_ID, "peers", NAME, PEER_SERVICE));
    let real = PeerConnections::new(PeerDialer { credentials, ..PeerDialer::new(us) });
    let lane = real.peer(1, &server.address, Lane::Control);
    soon(lane.read_index(PATIENCE)).await.expect("let in");
    let late = dialer("peers").peer(1, &server.address, Lane::Control);
    let error = soon(late.read_index(PATIENCE)).await.expect_err("refused").to_string();
    assert!(error.contains("known with another data directory"), "{error}");
}

/// Accepts one connection and passes bytes on to `to`, after `change` saw each piece from there.
async fn between(to: String, change: fn(usize, &mut [u8])) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.expect("somebody comes");
        let far = TcpStream::connect(to).await.expect("listening");
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
            (near.into_split(), far.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
        let mut buffer = vec![0; 1 << 16];
        let mut seen = 0;
        while let Ok(read @ 1..) = far_in.read(&mut buffer).await {
            change(seen, &mut buffer[..read]);
            seen += read;
            if near_out.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    address
}

/// Bytes of challenge and confirmation, which come before the first answer.
const HANDSHAKE_BYTES: usize = (12 + 1 + 2 + 1 + 1 + 32) + (12 + 1 + 32);

#[tokio::test]
async fn a_changed_answer_never_reaches_the_caller() {
    let server = store().await;
    let change = |seen: usize, bytes: &mut [u8]| {
        if seen >= HANDSHAKE_BYTES {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
    };
    let address = between(server.address.clone(), change).await;
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    let connection = connect(&address, Some(credentials)).await.expect("let in");
    let context = call_context(Duration::from_secs(10));
    let answer = soon(connection.client.write(context, write("k", 7))).await;
    assert!(answer.is_err(), "{answer:?}");
    soon(connection.closed()).await;
}

#[tokio::test]
async fn a_node_that_is_not_who_it_says_is_not_believed() {
    let server = store().await;
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    // The node id in the challenge, and the proof.
    let renamed = |seen: usize, bytes: &mut [u8]| {
        if seen == 0 {
            bytes[15] ^= 2;
        }
    };
    let address = between(server.address.clone(), renamed).await;
    let refused = refusal(connect(&address, Some(credentials.clone())).await);
    assert_eq!(refused, Refusal::SignatureDoesNotMatch, "the node heard other words");
    let forged = |seen: usize, bytes: &mut [u8]| {
        if seen > 0 {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
    };
    let address = between(server.address.clone(), forged).await;
    let error = connect(&address, Some(credentials)).await.expect_err("no proof");
    assert!(
        matches!(error, ConnectError::Handshake { source: HandshakeError::Unproven, .. }),
        "{error}"
    );
}

/// Sends everything back where it came from.
async fn mirror() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("somebody comes");
        let (mut read, mut write) = stream.into_split();
        tokio::io::copy(&mut read, &mut write).await
    });
    address
}

#[tokio::test]
async fn a_reflected_handshake_and_a_server_without_the_secret_come_to_nothing() {
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    let reflected = connect(&mirror().await, Some(credentials.clone())).await;
    assert!(matches!(reflected, Err(ConnectError::Handshake { .. })), "{reflected:?}");

    // It accepts every proof, and cannot make one.
    struct Believer;
    impl SessionKeys for Believer {
        fn signing_key(&self, _: &str, scope: &Scope) -> (Option<Principal>, SigningKey) {
            let key = SigningKey::derive(&SecretKey::new("guessed"), scope);
            (Some(Principal("ann".to_owned())), key)
        }
    }
    let guard = Guard {
        cluster_name: NAME.to_owned(),
        service: CLIENT_SERVICE,
        paths: StoreRequest::PATHS,
        keys: Arc::new(Believer),
    };
    let node = Admission::new(10, 1 << 26);
    let server = EchoServer::guarded(ListenerLimits::clients(), node, Some(guard)).await;
    let refused = connect(&server.address, Some(credentials.clone())).await;
    assert!(matches!(refused, Err(ConnectError::Handshake { .. })), "{refused:?}");

    // It welcomes without any proof, as a node without authentication does.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let reply = crate::rpc::transport::Reply::Welcome(IDENTITY.into());
        let welcome = crate::rpc::transport::encode_reply(&reply);
        stream.write_all(&welcome).await.expect("sent");
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let error = connect(&address, Some(credentials)).await.expect_err("no proof");
    assert!(
        matches!(error, ConnectError::Handshake { source: HandshakeError::Unproven, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_replayed_conversation_is_refused() {
    let server = store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let to = server.address.clone();
    // Records what the client said, while it is served.
    let recording = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("somebody comes");
        let mut far = TcpStream::connect(&to).await.expect("listening");
        let mut said = Vec::new();
        let (mut from_near, mut from_far) = ([0; 1 << 12], [0; 1 << 12]);
        loop {
            tokio::select! {
                read = near.read(&mut from_near) => match read {
                    Ok(read @ 1..) => {
                        said.extend_from_slice(&from_near[..read]);
                        far.write_all(&from_near[..read]).await.expect("passed on");
                    }
                    _ => return said,
                },
                read = far.read(&mut from_far) => {
                    let read = read.expect("readable");
                    near.write_all(&from_far[..read]).await.expect("passed on");
                }
            }
        }
    });
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    let connection = connect(&address, Some(credentials)).await.expect("let in");
    is_served(&connection).await;
    drop(connection);
    let said = soon(recording).await.expect("ran");
    let mut again = TcpStream::connect(&server.address).await.expect("listening");
    again.write_all(&said).await.expect("sent");
    server.counts.reaches("client signature_does_not_match", 1).await;
    assert_eq!(server.counts.of("write ok"), 1, "done once");
}

#[tokio::test]
async fn a_frame_put_into_a_signed_connection_ends_it_and_is_told() {
    let server = store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let to = server.address.clone();
    let (inject, injected) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.expect("somebody comes");
        let far = TcpStream::connect(to).await.expect("listening");
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
            (near.into_split(), far.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
        tokio::select! {
            _ = tokio::io::copy(&mut near_in, &mut far_out) => {}
            _ = injected => {
                let frame = [&200_u32.to_be_bytes()[..], &[0; 200]].concat();
                far_out.write_all(&frame).await.expect("sent");
            }
        }
    });
    let credentials = signer("K", "secret", NAME, CLIENT_SERVICE);
    let connection = connect(&address, Some(credentials)).await.expect("let in");
    is_served(&connection).await;
    inject.send(()).expect("it waits");
    server.counts.reaches("K: frame_does_not_verify", 1).await;
    soon(connection.closed()).await;
}
