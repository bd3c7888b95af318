//! What test programs share: a state in memory, and short ways to write requests.
#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod memory_view;
pub(crate) mod requests;
