//! A configuration file, and the list of founders on the command line.
#![no_main]

use chainfire::config::{InitialCluster, NodeConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: chainfire_fuzz::plant(seeds()),
    |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match NodeConfig::from_toml(text) {
            Ok(config) => drop(config.validate()),
            Err((_, reason)) => assert!(!reason.contains('\n')),
        }
        if let Ok(cluster) = text.parse::<InitialCluster>() {
            assert_eq!(cluster.to_string().parse(), Ok(cluster));
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "a=127.0.0.1:4602,b=[::1]:4602,c=node.example:4602",
        "name = 'a'\nlisten_client = '127.0.0.1:4601'\ninitial_cluster = 'a=127.0.0.1:4602'\n\
         [raft]\nheartbeat_ms = 100\n[auth]\nmode = 'allow-all'\n[limits]\nidle_timeout_ms = 1\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
