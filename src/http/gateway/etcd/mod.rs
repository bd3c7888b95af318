//! etcd's JSON: the routes, fields and encodings of its gRPC gateway.
//!
//! Keys and values are base64, 64-bit numbers are strings in answers and strings or numbers in
//! requests, fields with their default value are left out of answers, and enumerations are names or
//! numbers. Both spellings of a field (`range_end`, `rangeEnd`) are taken. Where etcd's gateway
//! passes over a field that it does not know, this one refuses it: it was meant to change something.

mod answers;
mod calls;
#[cfg(fuzzing)]
pub mod fuzzing;
mod requests;
mod scalars;

pub(super) use calls::{compaction, delete_range, member_list, put, range, status, txn};
pub(super) use calls::{delete_range_reply, put_reply, range_reply};
