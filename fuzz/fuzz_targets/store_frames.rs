//! The frames between a client and a node.
#![no_main]

use chainfire::rpc::api::{StoreRequest, StoreResponse};
use chainfire::rpc::transport::{decode_answer, decode_call};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Any outcome is right; a panic, or memory beyond the frame's size, is not.
    let _ = decode_call::<StoreRequest>(bytes);
    let _ = decode_answer::<StoreResponse>(bytes);
});
