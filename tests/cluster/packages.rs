//! A real data set goes in and comes out: the records of every package on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::harness::{Cluster, chainfire, dump};

const FIELDS: &[&str] = &[
    "Version",
    "Architecture",
    "Maintainer",
    "Section",
    "Priority",
    "Installed-Size",
    "Depends",
    "Conffiles",
    "Homepage",
    "Status",
    "Description",
];

/// One key a package field: `packages/NAME/FIELD`.
fn records() -> BTreeMap<String, String> {
    let fields: Vec<String> = FIELDS.iter().map(|field| format!("${{{field}}}")).collect();
    let format = format!("${{Package}}:${{Architecture}}\u{1}{}\u{2}", fields.join("\u{1}"));
    let printed =
        Command::new("dpkg-query").args(["-W", &format!("--showformat={format}")]).output();
    let Ok(printed) = printed else { return records_of_the_lock_file() };
    let text = String::from_utf8(printed.stdout).expect("package records are text");
    let records = text.split('\u{2}').filter(|record| !record.is_empty());
    let pairs = records.flat_map(|record| {
        let (name, values) = record.split_once('\u{1}').expect("a name and its fields");
        FIELDS
            .iter()
            .zip(values.split('\u{1}'))
            .map(move |(field, value)| (format!("packages/{name}/{field}"), value.to_owned()))
    });
    pairs.collect()
}

/// On a machine that is no Debian: one key a field of every package this crate is built from.
fn records_of_the_lock_file() -> BTreeMap<String, String> {
    println!("no dpkg-query here: the packages of Cargo.lock stand in");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    let text = fs::read_to_string(path).expect("the lock file");
    let records = text.split("[[package]]").enumerate().skip(1);
    let pairs = records.flat_map(|(number, record)| {
        let fields = record.lines().filter_map(|line| line.split_once(" = "));
        fields.map(move |(field, value)| (format!("packages/{number}/{field}"), value.to_owned()))
    });
    pairs.collect()
}

fn as_lines(records: &BTreeMap<String, String>) -> String {
    let line = |(key, value): (&String, &String)| {
        let (key, value) = (BASE64.encode(key), BASE64.encode(value));
        format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}\n")
    };
    records.iter().map(line).collect()
}

fn from_lines(text: &str) -> BTreeMap<String, String> {
    let decoded = |line: &serde_json::Value, field: &str| {
        let bytes = BASE64.decode(line[field].as_str().expect("base64")).expect("base64");
        String::from_utf8(bytes).expect("it was text")
    };
    let pairs = text.lines().map(|line| {
        let line = serde_json::from_str(line).expect("a line of JSON");
        (decoded(&line, "key"), decoded(&line, "value"))
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_export_equals_the_import_after_every_node_was_killed() {
    let mut cluster = Cluster::start(3);
    let endpoints = cluster.endpoints();
    let records = records();
    assert!(records.len() > 1_000, "only {} records", records.len());
    let file = cluster.directory().join("packages.jsonl");
    fs::write(&file, as_lines(&records)).expect("writable");
    let file = file.to_str().expect("a path of ours");

    let imported = chainfire(&["--endpoints", &endpoints, "--timeout", "60s", "import", file]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));

    // Ranges, through each node.
    let (first, value) = records.first_key_value().expect("there are records");
    let package = first.rsplit_once('/').expect("a key has parts").0.to_owned() + "/";
    for place in 0..3 {
        let client = cluster.client_of(place);
        let answer = client.prefix(package.clone()).await.expect("answered");
        let expected =
            records.range(package.clone()..).take_while(|(k, _)| k.starts_with(&package));
        assert_eq!(answer.kvs.len(), expected.count());
        assert_eq!(client.get(first.clone()).await.expect("answered").expect("there").value, value);
        assert_eq!(dump(&client).await.expect("answered").len(), records.len());
    }

    for node in &mut cluster.nodes {
        node.kill();
    }
    cluster.start_all();
    let out = cluster.directory().join("exported.jsonl");
    let out = out.to_str().expect("a path of ours");
    let exported = chainfire(&["--endpoints", &endpoints, "--timeout", "60s", "export", out]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let back = from_lines(&fs::read_to_string(out).expect("the export"));
    assert_eq!(back.len(), records.len());
    assert!(back == records, "the export differs from the import");
}
