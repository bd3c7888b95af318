//! Nodes: processes of the product's own binary, each in a slot with an address of its own.

mod clocks;
mod disks;
mod logs;
mod processes;
mod questions;
mod unsynced;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use chainfire::Client;
use chainfire::auth::Credentials;

use crate::arguments::Arguments;
use crate::network::{self, Network};
use crate::random::{Rng, Stream};
use crate::run;
use crate::world::Shared;
use clocks::Clock;

pub use processes::End;
pub use unsynced::Loss;

/// The variable that says which mended fault is back (`src/failpoint.rs` of the crate).
const PLANTED_FAULT: &str = "CHAINFIRE_PLANTED_FAULT";
/// The ports of a slot begin here, ten apart.
const FIRST_PORT: usize = 24_001;

/// What lies under a node's data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A directory of the machine's own disk.
    Plain,
    /// A small file system of its own: it can be full, stall, and lose what it had not written.
    FileSystem,
    /// Noted write by write: what was not synced can be taken back in any choice of blocks.
    Noted,
    /// As noted, and its syncs return before anything is safe.
    Lying,
}

/// What a run needs of its machines.
#[derive(Clone, Copy, Debug)]
pub struct Machines {
    pub switch: bool,
    /// Nodes that found the cluster.
    pub founders: usize,
    /// Places for nodes.
    pub slots: usize,
    pub disk: Disk,
    pub own_clocks: bool,
    /// Configuration of every node.
    pub config: &'static str,
}

impl Machines {
    /// Nodes on loopback and plain directories.
    pub const fn plain(founders: usize, slots: usize) -> Self {
        let disk = Disk::Plain;
        Self { switch: false, founders, slots, disk, own_clocks: false, config: "" }
    }

    pub const fn switched(self) -> Self {
        Self { switch: true, ..self }
    }

    pub const fn on(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }

    pub const fn with_clocks(self) -> Self {
        Self { own_clocks: true, ..self }
    }

    pub const fn configured(self, config: &'static str) -> Self {
        Self { config, ..self }
    }
}

/// A place for a node: an address, a directory, perhaps a process.
pub struct Slot {
    pub name: String,
    pub dir: PathBuf,
    pub log: PathBuf,
    pub child: Option<Child>,
    pub frozen: bool,
    /// How it joins; none = a founder.
    pub join: Option<Vec<String>>,
    /// Counts the machines that stood here.
    pub generation: u32,
    /// Whether a node shall run here.
    pub wanted: bool,
    pub down_since: Option<Instant>,
    pub disk: Disk,
    /// It was done something that it may refuse to start with, by name; what.
    pub damaged: Option<String>,
    /// How often it refused since.
    pub refusals: u32,
}

type Spawn = (Command, mpsc::Sender<std::io::Result<Child>>);

pub struct Cluster {
    pub bin: PathBuf,
    pub root: PathBuf,
    pub slots: Vec<Slot>,
    pub founders: usize,
    pub network: Option<Arc<Network>>,
    pub world: Shared,
    /// What was done and seen, with its time.
    pub events: Vec<(u64, String)>,
    /// When faults began: recoveries are measured from here.
    pub faults: Vec<u64>,
    /// What no fault explains.
    pub surprises: Vec<String>,
    /// How processes and requests ended, for the summary.
    pub endings: Vec<String>,
    pub credentials: Credentials,
    pub admin: Option<Client>,
    /// Environment of every node.
    pub environment: Vec<(String, String)>,
    trace: bool,
    clocks: Vec<Option<Clock>>,
    /// Choices of what an unsynced write becomes.
    disk_rng: Rng,
    spawner: mpsc::Sender<Spawn>,
}

/// A thread that starts processes: they die with the thread that started them, so it lives as long
/// as this process.
fn spawner() -> mpsc::Sender<Spawn> {
    let (sender, receiver) = mpsc::channel::<Spawn>();
    std::thread::spawn(move || {
        while let Ok((mut command, reply)) = receiver.recv() {
            // Whoever asked may be gone.
            let _ = reply.send(command.spawn());
        }
    });
    sender
}

impl Cluster {
    pub fn new(arguments: &Arguments, machines: &Machines, world: Shared) -> Result<Self, String> {
        let (bin, seed, root) = (arguments.bin.clone(), arguments.seed, run::root());
        fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let keys = root.join("keys");
        let made = Command::new(&bin).args(["keygen", "--out"]).arg(&keys).output();
        match made {
            Ok(output) if output.status.success() => {}
            other => return Err(format!("{} keygen: {other:?}", bin.display())),
        }
        let credentials = Credentials::load(&keys.join("root-credentials.toml"))
            .map_err(|error| error.to_string())?;
        let extra = std::env::var("TORTURE_CONFIG").unwrap_or_default();
        let config = format!("{}{extra}", machines.config);
        fs::write(root.join("node.toml"), config).map_err(|error| error.to_string())?;
        let network = machines.switch.then(|| Network::new(machines.slots, seed)).transpose()?;
        let fault = arguments.planted.iter();
        let environment = fault.map(|fault| (PLANTED_FAULT.into(), fault.clone())).collect();
        let mut cluster = Self {
            bin,
            root,
            slots: vec![],
            founders: machines.founders,
            network,
            world,
            events: vec![],
            faults: vec![],
            surprises: vec![],
            endings: vec![],
            credentials,
            admin: None,
            environment,
            trace: arguments.trace,
            clocks: vec![],
            disk_rng: Rng::stream(seed, Stream::Disk, 0),
            spawner: spawner(),
        };
        for slot in 0..machines.slots {
            cluster.add_slot(slot, machines)?;
        }
        Ok(cluster)
    }

    fn add_slot(&mut self, slot: usize, machines: &Machines) -> Result<(), String> {
        let clock = machines.own_clocks.then(|| Clock::new(&self.root, slot)).transpose()?;
        self.clocks.push(clock);
        let disk_root = self.disk_root(slot);
        fs::create_dir_all(&disk_root).map_err(|error| error.to_string())?;
        let dir = disk_root.join(format!("n{slot}"));
        self.slots.push(Slot {
            name: format!("n{slot}"),
            dir,
            log: self.root.join(format!("n{slot}.log")),
            child: None,
            frozen: false,
            join: None,
            generation: 0,
            wanted: slot < machines.founders,
            down_since: None,
            disk: machines.disk,
            damaged: None,
            refusals: 0,
        });
        if machines.disk == Disk::FileSystem { self.make_file_system(slot) } else { Ok(()) }
    }

    fn host(&self, slot: usize) -> String {
        if self.network.is_some() { network::address(slot) } else { "127.0.0.1".into() }
    }

    pub fn client_addr(&self, slot: usize) -> String {
        format!("{}:{}", self.host(slot), FIRST_PORT + slot * 10)
    }

    pub fn peer_addr(&self, slot: usize) -> String {
        format!("{}:{}", self.host(slot), FIRST_PORT + 1 + slot * 10)
    }

    pub fn http_addr(&self, slot: usize) -> String {
        format!("{}:{}", self.host(slot), FIRST_PORT + 2 + slot * 10)
    }

    pub fn say(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.trace {
            eprintln!("{:9.3} {what}", self.world.now() as f64 / 1e9);
        }
        self.events.push((self.world.now(), what));
    }

    /// A fault begins: recovery is measured from here.
    pub fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(self.world.now());
        self.say(what);
    }

    /// Something that no fault explains.
    pub fn surprise(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.say(what.clone());
        self.surprises.push(what);
    }

    /// How something ended, for the summary: what, how, how long it took.
    pub fn ended(&mut self, what: impl Into<String>) {
        self.endings.push(what.into());
    }

    pub fn client(
        &self,
        slots: &[usize],
        timeout_ms: u64,
        attempt_ms: u64,
        follow: bool,
    ) -> Client {
        Client::builder()
            .endpoints(slots.iter().map(|slot| self.client_addr(*slot)))
            .credentials(&self.credentials)
            .timeout(Duration::from_millis(timeout_ms))
            .attempt_timeout(Duration::from_millis(attempt_ms))
            .connect_timeout(Duration::from_millis(1_000))
            .follow_leader(follow)
            .build()
            .expect("a client")
    }

    /// A client of every slot.
    pub fn client_of_all(&self, timeout_ms: u64, attempt_ms: u64, follow: bool) -> Client {
        let all: Vec<usize> = (0..self.slots.len()).collect();
        self.client(&all, timeout_ms, attempt_ms, follow)
    }

    /// Everything is put right: the network, the clocks, the frozen, the dead.
    pub fn heal(&mut self) {
        if let Some(network) = &self.network {
            network.heal();
        }
        for slot in 0..self.slots.len() {
            self.reset_clock(slot);
            if self.slots[slot].frozen {
                self.thaw(slot);
            }
            if self.slots[slot].wanted && self.slots[slot].child.is_none() {
                self.start(slot);
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_all();
    }
}
