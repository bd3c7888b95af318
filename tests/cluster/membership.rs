//! Changes of who is a member.

use chainfire::client::{Client, Error};
use chainfire::types::{ClusterRequest, MemberRole};

#[cfg(debug_assertions)]
use crate::harness::Holds;
use crate::harness::{Cluster, Load, eventually};

fn remove(node: &str) -> ClusterRequest {
    ClusterRequest::Remove { node: node.to_owned(), force: false }
}

async fn refusal(client: &Client, request: ClusterRequest) -> String {
    match client.change_members(request).await {
        Ok(node) => panic!("it was done, to node {node}"),
        Err(error @ Error::Failed(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

async fn voters(client: &Client) -> Vec<u64> {
    let members = client.members().await.expect("answered");
    let voters = members.into_iter().filter(|member| member.role == MemberRole::Voter);
    voters.map(|member| member.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_to_five_and_shrinks_to_three_under_load() {
    let mut cluster = Cluster::of_one();
    let first = cluster.client();
    let load = Load::start(&first, "load/", 4);
    load.wait_for_more(50).await;
    for name in ["n2", "n3", "n4", "n5"] {
        cluster.join(name);
        load.wait_for_more(20).await;
    }
    // A client of all nodes goes on whoever leaves.
    let written = load.finish().await;
    assert!(written.failed.is_empty(), "{:?}", written.failed);
    let client = cluster.client();
    assert_eq!(voters(&client).await, [1, 2, 3, 4, 5]);
    let load = Load::start(&client, "more/", 4);
    load.wait_for_more(50).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        let name = cluster.nodes[leader].name.clone();
        client.change_members(remove(&name)).await.expect("it hands over and leaves");
        assert_eq!(cluster.nodes[leader].wait_exit().code(), Some(13), "{name} says so");
        assert!(cluster.nodes[leader].log().contains("was removed from the cluster"));
        cluster.nodes.remove(leader);
        load.wait_for_more(50).await;
    }
    let more = load.finish().await;
    assert!(more.failed.is_empty(), "{:?}", more.failed);
    assert_eq!(voters(&cluster.client()).await.len(), 3);
    cluster.wait_converged().await;
    for place in 0..cluster.nodes.len() {
        written.check(&cluster.client_of(place), "load/").await;
        more.check(&cluster.client_of(place), "more/").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_is_replaced_one_after_the_other() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.put("key", "value").await.expect("acknowledged");
    for round in 1..=3 {
        let new = format!("m{round}");
        let place = cluster.add_joining(&new);
        cluster.nodes[place].set_config("learner = true\n");
        cluster.nodes[place].start();
        cluster.nodes[place].wait_ready();
        let client = cluster.client();
        let old = format!("n{round}");
        let replace = ClusterRequest::Replace { old: old.clone(), new, force: false };
        client.change_members(replace).await.expect("replaced");
        assert_eq!(cluster.nodes[0].name, old);
        assert_eq!(cluster.nodes[0].wait_exit().code(), Some(13));
        cluster.nodes.remove(0);
    }
    let client = cluster.client();
    assert_eq!(voters(&client).await, [4, 5, 6]);
    // What is done already is answered the same, however often it is asked for.
    assert_eq!(client.change_members(remove("1")).await.expect("it has left"), 1);
    let again = || ClusterRequest::Replace { old: "2".into(), new: "m2".into(), force: false };
    assert_eq!(client.change_members(again()).await.expect("it was replaced"), 5);
    let message = refusal(&client, remove("7")).await;
    assert!(message.contains("there is no member 7"), "{message}");
    assert_eq!(client.get("key").await.expect("answered").expect("there").value, "value");
    client.put("key", "new").await.expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_would_lose_the_quorum_is_refused() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().await;
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[dead].kill();
    let client = cluster.client();
    let name = cluster.nodes[alive].name.clone();
    let demote = ClusterRequest::Demote { node: name.clone(), force: false };
    let message = refusal(&client, demote).await;
    assert!(message.contains("2 of the 2 voters would have to be alive and 1 are"), "{message}");
    let message = refusal(&client, remove(&name)).await;
    assert!(message.contains("--force"), "{message}");
    // The dead one may go: that makes the cluster better.
    let dead = cluster.nodes.remove(dead);
    client.change_members(remove(&dead.name)).await.expect("removed");
    assert_eq!(voters(&client).await.len(), 2);
    client.put("key", "value").await.expect("the two go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_removals_at_once_the_one_that_would_lose_the_quorum_is_refused() {
    let cluster = Cluster::start(4);
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..4).filter(|place| *place != leader).collect();
    let (frozen, [one, other]) = (others[0], [others[1], others[2]]);
    cluster.nodes[frozen].pause();
    // Each alone leaves two of three that are there; both together one of two.
    let remove = |place: usize| {
        let client = cluster.client_of(leader);
        let node = cluster.nodes[place].name.clone();
        async move { client.change_members(ClusterRequest::Remove { node, force: false }).await }
    };
    let (first, second) = tokio::join!(remove(one), remove(other));
    let outcomes = [first, second];
    let refusals: Vec<String> =
        outcomes.iter().filter_map(|it| it.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(refusals.len(), 1, "{outcomes:?}");
    assert!(refusals[0].contains("would have to be alive and"), "{refusals:?}");
    let client = cluster.client_of(leader);
    client.put("after", "x").await.expect("a majority of those who vote is there");
    assert_eq!(voters(&client).await.len(), 3);
    cluster.nodes[frozen].resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_lags_is_not_promoted() {
    let mut cluster = Cluster::of_one();
    let client = cluster.client();
    let learner = cluster.add_joining("n2");
    cluster.nodes[learner].set_config("learner = true\n");
    cluster.nodes[learner].start();
    cluster.nodes[learner].wait_ready();
    cluster.nodes[learner].pause();
    let load = Load::start(&client, "load/", 32);
    load.wait_for_more(1_500).await;
    let promote = || ClusterRequest::Promote { node: "n2".to_owned(), force: true };
    let message = refusal(&client, promote()).await;
    assert!(message.contains("entries, more than 1000"), "{message}");
    load.finish().await;
    cluster.nodes[learner].resume();
    eventually("it has caught up and is promoted", async || {
        client.change_members(promote()).await.ok()
    })
    .await;
    assert_eq!(voters(&client).await, [1, 2]);
    let demote = ClusterRequest::Demote { node: "n2".to_owned(), force: false };
    client.change_members(demote).await.expect("demoted");
    assert_eq!(voters(&client).await, [1]);
    let message = refusal(&client, remove("n1")).await;
    assert!(message.contains("at least one"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_refused_under_its_old_id_by_members_that_were_restarted() {
    let mut cluster = Cluster::start(3);
    cluster.client().put("key", "value").await.expect("acknowledged");
    // Every node has said who it is before the others forget what they saw.
    eventually("all have published", async || {
        let members = cluster.client().members().await.ok()?;
        members.iter().all(|member| !member.client_addr.is_empty()).then_some(())
    })
    .await;
    cluster.nodes[2].kill();
    std::fs::remove_dir_all(&cluster.nodes[2].data_dir).expect("its own directory");
    for place in 0..2 {
        cluster.nodes[place].kill();
    }
    for place in 0..2 {
        cluster.nodes[place].start();
    }
    for place in 0..2 {
        cluster.nodes[place].wait_ready();
    }
    cluster.nodes[2].start();
    assert_eq!(cluster.nodes[2].wait_exit().code(), Some(14));
    assert!(cluster.nodes[2].log().contains("start it with --join"), "it is told what to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_data_directory_is_refused_while_the_original_runs() {
    let mut cluster = Cluster::of_one();
    cluster.join("n2");
    let published = eventually("it has published", async || {
        let members = cluster.client().members().await.ok()?;
        members.iter().all(|member| !member.client_addr.is_empty()).then_some(())
    });
    published.await;
    cluster.nodes[1].kill();
    let copy = cluster.add_joining("n2");
    let (from, to) = (cluster.nodes[1].data_dir.clone(), cluster.directory().join("copy"));
    let copied = std::process::Command::new("cp").arg("-r").arg(&from).arg(&to).status();
    assert!(copied.expect("cp is there").success());
    cluster.nodes[copy].data_dir = to;
    cluster.nodes[1].start();
    cluster.nodes[1].wait_ready();
    cluster.nodes[copy].start();
    assert!(!cluster.nodes[copy].wait_exit().success());
    assert!(cluster.nodes[copy].log().contains("a copy"), "{}", cluster.nodes[copy].log());
    assert_eq!(cluster.status_of(1).await.expect("the original serves").node_id, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moved_is_found_again_and_leadership_moves_on_request() {
    let mut cluster = Cluster::of_one();
    cluster.join("n2");
    cluster.join("n3");
    cluster.nodes[2].kill();
    cluster.nodes[2].move_peer();
    cluster.nodes[2].start();
    cluster.nodes[2].wait_ready();
    let client = cluster.client();
    let here = cluster.nodes[2].peer.to_string();
    eventually("its new address is known", async || {
        let members = client.members().await.ok()?;
        (members[2].peer_addr == here).then_some(())
    })
    .await;
    let moved = eventually("it leads", async || {
        let to = Some("n3".to_owned());
        client.change_members(ClusterRequest::MoveLeader { to }).await.ok()
    });
    assert_eq!(moved.await, 3);
    client.put("key", "value").await.expect("acknowledged");
    cluster.wait_converged().await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_dead_leader_left_half_done_is_completed() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.put("key", "value").await.expect("acknowledged");
    cluster.wait_converged().await;
    let victim = usize::from(cluster.leader().await == 0);
    cluster.nodes[victim].kill();
    cluster.nodes[victim].set_crash_point(Some("membership.joint"));
    cluster.nodes[victim].start();
    cluster.nodes[victim].wait_ready();
    let to = Some(cluster.nodes[victim].name.clone());
    eventually("the victim leads", async || {
        client.change_members(ClusterRequest::MoveLeader { to: to.clone() }).await.ok()
    })
    .await;
    let demoted = cluster.nodes[2].name.clone();
    let direct = cluster.client_of(victim);
    let request = ClusterRequest::Demote { node: demoted.clone(), force: false };
    let asked = tokio::spawn(async move { direct.change_members(request).await });
    cluster.nodes[victim].wait_line("crash point membership.joint");
    cluster.nodes[victim].kill();
    asked.abort();
    cluster.nodes[victim].set_crash_point(None);
    cluster.nodes[victim].start();
    cluster.nodes[victim].wait_ready();
    eventually("the change is complete", async || {
        let members = client.members().await.ok()?;
        let learner = members.iter().find(|member| member.name == demoted)?;
        (learner.role == MemberRole::Learner).then_some(())
    })
    .await;
    client.put("key", "again").await.expect("the cluster goes on");
    let completed = cluster.nodes.iter().any(|node| node.log().contains("left half done"));
    assert!(completed, "a later leader completed it");
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_whose_leader_died_leaves_no_voter_less_and_is_completed() {
    let mut cluster = Cluster::new(3);
    let holds = Holds::new(cluster.directory());
    for node in &mut cluster.nodes {
        holds.govern(node);
    }
    cluster.start_all();
    let new = cluster.add_joining("m1");
    cluster.nodes[new].set_config("learner = true\n");
    cluster.nodes[new].start();
    cluster.nodes[new].wait_ready();
    let client = cluster.client();
    let leader = cluster.leader().await;
    let old = (leader + 1) % 3;
    let (name, id) = (cluster.nodes[old].name.clone(), old as u64 + 1);
    holds.hold("membership.joint");
    let replace = ClusterRequest::Replace { old: name, new: "m1".into(), force: false };
    let (asked, request) = (client.clone(), replace.clone());
    let asked = tokio::spawn(async move { asked.change_members(request).await });
    holds.wait_reached("membership.joint").await;
    cluster.nodes[leader].kill();
    holds.release("membership.joint");
    // The client asks the next leader again by itself, which has completed the change by then.
    assert_eq!(asked.await.expect("no panic").expect("replaced"), 4);
    assert_eq!(cluster.nodes[old].wait_exit().code(), Some(13));
    cluster.nodes[leader].start();
    cluster.nodes[leader].wait_ready();
    let expected: Vec<u64> = (1..=4).filter(|voter| *voter != id).collect();
    assert_eq!(voters(&client).await, expected);
    client.put("key", "value").await.expect("the cluster goes on");
}
