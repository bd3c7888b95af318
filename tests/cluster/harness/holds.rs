//! Places at which nodes wait until the test lets them go on.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Node, eventually};

/// The variable that names the directory of holds.
const HOLD_DIR: &str = "CHAINFIRE_HOLD_DIR";

/// The places at which nodes are held now.
pub struct Holds {
    directory: PathBuf,
}

impl Holds {
    /// None yet, kept in a directory of their own below `parent`.
    pub fn new(parent: &Path) -> Self {
        let directory = parent.join("holds");
        fs::create_dir_all(&directory).expect("a writable directory");
        Self { directory }
    }

    /// Has a node obey, from its next start on.
    pub fn govern(&self, node: &mut Node) {
        node.set_environment(HOLD_DIR, self.directory.to_str().expect("a path of text"));
    }

    /// Whoever comes to this place waits there.
    pub fn hold(&self, place: &str) {
        // There from an earlier hold, or not.
        let _ = fs::remove_file(self.reached_file(place));
        fs::write(self.directory.join(place), "").expect("a writable directory");
    }

    /// Waits until somebody is held there.
    pub async fn wait_reached(&self, place: &str) {
        let reached = async || self.reached_file(place).exists().then_some(());
        eventually(&format!("a node comes to {place}"), reached).await;
    }

    /// All who are held there go on.
    pub fn release(&self, place: &str) {
        fs::remove_file(self.directory.join(place)).expect("it was held");
    }

    fn reached_file(&self, place: &str) -> PathBuf {
        self.directory.join(format!("{place}.reached"))
    }
}
