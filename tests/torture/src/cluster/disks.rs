//! Disks of our own: small file systems that can be full, stall, and lose their power.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Cluster, Disk, Loss};
use crate::system::shell;

/// How large a small file system is.
const FILE_SYSTEM_BYTES: &str = "256M";

impl Cluster {
    /// The directory under which a slot's data directories lie.
    pub(super) fn disk_root(&self, slot: usize) -> PathBuf {
        self.root.join(format!("disk{slot}"))
    }

    pub(super) fn make_file_system(&mut self, slot: usize) -> Result<(), String> {
        let disk = self.disk_root(slot).display().to_string();
        shell(&format!(
            "mkdir -p {disk} && truncate -s {FILE_SYSTEM_BYTES} {disk}.img && \
             mkfs.ext4 -q -F {disk}.img && mount -o loop {disk}.img {disk}"
        ))
    }

    pub fn unmount_all(&self) {
        for slot in 0..self.slots.len() {
            let disk = self.disk_root(slot).display().to_string();
            // What is not mounted or not frozen needs nothing.
            let _ = shell(&format!("fsfreeze -u {disk}"));
            let _ = shell(&format!("umount {disk}"));
        }
    }

    /// Stops, or lets go on, every write to the disk under a slot.
    pub fn stall_disk(&self, slot: usize, stall: bool) {
        let flag = if stall { "-f" } else { "-u" };
        let disk = self.disk_root(slot);
        // To let go on what does not stall is no fault.
        let _ = Command::new("fsfreeze").arg(flag).arg(disk).status();
    }

    /// Leaves no byte free.
    pub fn fill_disk(&self, slot: usize) {
        let fill = self.disk_root(slot).join("fill");
        // It ends with "no space left", as it shall.
        let _ = shell(&format!("cat /dev/zero > {}", fill.display()));
    }

    pub fn free_disk(&self, slot: usize) {
        let _ = fs::remove_file(self.disk_root(slot).join("fill"));
    }

    /// Kills, and takes from the disks what was not safe on them yet.
    pub fn power_cut(&mut self, victims: &[usize], loss: Loss) {
        for slot in victims {
            self.signal(*slot, libc::SIGKILL);
        }
        for slot in victims {
            if self.slots[*slot].disk != Disk::FileSystem {
                continue;
            }
            // At once, before the system writes more of what it holds.
            let disk = self.disk_root(*slot).display().to_string();
            if let Err(error) = shell(&format!("cp --sparse=always {disk}.img {disk}.cut")) {
                self.surprise(error);
            }
        }
        for slot in victims {
            self.kill(*slot);
            match self.slots[*slot].disk {
                Disk::Plain => {}
                Disk::Noted | Disk::Lying => self.lose_unsynced(*slot, loss),
                Disk::FileSystem => self.swap_file_system(*slot),
            }
        }
    }

    /// The copy of the device takes its place: what the system had not written is gone.
    fn swap_file_system(&mut self, slot: usize) {
        let disk = self.disk_root(slot).display().to_string();
        let swapped = shell(&format!(
            "umount {disk} && mv {disk}.cut {disk}.img && mount -o loop {disk}.img {disk}"
        ));
        if let Err(error) = swapped {
            self.surprise(error);
        }
    }
}
