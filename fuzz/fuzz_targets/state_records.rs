//! The records of the state's tables, and the small files of a data directory.
#![no_main]

use chainfire::storage::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: chainfire_fuzz::plant(
        fuzzing::state_records_seeds().into_iter().chain(fuzzing::data_directory_seeds())
    ),
    |bytes: &[u8]| {
        fuzzing::state_records(bytes);
        fuzzing::data_directory(bytes);
    }
);
