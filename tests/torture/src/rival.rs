//! The same distances and outages for etcd, on the same switch.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::network::{self, Link, Network};
use crate::run;
use crate::system;

const NODES: usize = 3;

pub fn run() -> Result<bool, String> {
    let bin = std::env::var("ETCD_BIN")
        .map_err(|_| "ETCD_BIN names the folder with etcd and etcdctl".to_owned())?;
    let network = Network::new(NODES, 1)?;
    let root = run::root();
    std::fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let initial: Vec<String> =
        (0..NODES).map(|i| format!("n{i}=http://{}:2380", network::address(i))).collect();
    let mut nodes: Vec<Child> = vec![];
    for slot in 0..NODES {
        let address = network::address(slot);
        let (client, peer) = (format!("http://{address}:2379"), format!("http://{address}:2380"));
        let mut command = Command::new(format!("{bin}/etcd"));
        command
            .args(["--name", &format!("n{slot}"), "--data-dir"])
            .arg(root.join(format!("n{slot}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &initial.join(","), "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        system::confine(&mut command, Some(network.namespace(slot)));
        nodes.push(command.spawn().map_err(|error| format!("{bin}/etcd: {error}"))?);
    }
    measure(&network, &bin);
    for node in &mut nodes {
        // It may be gone already.
        let _ = node.kill();
        let _ = node.wait();
    }
    let _ = std::fs::remove_dir_all(&root);
    Ok(true)
}

fn measure(network: &Network, bin: &str) {
    let endpoints: Vec<String> =
        (0..NODES).map(|i| format!("http://{}:2379", network::address(i))).collect();
    let put = |timeout: &str| {
        Command::new(format!("{bin}/etcdctl"))
            .args(["--endpoints", &endpoints.join(","), "--command-timeout", timeout])
            .args(["put", "k", "v"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    while !put("1s") {}
    for one_way_ms in [5u64, 35, 55, 75, 110] {
        network.set_all(NODES, Link::slow(one_way_ms * 1_000, 0));
        let (begun, mut ok, mut failed) = (Instant::now(), 0, 0);
        while begun.elapsed() < Duration::from_secs(8) {
            if put("2s") { ok += 1 } else { failed += 1 }
        }
        let rate = f64::from(ok) / 8.0;
        println!("etcd, round trip {} ms: {rate:.1} puts/s, {failed} failed", one_way_ms * 2);
    }
    network.heal();
    std::thread::sleep(Duration::from_secs(2));
    for seconds in [3u64, 8, 20, 40] {
        for slot in 0..NODES {
            network.isolate(slot, NODES);
        }
        std::thread::sleep(Duration::from_secs(seconds));
        network.heal();
        let begun = Instant::now();
        while !put("500ms") && begun.elapsed() < Duration::from_secs(90) {}
        let ms = begun.elapsed().as_millis();
        println!("etcd, blackout of {seconds} s: writes again after {ms} ms");
        std::thread::sleep(Duration::from_secs(4));
    }
}
