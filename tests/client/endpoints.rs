//! Which endpoint the client talks to, and over which connections.

use std::time::Duration;

use chainfire::client::Client;
use chainfire::clock;

use crate::fake::{Cluster, Fault, Node};
use crate::{client_of, no_leader};

#[tokio::test]
async fn a_cut_connection_is_opened_again() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connections_per_endpoint(3).connect().await.unwrap();
    client.connect_all().await.unwrap();
    node.wait_until(|node| node.connections() == 3).await;
    node.cut_all();
    node.wait_until(|node| node.connections() == 0).await;
    for _ in 0..6 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!(cluster.applied().len(), 6);
}

#[tokio::test]
async fn a_node_that_went_silent_is_left_for_all_and_tried_on_a_new_connection_later() {
    let cluster = Cluster::new(1);
    let (a, b) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
    let builder = client_of(&[&a, &b]).attempt_timeout(Duration::from_millis(100));
    let client = builder.connect().await.unwrap();
    a.fail_for_ever(Some(Fault::Silent));
    client.put("k", "1").await.unwrap();
    for _ in 0..5 {
        client.put("k", "2").await.unwrap();
    }
    assert_eq!(a.writes().len(), 1, "only the first one ran into the silence");
    a.wait_until(|a| a.connections() == 0).await;
    a.fail_for_ever(None);
    b.fail([no_leader()]);
    client.put("k", "3").await.unwrap();
    assert_eq!(a.writes().len(), 2);
}

#[tokio::test]
async fn a_client_finds_the_leader_among_its_endpoints() {
    let cluster = Cluster::new(3);
    let (a, b, c) = (
        Node::start(1, &cluster).await,
        Node::start(2, &cluster).await,
        Node::start(3, &cluster).await,
    );
    let client = client_of(&[&a, &b, &c]).connect().await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(client.endpoint(), a.address);
    assert!(client.find_leader().await);
    assert_eq!(client.endpoint(), c.address);
    client.put("k", "v").await.unwrap();
    assert_eq!((a.writes().len(), b.writes().len(), c.writes().len()), (1, 0, 1));

    let elsewhere = client_of(&[&a, &b]).connect().await.unwrap();
    assert!(!elsewhere.find_leader().await, "the leader is not among these");
}

#[tokio::test]
async fn a_client_follows_the_leader_by_itself() {
    let cluster = Cluster::new(2);
    let (a, b) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
    let client = client_of(&[&a, &b]).follow_leader(true).connect().await.unwrap();
    b.wait_until(|b| b.connections() == 1).await;
    let moved = async {
        while client.endpoint() != b.address {
            client.put("k", "v").await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), moved).await.expect("it moves to the leader");
    drop(client);
    b.wait_until(|b| b.connections() == 0).await;
    a.wait_until(|a| a.connections() == 0).await;
}

#[tokio::test]
async fn a_write_is_never_retried_at_another_cluster() {
    let (cluster, foreign) = (Cluster::new(1), Cluster::foreign());
    let (ours, theirs) = (Node::start(1, &cluster).await, Node::start(1, &foreign).await);
    let builder = client_of(&[&ours, &theirs]).timeout(Duration::from_millis(300));
    let client = builder.connect().await.unwrap();
    ours.fail_for_ever(Some(Fault::UnknownAfter));
    assert!(client.put("k", "v").await.unwrap_err().is_unknown());
    assert!(foreign.received().is_empty());
    assert_eq!(cluster.applied().len(), 1);
}

#[tokio::test]
async fn connecting_needs_one_endpoint_that_works() {
    let cluster = Cluster::new(1);
    let (dead, node) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
    let address = dead.address.clone();
    drop(dead);
    let endpoints = [address.clone(), node.address.clone()];
    let client = Client::builder().endpoints(endpoints).connect().await.unwrap();
    assert_eq!(client.endpoint(), node.address);
    let error = Client::builder().endpoints([address.clone()]).connect().await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn each_endpoint_says_how_it_is() {
    let cluster = Cluster::new(2);
    let (a, b) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
    let client = client_of(&[&a, &b]).timeout(Duration::from_secs(1)).build().unwrap();
    let address = a.address.clone();
    drop(a);
    let each = client.status_of_each().await;
    assert_eq!((&each[0].0, &each[1].0), (&address, &b.address));
    assert!(each[0].1.is_err());
    assert_eq!(each[1].1.as_ref().unwrap().node_id, 2);
}

#[tokio::test]
async fn connecting_to_nodes_that_say_nothing_ends_in_time() {
    // Listeners that accept and never answer the handshake.
    let silent: Vec<_> =
        (0..4).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let endpoints = silent.iter().map(|listener| listener.local_addr().unwrap().to_string());
    let builder = Client::builder().endpoints(endpoints).timeout(Duration::from_millis(200));
    let started = clock::monotonic();
    builder.connect().await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "not the connect timeout of each");
}
