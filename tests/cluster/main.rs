//! Clusters of real processes on loopback: started, killed, paused, restarted, and asked.
//!
//! Every test has its own nodes, ports and directories; the processes end with the test, also when
//! it panics. Nothing here waits for time to pass: it waits for a line, an answer or an exit, and
//! gives up, with the nodes' logs, after [`harness::PATIENCE`].

// Without debug assertions no node can be held, and what does so is not tested.
#[cfg_attr(not(debug_assertions), allow(dead_code, unused_imports))]
mod harness;

mod access;
mod backup;
mod bad_input;
mod bounded;
mod distances;
mod failover;
mod fallen_behind;
mod filled_by_hand;
mod founding;
mod heal;
mod http;
mod identity;
mod join;
#[cfg(debug_assertions)]
mod join_faults;
mod lost_entries;
mod membership;
mod packages;
mod pause;
mod restart;
mod retry;
#[cfg(debug_assertions)]
mod settling;
mod shutdown;
mod signing;
