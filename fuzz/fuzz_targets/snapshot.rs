//! A snapshot file: its header, its chunks and their records.
#![no_main]

use chainfire::storage::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: chainfire_fuzz::plant(fuzzing::snapshot_seeds()),
    |bytes: &[u8]| fuzzing::snapshot(bytes)
);
