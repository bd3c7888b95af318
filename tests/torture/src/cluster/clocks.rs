//! Clocks of different rate: each node's own, kept in a file that its process maps.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};

use super::Cluster;
use crate::system::monotonic_ns;

/// One node's clock, as `shim/clock.c` reads it: five words of eight bytes.
pub(super) struct Clock {
    path: PathBuf,
    file: fs::File,
    sequence: u64,
    real_anchor_ns: i64,
    fake_anchor_ns: i64,
    wall_offset_ns: i64,
    rate: f64,
}

impl Clock {
    /// A clock that is right.
    pub(super) fn new(root: &Path, slot: usize) -> Result<Self, String> {
        let path = root.join(format!("clock{slot}"));
        let file = fs::File::options().create(true).truncate(true).write(true).open(&path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        let now = monotonic_ns();
        let mut clock = Self {
            path,
            file,
            sequence: 0,
            real_anchor_ns: now,
            fake_anchor_ns: now,
            wall_offset_ns: 0,
            rate: 1.0,
        };
        clock.write();
        Ok(clock)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The monotonic clock goes on from where it is, at another rate, after a jump ahead.
    fn change(&mut self, rate: f64, jump_ns: i64) {
        let now = monotonic_ns();
        let elapsed = (now - self.real_anchor_ns) as f64 * self.rate;
        self.fake_anchor_ns += elapsed as i64 + jump_ns;
        self.real_anchor_ns = now;
        self.rate = rate;
        self.write();
    }

    fn write(&mut self) {
        let word = |at: u64, bytes: [u8; 8]| {
            self.file.write_all_at(&bytes, at * 8).expect("the clock's file");
        };
        word(0, (self.sequence + 1).to_ne_bytes());
        fence(Ordering::SeqCst);
        word(1, self.real_anchor_ns.to_ne_bytes());
        word(2, self.fake_anchor_ns.to_ne_bytes());
        word(3, self.wall_offset_ns.to_ne_bytes());
        word(4, self.rate.to_ne_bytes());
        fence(Ordering::SeqCst);
        word(0, (self.sequence + 2).to_ne_bytes());
        self.sequence += 2;
    }
}

impl Cluster {
    /// Sets how fast a node's clocks run; 1.0 is right.
    pub fn set_clock_rate(&mut self, slot: usize, rate: f64) {
        if let Some(clock) = &mut self.clocks[slot] {
            clock.change(rate, 0);
        }
    }

    /// All clocks of a node jump ahead, as after a sleep of its machine.
    pub fn jump_clock(&mut self, slot: usize, ms: u64) {
        if let Some(clock) = &mut self.clocks[slot] {
            let rate = clock.rate;
            clock.change(rate, ms as i64 * 1_000_000);
        }
    }

    /// Sets a node's wall clock apart from what it should be.
    pub fn set_wall_offset(&mut self, slot: usize, seconds: i64) {
        if let Some(clock) = &mut self.clocks[slot] {
            clock.wall_offset_ns = seconds * 1_000_000_000;
            let rate = clock.rate;
            clock.change(rate, 0);
        }
    }

    /// The wall clock as it should be, the rate right. What the monotonic clock gained it keeps.
    pub(super) fn reset_clock(&mut self, slot: usize) {
        if let Some(clock) = &mut self.clocks[slot] {
            clock.change(1.0, 0);
            clock.wall_offset_ns = clock.real_anchor_ns - clock.fake_anchor_ns;
            clock.change(1.0, 0);
        }
    }
}
