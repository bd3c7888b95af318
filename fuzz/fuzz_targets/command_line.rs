//! What the command line reads: lines of a transaction and lines of an import.
#![no_main]

use chainfire::cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: chainfire_fuzz::plant(seeds()),
    |bytes: &[u8]| {
        fuzzing::import_line(bytes);
        if let Ok(text) = std::str::from_utf8(bytes) {
            fuzzing::txn_line(text);
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "mod(\"key\") > \"0\"",
        "value(\"k\\x00\\\"\") = \"v\"",
        "put \"key with spaces\" 'value' --prev-kv",
        "get a b --limit 3 --rev 9 --sort-by key --order descend",
        "del key --prefix",
        "{\"key\":\"a2V5\",\"value\":\"dmFsdWU=\",\"lease\":0,\"version\":1}",
    ];
    lines.map(|line| line.as_bytes().to_vec()).into()
}
