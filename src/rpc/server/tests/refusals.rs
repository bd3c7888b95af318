//! Each refusal, as the side that connects sees it.

use tokio::net::TcpStream;

use super::echo_peer::PeerServer;
use super::echo_store::{EchoServer, is_served};
use super::{CLUSTER, soon};
use crate::rpc::server::{Admission, ListenError, Listener, ListenerLimits};
use crate::rpc::transport::{
    ConnectError, ConnectOptions, HandshakeError, Hello, Lane, PeerHello, Refusal, connect_store,
    greet,
};
use crate::types::{ClusterId, StartClaim};

const OTHER: ClusterId = ClusterId(0xC2);

async fn refusal_of(address: &str, hello: Hello) -> Refusal {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    match greet(&mut stream, &hello, super::PATIENCE).await {
        Err(HandshakeError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_of_another_cluster_is_told_which_one_is_there() {
    let server = EchoServer::start().await;
    let options = ConnectOptions { cluster_id: Some(OTHER), ..ConnectOptions::default() };
    let error = connect_store(&server.address, &options).await.expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "no connection to {}: the node belongs to cluster {CLUSTER}, not {OTHER}; check the address",
            server.address
        )
    );
    server.counts.reaches("client wrong_cluster", 1).await;
    let options = ConnectOptions { cluster_id: Some(CLUSTER), ..ConnectOptions::default() };
    let connection = connect_store(&server.address, &options).await.expect("let in");
    assert_eq!(connection.identity, super::IDENTITY);
    is_served(&connection).await;
}

#[tokio::test]
async fn a_client_on_the_port_for_peers_and_a_peer_on_that_for_clients_are_sent_away() {
    let peers = PeerServer::start(super::IDENTITY).await;
    let client = Hello::Client { cluster_id: None };
    assert_eq!(refusal_of(&peers.address, client).await, Refusal::PeersOnly);
    let clients = EchoServer::start().await;
    let peer = Hello::Peer(peer_hello());
    assert_eq!(refusal_of(&clients.address, peer).await, Refusal::ClientsOnly);
}

fn peer_hello() -> PeerHello {
    PeerHello {
        cluster_id: CLUSTER,
        node_id: 2,
        incarnation: 22,
        claim: StartClaim::NONE,
        expected_node_id: 1,
        lane: Lane::Control,
    }
}

#[tokio::test]
async fn a_peer_that_is_not_who_it_should_be_is_refused() {
    let server = PeerServer::start(super::IDENTITY).await;
    let cases = [
        (
            PeerHello { cluster_id: OTHER, ..peer_hello() },
            Refusal::WrongCluster { asked: OTHER, actual: CLUSTER },
        ),
        (
            PeerHello { expected_node_id: 3, ..peer_hello() },
            Refusal::NotThatNode { expected: 3, actual: 1 },
        ),
    ];
    for (hello, refusal) in cases {
        assert_eq!(refusal_of(&server.address, Hello::Peer(hello)).await, refusal);
    }
    let mut stream = TcpStream::connect(&server.address).await.expect("listening");
    let hello = Hello::Peer(peer_hello());
    greet(&mut stream, &hello, super::PATIENCE).await.expect("let in");
    let wiped = Hello::Peer(PeerHello { incarnation: 23, ..peer_hello() });
    let refusal = refusal_of(&server.address, wiped).await;
    assert_eq!(refusal, Refusal::OtherIncarnation { node_id: 2 });
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_its_place_is_given_to_the_next() {
    let limits = ListenerLimits { connections_max: 2, ..ListenerLimits::clients() };
    let server = EchoServer::with(limits, Admission::new(10, 1 << 20)).await;
    let first = server.connect().await;
    let second = server.connect().await;
    let refused = connect_store(&server.address, &ConnectOptions::default()).await;
    let full = Refusal::Full { max: 2 };
    assert!(
        matches!(
            &refused,
            Err(ConnectError::Handshake { source: HandshakeError::Refused(refusal), .. })
                if *refusal == full
        ),
        "{refused:?}"
    );
    is_served(&first).await;
    drop(second);
    let options = ConnectOptions::default();
    let third = super::eventually(|| connect_store(&server.address, &options)).await;
    is_served(&third).await;
}

#[tokio::test]
async fn nobody_listening_and_something_else_listening_are_told_apart() {
    let free = Listener::bind("127.0.0.1:0").await.expect("a free port");
    let address = free.local_addr().to_string();
    drop(free);
    let error = connect_store(&address, &ConnectOptions::default()).await.expect_err("nobody");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");

    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = other.local_addr().expect("bound").to_string();
    let speaking = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.expect("somebody comes");
        let greeting = b"220 mail.example ESMTP\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, greeting).await.expect("sent");
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let options = ConnectOptions::default();
    let error = soon(connect_store(&address, &options)).await.expect_err("not ours");
    assert!(
        matches!(error, ConnectError::Handshake { source: HandshakeError::NotChainfire, .. }),
        "{error}"
    );
    soon(speaking).await.expect("the other end was closed");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Listener::bind("127.0.0.1:0").await.expect("a free port");
    let address = first.local_addr().to_string();
    let error = Listener::bind(&address).await.expect_err("in use");
    assert!(matches!(error, ListenError::InUse { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: the port is in use; stop who has it or choose another"
        )
    );
    let error = Listener::bind("256.0.0.1:1").await.expect_err("no address");
    assert!(matches!(error, ListenError::Bind { .. }), "{error}");
}
