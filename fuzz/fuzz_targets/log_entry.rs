//! An entry of the replicated log, the records beside the entries, and the journal.
#![no_main]

use chainfire::storage::log::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: chainfire_fuzz::plant(fuzzing::seeds()),
    |bytes: &[u8]| {
        fuzzing::entry(bytes);
        fuzzing::records(bytes);
        fuzzing::journal(bytes);
    }
);
