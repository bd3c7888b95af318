//! A switch in user space: every node has a network namespace with one TUN device, whose other
//! end is here. Each directed link can be blocked, lossy, slow, or send twice; and a link may be
//! stuck for some connections only.
//!
//! The kernel of a build machine often has no `netem`, and this knows its own seed.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::random::{Rng, Stream};
use crate::system;

const NET: [u8; 3] = [10, 213, 7];
/// The last byte of the address of the first slot, and of the clients.
const FIRST_SLOT: u8 = 10;
const CLIENTS: u8 = 100;
const PACKET_BYTES_MAX: usize = 65_536;
const PROTOCOL_TCP: u8 = 6;

/// What happens on the way from one to another.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Link {
    pub block: bool,
    /// Of 1000 packets.
    pub loss: u32,
    /// Of 1000 packets.
    pub duplicate: u32,
    pub delay_us: u32,
    pub jitter_us: u32,
    /// Of TCP connections those whose port is `stuck` modulo `STUCK_OF` get nothing through: one
    /// lane of two peers hangs, the others go on.
    pub stuck: Option<u16>,
}

/// Connections are told apart by their ephemeral port modulo this.
pub const STUCK_OF: u16 = 3;

pub const BLOCK: Link =
    Link { block: true, loss: 0, duplicate: 0, delay_us: 0, jitter_us: 0, stuck: None };

impl Link {
    pub fn slow(delay_us: u64, jitter_us: u64) -> Self {
        Self { delay_us: delay_us as u32, jitter_us: jitter_us as u32, ..Self::default() }
    }

    fn drops(&self, packet: &[u8], rng: &mut Rng) -> bool {
        self.block
            || self.stuck.is_some_and(|stuck| ephemeral_port(packet) % STUCK_OF == stuck)
            || (self.loss > 0 && rng.below(1000) < u64::from(self.loss))
    }
}

/// The higher port of a TCP packet: that of whoever dialled.
fn ephemeral_port(packet: &[u8]) -> u16 {
    let head = usize::from(packet[0] & 15) * 4;
    if packet[9] != PROTOCOL_TCP || packet.len() < head + 4 {
        return 0;
    }
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    port(head).max(port(head + 2))
}

#[derive(PartialEq, Eq)]
struct Late {
    at: Reverse<Instant>,
    to: usize,
    packet: Vec<u8>,
}

impl Ord for Late {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

pub struct Network {
    /// `links[from][to]`; the last one is the clients'.
    links: RwLock<Vec<Vec<Link>>>,
    devices: Vec<File>,
    namespaces: Vec<File>,
    late: Mutex<BinaryHeap<Late>>,
    wake: Condvar,
    pub packets: AtomicU64,
    pub dropped: AtomicU64,
}

/// The address of a slot.
pub fn address(slot: usize) -> String {
    format!("{}.{}.{}.{}", NET[0], NET[1], NET[2], usize::from(FIRST_SLOT) + slot)
}

fn configure(namespace: Option<&File>, address: &str) -> Result<(), String> {
    let script = format!(
        "ip link set lo up && ip addr add {address}/24 dev tun0 && \
         ip link set tun0 mtu 9000 txqueuelen 2000 up"
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]);
    system::confine(&mut command, namespace);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("{script}: {other:?}")),
    }
}

impl Network {
    pub fn new(slots: usize, seed: u64) -> Result<Arc<Self>, String> {
        let failed = |error: std::io::Error| format!("the switch: {error}");
        let (mut devices, mut namespaces) = (vec![], vec![]);
        for slot in 0..slots {
            let namespace = system::network_namespace().map_err(failed)?;
            devices.push(system::open_tun(Some(&namespace)).map_err(failed)?);
            configure(Some(&namespace), &address(slot))?;
            namespaces.push(namespace);
        }
        devices.push(system::open_tun(None).map_err(failed)?);
        configure(None, &address(usize::from(CLIENTS - FIRST_SLOT)))?;
        let network = Arc::new(Self {
            links: RwLock::new(vec![vec![Link::default(); slots + 1]; slots + 1]),
            devices,
            namespaces,
            late: Mutex::default(),
            wake: Condvar::new(),
            packets: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        for from in 0..=slots {
            let network = Arc::clone(&network);
            let rng = Rng::stream(seed, Stream::Network, from as u64);
            std::thread::spawn(move || network.pump(from, rng));
        }
        let timer = Arc::clone(&network);
        std::thread::spawn(move || timer.deliver());
        Ok(network)
    }

    pub fn namespace(&self, slot: usize) -> &File {
        &self.namespaces[slot]
    }

    fn slots(&self) -> usize {
        self.devices.len() - 1
    }

    /// Who a packet is for.
    fn destination(&self, packet: &[u8]) -> Option<usize> {
        if packet.len() < 20 || packet[0] >> 4 != 4 || packet[16..19] != NET {
            return None;
        }
        match packet[19] {
            CLIENTS => Some(self.slots()),
            byte => byte.checked_sub(FIRST_SLOT).map(usize::from).filter(|to| *to < self.slots()),
        }
    }

    fn pump(&self, from: usize, mut rng: Rng) {
        let mut buffer = vec![0u8; PACKET_BYTES_MAX];
        while let Ok(n) = (&self.devices[from]).read(&mut buffer) {
            if n == 0 {
                return;
            }
            let packet = &buffer[..n];
            let Some(to) = self.destination(packet) else { continue };
            let link = self.links.read().unwrap()[from][to];
            self.packets.fetch_add(1, Memory::Relaxed);
            if link.drops(packet, &mut rng) {
                self.dropped.fetch_add(1, Memory::Relaxed);
                continue;
            }
            let twice = link.duplicate > 0 && rng.below(1000) < u64::from(link.duplicate);
            for _ in 0..1 + usize::from(twice) {
                if link.delay_us == 0 && link.jitter_us == 0 {
                    self.send(to, packet);
                } else {
                    let delay = u64::from(link.delay_us) + rng.below(u64::from(link.jitter_us) + 1);
                    let at = Reverse(Instant::now() + Duration::from_micros(delay));
                    self.late.lock().unwrap().push(Late { at, to, packet: packet.to_vec() });
                    self.wake.notify_one();
                }
            }
        }
    }

    fn send(&self, to: usize, packet: &[u8]) {
        // A full queue or a device that is down drops packets, as networks do.
        let _ = (&self.devices[to]).write(packet);
    }

    fn deliver(&self) {
        let mut late = self.late.lock().unwrap();
        loop {
            let now = Instant::now();
            match late.peek().map(|next| next.at.0) {
                None => late = self.wake.wait(late).unwrap(),
                Some(at) if at > now => {
                    late = self.wake.wait_timeout(late, at - now).unwrap().0;
                }
                Some(_) => {
                    let due = late.pop().expect("just seen");
                    drop(late);
                    self.send(due.to, &due.packet);
                    late = self.late.lock().unwrap();
                }
            }
        }
    }

    pub fn heal(&self) {
        for row in self.links.write().unwrap().iter_mut() {
            row.fill(Link::default());
        }
    }

    /// Sets one direction.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        self.links.write().unwrap()[from][to] = link;
    }

    /// Sets both directions.
    pub fn set_both(&self, a: usize, b: usize, link: Link) {
        self.set(a, b, link);
        self.set(b, a, link);
    }

    pub fn cut(&self, a: usize, b: usize) {
        self.set_both(a, b, BLOCK);
    }

    /// Cuts a node from the others below `nodes`.
    pub fn isolate(&self, node: usize, nodes: usize) {
        for other in (0..nodes).filter(|other| *other != node) {
            self.cut(node, other);
        }
    }

    /// Sets every link among the nodes.
    pub fn set_all(&self, nodes: usize, link: Link) {
        for a in 0..nodes {
            for b in (0..nodes).filter(|b| *b != a) {
                self.set(a, b, link);
            }
        }
    }
}
