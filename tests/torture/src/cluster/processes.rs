//! Starting, stopping and watching processes.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Cluster, Disk};
use crate::random::Rng;
use crate::system;

/// After an end by itself a node is started again, as a service manager would.
const RESTART_AFTER: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Exit codes with which a node refuses by name (docs/operations.md lists them).
const REFUSALS: std::ops::RangeInclusive<i32> = 10..=29;
/// A command that failed says why in its last line, which begins so.
const FAILED: i32 = 1;
const FAILED_BEGINS: &str = "chainfire: ";

/// What a process's end says: its code, or minus the signal.
fn code_of(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-status.signal().unwrap_or(0))
}

/// How long a process may still live when it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    /// There is no process.
    None,
    StillRunning,
}

impl Cluster {
    pub fn start(&mut self, slot: usize) {
        let mut command = self.command(slot);
        let namespace = self.network.as_ref().map(|network| network.namespace(slot));
        system::confine(&mut command, namespace);
        let (sender, receiver) = mpsc::channel();
        self.spawner.send((command, sender)).expect("the spawner lives");
        let child = receiver.recv().expect("the spawner lives").expect("the node's process");
        self.world.process_changed(slot);
        let slot = &mut self.slots[slot];
        slot.child = Some(child);
        slot.frozen = false;
        slot.wanted = true;
        slot.down_since = None;
    }

    pub fn start_if_dead(&mut self, slot: usize) {
        if self.slots[slot].child.is_none() {
            self.start(slot);
        }
    }

    fn command(&mut self, slot: usize) -> Command {
        let founders: Vec<String> =
            (0..self.founders).map(|i| format!("n{i}={}", self.peer_addr(i))).collect();
        let place = &self.slots[slot];
        let mut command = Command::new(&self.bin);
        command
            .args(["serve", "--config"])
            .arg(self.root.join("node.toml"))
            .args(["--name", &place.name, "--data-dir"])
            .arg(&place.dir)
            .args(["--listen-client", &self.client_addr(slot)])
            .args(["--listen-peer", &self.peer_addr(slot)])
            .args(["--listen-http", &self.http_addr(slot), "--cluster-key"])
            .arg(self.root.join("keys/cluster-key.toml"));
        match &place.join {
            None => command.args(["--initial-cluster", &founders.join(",")]),
            Some(join) => command.args(join),
        };
        let log = OpenOptions::new().create(true).append(true).open(&place.log).expect("a log");
        command.stdout(log.try_clone().expect("a log")).stderr(log).stdin(Stdio::null());
        let filter = std::env::var("TORTURE_NODE_LOG").unwrap_or("info,openraft=warn".into());
        command.env("CHAINFIRE_LOG", filter).env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let clock = self.clocks[slot].as_ref().map(|clock| clock.path().to_owned());
        let noted = matches!(self.slots[slot].disk, Disk::Noted | Disk::Lying);
        if clock.is_some() || noted {
            command.env("LD_PRELOAD", env!("TORTURE_SHIM"));
        }
        if let Some(clock) = clock {
            command.env("TORTURE_CLOCK", clock);
        }
        if noted {
            self.note_disk(slot, &mut command);
        }
        command
    }

    pub fn signal(&self, slot: usize, signal: i32) {
        if let Some(child) = &self.slots[slot].child {
            system::signal(child.id(), signal);
        }
    }

    /// Kills a process and waits for its end.
    pub fn kill(&mut self, slot: usize) {
        if let Some(mut child) = self.slots[slot].child.take() {
            // It may have ended by itself just now.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.world.process_changed(slot);
        self.slots[slot].frozen = false;
    }

    /// Stops a node as a service manager does; its code.
    pub async fn stop(&mut self, slot: usize) -> End {
        self.signal(slot, libc::SIGTERM);
        let end = self.wait_exit(slot, Duration::from_secs(15)).await;
        if end == End::StillRunning {
            let tail = self.log_tail(slot, 4);
            self.surprise(format!("slot {slot} did not stop within 15 s: {tail}"));
            self.kill(slot);
        }
        end
    }

    pub fn freeze(&mut self, slot: usize) {
        self.signal(slot, libc::SIGSTOP);
        self.slots[slot].frozen = true;
    }

    pub fn thaw(&mut self, slot: usize) {
        self.signal(slot, libc::SIGCONT);
        self.slots[slot].frozen = false;
    }

    /// Waits for a process's end.
    pub async fn wait_exit(&mut self, slot: usize, patience: Duration) -> End {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            let Some(child) = &mut self.slots[slot].child else { return End::None };
            if let Some(status) = child.try_wait().expect("a child of ours") {
                self.slots[slot].child = None;
                self.world.process_changed(slot);
                return End::Code(code_of(status));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        End::StillRunning
    }

    /// Looks for processes that ended by themselves, and starts them again as a service manager.
    ///
    /// Who was damaged may refuse by name; anything else that ends by itself is a surprise.
    pub fn look(&mut self) {
        for slot in 0..self.slots.len() {
            let child = self.slots[slot].child.as_mut();
            if let Some(status) = child.and_then(|c| c.try_wait().expect("a child of ours")) {
                self.note_end(slot, code_of(status));
            }
            let place = &self.slots[slot];
            let due = place.down_since.is_some_and(|since| since.elapsed() > RESTART_AFTER);
            if due && place.wanted {
                self.start(slot);
            }
        }
    }

    fn note_end(&mut self, slot: usize, code: i32) {
        let tail = self.log_tail(slot, 5);
        let place = &mut self.slots[slot];
        place.child = None;
        place.down_since = Some(Instant::now());
        let name = place.name.clone();
        let said_why = code == FAILED
            && tail.rsplit(" // ").next().is_some_and(|line| line.starts_with(FAILED_BEGINS));
        let refused = place.damaged.is_some() && (REFUSALS.contains(&code) || said_why);
        place.refusals += u32::from(refused);
        self.world.process_changed(slot);
        let text = format!("slot {slot} ({name}) ended by itself with {code}; {tail}");
        if refused {
            self.ended(format!("refused:{code}"));
            self.say(text);
        } else {
            self.surprise(text);
        }
    }

    /// Sleeps, while looking.
    pub async fn rest(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < until {
            self.look();
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }

    /// Sleeps for a time that the seed chooses, while looking.
    pub async fn rest_between(&mut self, rng: &mut Rng, first_ms: u64, last_ms: u64) {
        let ms = rng.between(first_ms, last_ms);
        self.rest(ms).await;
    }

    pub fn stop_all(&mut self) {
        for slot in 0..self.slots.len() {
            self.kill(slot);
        }
    }
}
