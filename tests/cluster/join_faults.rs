//! Whatever happens in any phase of a join: it goes on or fails by name, nothing is left behind,
//! and no write is lost or refused.
//!
//! Each test is one row of the matrix: one misfortune in every phase. A node is held exactly in the
//! phase (`CHAINFIRE_HOLD_DIR`), the misfortune happens, and it is let go on, all under a load of
//! writes. Where the join goes on, it meets the misfortune again in its next phase; at its end every
//! member is checked.

use std::time::Duration;

use chainfire::client::Client;
use chainfire::types::{ClusterRequest, JoinPhase, MemberRole};
use tokio::runtime::Handle;

use crate::harness::{Cluster, Holds, Link, Load, Node, Proxy, eventually, last_for};
use crate::join::{join_of, put_all};

/// The phases in their order, and the places that lie in them. Only a first join exports: one after
/// it uses the snapshot that is there.
const PHASES: [(&str, &str); 7] = [
    ("exporting", "snapshot.in_export"),
    ("transferring", "snapshot.piece"),
    ("applying", "install.before_switch"),
    ("adding", "join.before_add"),
    ("catching up", "join.caught_up"),
    ("promoting", "join.before_promote"),
    ("in a joint membership", "membership.joint"),
];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misfortune {
    LeaderKilled,
    SourceKilled,
    TargetKilled,
    LeaderMoves,
    TargetFrozen,
    LinkCut,
    LinkSlow,
    DiskFull,
}

/// How long a target is frozen.
const FROZEN: Duration = Duration::from_secs(10);
/// A slow link.
const SLOW_BYTES_PER_SECOND: u64 = 1_024 * 1_024;
/// Where the files of a full disk end: enough for what it says on standard error.
const FULL_BYTES: u64 = 128 * 1_024;

/// A cluster in which nodes join, fare badly and leave again.
struct Scene {
    cluster: Cluster,
    holds: Holds,
    /// Of the founders only: they stay.
    client: Client,
    founders: usize,
    joined: usize,
    /// Nodes that were removed: they notice by themselves, in their own time.
    leaving: Vec<Node>,
}

impl Scene {
    async fn start(founders: usize) -> Self {
        let mut cluster = Cluster::new(founders);
        let holds = Holds::new(cluster.directory());
        for node in &mut cluster.nodes {
            holds.govern(node);
        }
        cluster.start_all();
        let client = cluster.client();
        // A piece that does not compress.
        put_all(&client, 12, 64 * 1_024).await;
        Self { cluster, holds, client, founders, joined: 0, leaving: Vec::new() }
    }

    /// A node joins and meets the misfortune in each of these phases. Answers its place.
    async fn play(&mut self, misfortune: Misfortune, phases: &[(&str, &str)]) -> usize {
        self.joined += 1;
        let (name, prefix) = (format!("m{}", self.joined), format!("load-{}/", self.joined));
        let load = Load::start(&self.client, &prefix, 2);
        let place = self.cluster.add_joining(&name);
        let target = &mut self.cluster.nodes[place];
        let proxy = Proxy::before(target.peer).await;
        target.set_config(&format!("advertise_peer = \"{}\"\n", proxy.address));
        self.holds.govern(target);
        for (_, point) in phases {
            self.holds.hold(point);
        }
        target.start();
        for (phase, point) in phases {
            println!("{misfortune:?} while {phase}");
            self.holds.wait_reached(point).await;
            load.wait_for_more(10).await;
            self.strike(misfortune, place, &proxy, point).await;
        }
        self.cluster.nodes[place].wait_ready();
        load.wait_for_more(10).await;
        let written = load.finish().await;
        assert!(written.failed.is_empty(), "{misfortune:?}: {:?}", written.failed);
        self.check_nothing_is_left(&name, place).await;
        self.cluster.wait_converged().await;
        for place in 0..self.cluster.nodes.len() {
            written.check(&self.cluster.client_of(place), &prefix).await;
        }
        place
    }

    /// The node that joined last leaves.
    async fn leave(&mut self, place: usize) {
        let node = self.cluster.nodes[place].name.clone();
        let remove = ClusterRequest::Remove { node, force: false };
        self.client.change_members(remove).await.expect("it leaves");
        self.leaving.push(self.cluster.nodes.remove(place));
    }

    /// Every node that was told to leave has left.
    fn end(mut self) {
        for node in &mut self.leaving {
            assert_eq!(node.wait_exit().code(), Some(13), "{}", node.name);
        }
    }

    /// The misfortune, with somebody held at `point`, who goes on.
    async fn strike(&mut self, misfortune: Misfortune, target: usize, proxy: &Proxy, point: &str) {
        match misfortune {
            Misfortune::LeaderKilled => {
                let leader = self.leader().await;
                self.kill_and_start(leader, point);
                self.cluster.nodes[leader].wait_ready();
            }
            Misfortune::SourceKilled => {
                let source = self.source(target).await;
                self.kill_and_start(source, point);
                self.cluster.nodes[source].wait_ready();
            }
            Misfortune::TargetKilled => self.kill_and_start(target, point),
            Misfortune::LeaderMoves => {
                let next = (self.leader().await + 1) % self.founders;
                let to = Some(self.cluster.nodes[next].name.clone());
                eventually("another node leads", async || {
                    let request = ClusterRequest::MoveLeader { to: to.clone() };
                    self.client.change_members(request).await.ok()
                })
                .await;
                self.holds.release(point);
            }
            Misfortune::TargetFrozen => {
                self.cluster.nodes[target].pause();
                self.holds.release(point);
                last_for(FROZEN).await;
                self.cluster.nodes[target].resume();
            }
            Misfortune::LinkCut => {
                proxy.set(Link::Cut);
                self.holds.release(point);
                proxy.wait_missed(3).await;
                proxy.set(Link::Open);
            }
            Misfortune::LinkSlow => {
                proxy.set(Link::Slow(SLOW_BYTES_PER_SECOND));
                self.holds.release(point);
            }
            Misfortune::DiskFull => self.fill_disk(target, point),
        }
    }

    fn kill_and_start(&mut self, place: usize, point: &str) {
        self.cluster.nodes[place].kill();
        self.holds.release(point);
        self.cluster.nodes[place].start();
    }

    /// The target's disk is full until its process has ended, by whichever name.
    fn fill_disk(&mut self, target: usize, point: &str) {
        let target = &mut self.cluster.nodes[target];
        target.limit_files(Some(FULL_BYTES));
        self.holds.release(point);
        let code = target.wait_exit().code();
        let reason = match code {
            Some(10) => "no space left on the disk",
            Some(15) => "the target cannot store the snapshot",
            _ => panic!("it ended with {code:?}"),
        };
        assert!(target.log().contains(reason), "{}", target.log());
        target.start();
    }

    async fn leader(&self) -> usize {
        eventually("a founder leads", async || {
            let leader = self.client.status().await.ok()?.leader_id?;
            let leader = usize::try_from(leader).ok()? - 1;
            (leader < self.founders).then_some(leader)
        })
        .await
    }

    /// Who gives the snapshot.
    async fn source(&self, target: usize) -> usize {
        let name = &self.cluster.nodes[target].name;
        eventually("somebody gives the snapshot", async || {
            let source = join_of(&self.client, name).await?.source?;
            Some(usize::try_from(source).ok()? - 1)
        })
        .await
    }

    /// The node votes, every other join is over, and neither holds nor pieces stay.
    async fn check_nothing_is_left(&self, name: &str, place: usize) {
        let members = self.client.members().await.expect("answered");
        let roles: Vec<_> = members.iter().map(|it| (it.name.as_str(), it.role)).collect();
        assert_eq!(roles.len(), self.founders + 1, "{roles:?}");
        assert!(roles.iter().all(|(_, role)| *role == MemberRole::Voter), "{roles:?}");
        let joins = self.client.joins().await.expect("answered");
        for join in joins.iter().map(|status| &status.join) {
            let progress = &join.progress;
            assert_eq!(progress.held_index, None, "{join:?}");
            let is_over = match &progress.failure {
                None => progress.phase == JoinPhase::Joined,
                Some(reason) => progress.phase == JoinPhase::Failed && !reason.is_empty(),
            };
            assert!(is_over, "{join:?}");
        }
        let joined = joins.iter().rfind(|status| status.join.request.name == name);
        assert!(joined.is_some_and(|status| status.join.progress.failure.is_none()), "{name}");
        let data_dir = &self.cluster.nodes[place].data_dir;
        eventually("the record of the join is gone", async || {
            (!data_dir.join("JOINING").exists()).then_some(())
        })
        .await;
        let pieces = std::fs::read_dir(data_dir.join("incoming")).expect("a directory").count();
        assert_eq!(pieces, 0, "pieces of a snapshot stay");
    }
}

async fn in_every_phase(misfortune: Misfortune) {
    Scene::start(3).await.play(misfortune, &PHASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_the_death_of_the_leader_in_every_phase() {
    in_every_phase(Misfortune::LeaderKilled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_the_death_of_the_source_in_every_phase() {
    in_every_phase(Misfortune::SourceKilled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_the_death_of_the_target_in_every_phase() {
    in_every_phase(Misfortune::TargetKilled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_a_change_of_leader_in_every_phase() {
    in_every_phase(Misfortune::LeaderMoves).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_a_cut_link_in_every_phase() {
    in_every_phase(Misfortune::LinkCut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_a_slow_link_in_every_phase() {
    in_every_phase(Misfortune::LinkSlow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_or_fails_by_name_when_the_targets_disk_is_full_in_every_phase() {
    let mut scene = Scene::start(3).await;
    for phase in PHASES {
        let place = scene.play(Misfortune::DiskFull, &[phase]).await;
        scene.leave(place).await;
    }
    scene.end();
}

/// All phases at the same time, in clusters of their own: each takes as long as the freeze.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_survives_a_frozen_target_in_every_phase() {
    let scenes = PHASES.map(|phase| {
        // A thread each: what waits for a process blocks it.
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                Scene::start(1).await.play(Misfortune::TargetFrozen, &[phase]).await;
            });
        })
    });
    for scene in scenes {
        scene.await.expect("none fails");
    }
}
