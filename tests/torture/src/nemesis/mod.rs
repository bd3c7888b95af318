//! The faults. Each nemesis strikes again and again until its time is over.
//!
//! To add one: write a function `async fn (cluster, rng)` that waits a while, does one thing, says
//! so with `Cluster::fault`, waits, and puts it right; add a line to `ALL`. Draw every choice from
//! `rng`, which is new for each strike, and ask the cluster for what depends on the run.

mod chaos;
mod clocks;
mod copies;
mod damage;
mod disks;
mod distances;
mod freezes;
mod kills;
mod leadership;
mod links;
mod members;
mod operator;
mod partitions;
mod power;
mod snapshots;
mod tail;

use std::pin::Pin;
use std::time::Instant;

use crate::cluster::{Cluster, Disk, Machines};
use crate::random::{Rng, Stream};
use members::Upset;

pub use damage::{FileKind, files, flip_bit};

type Strike = for<'a> fn(&'a mut Cluster, &'a mut Rng) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub struct Nemesis {
    pub name: &'static str,
    pub about: &'static str,
    pub machines: Machines,
    /// 80 MB of values are there before the clients begin.
    pub preloads: bool,
    /// History is compacted meanwhile: it cannot be read back.
    pub compacts: bool,
    /// Leadership moves all the time, beside everything else.
    pub moves: bool,
    /// It measures, and ends by itself.
    pub once: bool,
    /// `mix` takes it.
    pub mixed: bool,
    strike: Strike,
}

const fn nemesis(
    name: &'static str,
    about: &'static str,
    machines: Machines,
    strike: Strike,
) -> Nemesis {
    let (preloads, compacts, moves, once, mixed) = (false, false, false, false, true);
    Nemesis { name, about, machines, preloads, compacts, moves, once, mixed, strike }
}

const THREE: Machines = Machines::plain(3, 3);
const FIVE: Machines = Machines::plain(5, 5);
const SPARE: Machines = Machines::plain(3, 4);
const SWITCHED: Machines = THREE.switched();
const SWITCHED_FIVE: Machines = FIVE.switched();
const POWERED: Machines = THREE.on(Disk::FileSystem);
const NOTED: Machines = THREE.on(Disk::Noted);
const CLOCKED: Machines = THREE.with_clocks();

/// Snapshots are taken and logs cut often.
const SNAPSHOTS_OFTEN: &str = "[raft]\nsnapshot_every_entries = 200\nlog_kept_entries = 100\n\
                               log_bytes_max = 262144\n";
const LOG_SHORT: &str = "[raft]\nsnapshot_every_entries = 1000\nlog_kept_entries = 300\n";

/// Every nemesis.
pub const ALL: &[Nemesis] = &[
    nemesis("none", "no fault", THREE, |c, _| Box::pin(c.rest(500))),
    nemesis("kill-leader", "kill -9 of the leader", THREE, |c, r| Box::pin(kills::leader(c, r))),
    nemesis("kill-follower", "kill -9 of a follower", THREE, |c, r| {
        Box::pin(kills::follower(c, r))
    }),
    nemesis("kill-all", "kill -9 of all at once", THREE, |c, r| Box::pin(kills::all(c, r))),
    nemesis("kill-two", "kill -9 of two of five", FIVE, |c, r| Box::pin(kills::two(c, r))),
    nemesis("kill-storm", "hardly ever a quorum", THREE, |c, r| Box::pin(kills::storm(c, r))),
    nemesis("terminate", "an orderly stop", THREE, |c, r| Box::pin(kills::terminate(c, r))),
    nemesis("freeze-leader", "SIGSTOP of the leader", THREE, |c, r| {
        Box::pin(freezes::leader(c, r))
    }),
    nemesis("freeze-follower", "SIGSTOP of a follower", THREE, |c, r| {
        Box::pin(freezes::follower(c, r))
    }),
    nemesis("freeze-two", "SIGSTOP of two of five", FIVE, |c, r| Box::pin(freezes::two(c, r))),
    nemesis("freeze-all", "SIGSTOP of all", THREE, |c, r| Box::pin(freezes::all(c, r))),
    nemesis("move-leader", "hand-overs", THREE, |c, r| Box::pin(leadership::hand_over(c, r))),
    nemesis("move-frozen", "hand-overs to who cannot take it", THREE, |c, r| {
        Box::pin(leadership::to_who_cannot(c, r))
    }),
    nemesis("demote", "a voter becomes a learner and a voter again", THREE, |c, r| {
        Box::pin(leadership::demote(c, r))
    }),
    nemesis("members", "one joins, one leaves", SPARE.configured(LOG_SHORT), |c, r| {
        Box::pin(members::join_and_leave(c, r, Upset::Nothing))
    }),
    nemesis("members-kill", "a kill amid a join", SPARE.configured(LOG_SHORT), |c, r| {
        Box::pin(members::join_and_leave(c, r, Upset::Kill))
    }),
    nemesis("members-net", "a cut amid a join", SPARE.switched().configured(LOG_SHORT), |c, r| {
        Box::pin(members::join_and_leave(c, r, Upset::Cut))
    }),
    nemesis(
        "members-same-name",
        "a new machine of an old name",
        SPARE.configured(LOG_SHORT),
        |c, r| Box::pin(members::join_and_leave(c, r, Upset::SameName)),
    ),
    nemesis(
        "members-two",
        "two join, two leave",
        Machines::plain(3, 5).configured(LOG_SHORT),
        |c, r| Box::pin(members::two(c, r)),
    ),
    Nemesis {
        moves: true,
        ..nemesis("members-move", "joins amid hand-overs", SPARE.configured(LOG_SHORT), |c, r| {
            Box::pin(members::join_and_leave(c, r, Upset::Kill))
        })
    },
    Nemesis {
        moves: true,
        ..nemesis(
            "members-all",
            "joins amid hand-overs and cuts",
            SPARE.switched().configured(LOG_SHORT),
            |c, r| Box::pin(members::join_and_leave(c, r, Upset::Cut)),
        )
    },
    Nemesis {
        preloads: true,
        mixed: false,
        ..nemesis("big", "a newcomer dies before all history followed", SPARE, |c, r| {
            Box::pin(members::join_and_leave(c, r, Upset::History))
        })
    },
    Nemesis {
        preloads: true,
        compacts: true,
        mixed: false,
        ..nemesis("big-compact", "the same, and compactions", SPARE, |c, r| {
            Box::pin(members::join_and_compact(c, r))
        })
    },
    Nemesis {
        compacts: true,
        ..nemesis("compact", "compactions, and kills amid them", THREE, |c, r| {
            Box::pin(snapshots::compact(c, r))
        })
    },
    nemesis("snapshot", "one falls behind the log", THREE.configured(SNAPSHOTS_OFTEN), |c, r| {
        Box::pin(snapshots::fall_behind(c, r, false))
    }),
    nemesis(
        "snapshot-kill",
        "a kill amid a snapshot",
        THREE.configured(SNAPSHOTS_OFTEN),
        |c, r| Box::pin(snapshots::fall_behind(c, r, true)),
    ),
    nemesis("disk-full", "one disk full", POWERED, |c, r| Box::pin(disks::full(c, r))),
    nemesis("disk-full-all", "all disks full", POWERED, |c, r| Box::pin(disks::all_full(c, r))),
    nemesis("disk-stall", "a disk hangs", POWERED, |c, r| Box::pin(disks::stall(c, r))),
    nemesis("power-all", "no power for all", POWERED, |c, r| Box::pin(power::cut(c, r, true))),
    nemesis("power-one", "no power for one", POWERED, |c, r| Box::pin(power::cut(c, r, false))),
    nemesis(
        "power-snapshot",
        "no power amid a snapshot",
        POWERED.configured(SNAPSHOTS_OFTEN),
        |c, r| Box::pin(power::amid_snapshot(c, r)),
    ),
    nemesis("power-join", "no power amid a join", SPARE.on(Disk::FileSystem), |c, r| {
        Box::pin(members::join_and_leave(c, r, Upset::Power))
    }),
    nemesis("unsynced-all", "no power for all, blocks lost by choice", NOTED, |c, r| {
        Box::pin(power::cut(c, r, true))
    }),
    nemesis("unsynced-one", "no power for one, blocks lost by choice", NOTED, |c, r| {
        Box::pin(power::cut(c, r, false))
    }),
    nemesis(
        "unsynced-snapshot",
        "blocks lost amid a snapshot",
        NOTED.configured(SNAPSHOTS_OFTEN),
        |c, r| Box::pin(power::amid_snapshot(c, r)),
    ),
    nemesis("unsynced-join", "blocks lost amid a join", SPARE.on(Disk::Noted), |c, r| {
        Box::pin(members::join_and_leave(c, r, Upset::Power))
    }),
    apart(nemesis("disk-lies", "one disk syncs nothing and loses its power", NOTED, |c, r| {
        Box::pin(power::liar(c, r))
    })),
    nemesis("clock-wall", "wall clocks minutes apart", CLOCKED, |c, r| {
        Box::pin(clocks::wall(c, r, false))
    }),
    nemesis("clock-far", "one wall clock hours apart", CLOCKED, |c, r| {
        Box::pin(clocks::wall(c, r, true))
    }),
    nemesis("clock-rate", "clocks of different rate", CLOCKED, |c, r| Box::pin(clocks::rate(c, r))),
    nemesis("clock-jump", "all clocks of a node jump ahead", CLOCKED, |c, r| {
        Box::pin(clocks::jump(c, r))
    }),
    apart(nemesis("flip-stopped", "bits flipped in a stopped node's files", THREE, |c, r| {
        Box::pin(damage::flip(c, r, false))
    })),
    apart(nemesis("flip-running", "bits flipped under a running node", THREE, |c, r| {
        Box::pin(damage::flip(c, r, true))
    })),
    apart(nemesis(
        "journal",
        "records and segments of the journal zeroed or cut",
        THREE,
        |c, r| Box::pin(damage::journal(c, r)),
    )),
    apart(nemesis("tail", "an acknowledged record rots, its witness is away", THREE, |c, r| {
        Box::pin(tail::lost(c, r))
    })),
    apart(nemesis("short-file", "a file cut short", THREE, |c, r| {
        Box::pin(damage::short_file(c, r))
    })),
    apart(nemesis("put-back", "a directory put back older", THREE, |c, r| {
        Box::pin(copies::put_back(c, r))
    })),
    apart(nemesis(
        "copy-beside",
        "a copy beside the original, in every order",
        Machines::plain(3, 4),
        |c, r| Box::pin(copies::beside_original(c, r)),
    )),
    nemesis("net-none", "the switch alone", SWITCHED, |c, _| Box::pin(c.rest(500))),
    nemesis("isolate-leader", "the leader cut off", SWITCHED, |c, r| {
        Box::pin(partitions::isolate(c, r, 100))
    }),
    nemesis("isolate-any", "one cut off", SWITCHED, |c, r| Box::pin(partitions::isolate(c, r, 0))),
    nemesis("halves", "two and three", SWITCHED_FIVE, |c, r| Box::pin(partitions::halves(c, r))),
    nemesis("one-way-in", "one hears nothing", SWITCHED, |c, r| {
        Box::pin(partitions::one_way(c, r, true))
    }),
    nemesis("one-way-out", "one is not heard", SWITCHED, |c, r| {
        Box::pin(partitions::one_way(c, r, false))
    }),
    nemesis("one-link", "one link of the leader's cut", SWITCHED, |c, r| {
        Box::pin(partitions::one_link(c, r))
    }),
    nemesis("bridge", "halves that one connects", SWITCHED_FIVE, |c, r| {
        Box::pin(partitions::bridge(c, r))
    }),
    nemesis("ring", "each sees another majority", SWITCHED_FIVE, |c, r| {
        Box::pin(partitions::ring(c, r))
    }),
    nemesis("flap", "one flaps", SWITCHED, |c, r| Box::pin(links::flap(c, r))),
    nemesis("flap-way", "one direction flaps", SWITCHED, |c, r| {
        Box::pin(links::flap_one_way(c, r))
    }),
    nemesis("stuck-lane", "some connections of two nodes hang", SWITCHED, |c, r| {
        Box::pin(links::stuck_lane(c, r))
    }),
    nemesis("loss", "packets lost and sent twice", SWITCHED, |c, r| Box::pin(links::loss(c, r))),
    nemesis("delay", "delays and jitter", SWITCHED, |c, r| Box::pin(links::delay(c, r))),
    nemesis("slow-leader", "the leader is far", SWITCHED, |c, r| {
        Box::pin(links::slow_leader(c, r))
    }),
    nemesis("chaos", "kills, freezes and cuts at once", SWITCHED, |c, r| {
        Box::pin(chaos::strike(c, r))
    }),
    nemesis("chaos5", "the same among five", SWITCHED_FIVE, |c, r| Box::pin(chaos::strike(c, r))),
    measure("rtt", "distances, measured", |c, r| Box::pin(distances::round_trips(c, r))),
    measure("blackout", "outages of the switch, measured", |c, r| {
        Box::pin(distances::blackout(c, r))
    }),
    measure("cutoff", "a follower cut off, measured", |c, r| Box::pin(distances::cut_off(c, r))),
];

const fn measure(name: &'static str, about: &'static str, strike: Strike) -> Nemesis {
    Nemesis { once: true, mixed: false, ..nemesis(name, about, SWITCHED, strike) }
}

/// Not in the mix: named by hand.
const fn apart(nemesis: Nemesis) -> Nemesis {
    Nemesis { mixed: false, ..nemesis }
}

impl Nemesis {
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|nemesis| nemesis.name == name)
    }

    /// Strikes until the time is over. Each strike draws from a stream of its own, so that what it
    /// chooses does not depend on how far others came.
    pub async fn run(&self, cluster: &mut Cluster, seed: u64, until: Instant) {
        if self.moves {
            leadership::move_all_the_time(cluster, seed, until);
        }
        for strike in 0.. {
            if Instant::now() >= until {
                return;
            }
            let mut rng = Rng::stream(seed, Stream::Strikes, strike);
            (self.strike)(cluster, &mut rng).await;
            if self.once {
                return;
            }
        }
    }
}
