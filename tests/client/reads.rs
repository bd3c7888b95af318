//! Long ranges in pages.

use chainfire::client::{Error, Failure};
use chainfire::types::{SortOrder, SortTarget};
use futures_util::{StreamExt, TryStreamExt};

use crate::client_of;
use crate::fake::{Cluster, Node};

#[tokio::test]
async fn pages_show_one_moment_of_a_changing_store() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    for number in 0..25 {
        cluster.fill(&format!("p/{number:02}"));
    }
    let mut pages = client.prefix("p/").page_pairs(10).pages();
    let first = pages.next().await.unwrap().unwrap();
    assert_eq!((first.kvs.len(), first.count, first.more), (10, 25, true));
    cluster.fill("p/99");
    let rest: Vec<_> =
        pages.into_stream().map_ok(|page| page.kvs.len()).try_collect().await.unwrap();
    assert_eq!(rest, [10, 5]);
    let asked = node.ranges();
    assert_eq!(asked[1].revision, first.revision);
    assert_eq!(&asked[1].range.key[..], b"p/09\0");
    assert!(!asked[0].skip_count && asked[1].skip_count);
}

#[tokio::test]
async fn a_limit_holds_over_all_pages() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    for number in 0..25 {
        cluster.fill(&format!("p/{number:02}"));
    }
    let pages = client.prefix("p/").limit(12).page_pairs(5).pages().into_stream();
    let pages: Vec<_> =
        pages.map_ok(|page| (page.kvs.len(), page.more)).try_collect().await.unwrap();
    assert_eq!(pages, [(5, true), (5, true), (2, true)]);
    let none = client.prefix("q/").pages().into_stream();
    assert_eq!(none.map(|page| page.unwrap().kvs.len()).collect::<Vec<_>>().await, [0]);
}

#[tokio::test]
async fn pages_out_of_key_order_are_refused() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    let sorted = client.prefix("p").sort(SortTarget::Value, SortOrder::Ascending);
    let error = sorted.pages().next().await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Invalid { .. })), "{error:?}");
    assert!(node.ranges().is_empty());
}

#[tokio::test]
async fn a_serializable_page_at_a_node_that_is_behind_is_read_linearizable() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    for number in 0..4 {
        cluster.fill(&format!("p/{number}"));
    }
    let mut pages = client.prefix("p/").serializable().page_pairs(3).pages();
    assert_eq!(pages.next().await.unwrap().unwrap().kvs.len(), 3);
    node.fall_behind();
    assert_eq!(pages.next().await.unwrap().unwrap().kvs.len(), 1);
    let serializable: Vec<_> = node.ranges().iter().map(|range| range.serializable).collect();
    assert_eq!(serializable, [true, true, false]);
}
