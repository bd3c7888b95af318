//! Clusters of real processes on loopback: started, killed, paused, restarted, and asked.
//!
//! Every test has its own nodes, ports and directories; the processes end with the test, also when
//! it panics. Nothing here waits for time to pass: it waits for a line, an answer or an exit, and
//! gives up, with the nodes' logs, after [`harness::PATIENCE`].

mod harness;

mod backup;
mod bad_input;
mod failover;
mod fallen_behind;
mod http;
mod join;
mod join_faults;
mod membership;
mod packages;
mod pause;
mod restart;
mod retry;
mod shutdown;
