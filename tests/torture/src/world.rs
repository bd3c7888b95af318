//! What the tasks of one run share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::arguments::ClientFault;
use crate::history::{Names, Op};

pub struct World {
    start: Instant,
    pub names: Names,
    pub stop: AtomicBool,
    /// Counts starts and ends of the process in each slot.
    processes: Vec<AtomicU32>,
    pub history: Mutex<Vec<Op>>,
    /// What a client saw that no order of operations could explain.
    pub broken: Mutex<Vec<String>>,
    pub client_fault: Option<ClientFault>,
    pub last_revision: AtomicU64,
    /// Revisions are compacted away: nobody reads old ones.
    pub no_history_reads: bool,
    /// Keys `p/N` that were there before, with large values.
    pub preloaded: AtomicU64,
}

pub type Shared = Arc<World>;

impl World {
    pub fn new(slots: usize, client_fault: Option<ClientFault>, no_history_reads: bool) -> Shared {
        Arc::new(Self {
            start: Instant::now(),
            names: Names::default(),
            stop: AtomicBool::new(false),
            processes: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            history: Mutex::default(),
            broken: Mutex::default(),
            client_fault,
            last_revision: AtomicU64::new(0),
            no_history_reads,
            preloaded: AtomicU64::new(0),
        })
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn process(&self, slot: Option<usize>) -> u32 {
        slot.map_or(0, |slot| self.processes[slot].load(Ordering::SeqCst))
    }

    pub fn process_changed(&self, slot: usize) {
        self.processes[slot].fetch_add(1, Ordering::SeqCst);
    }

    pub fn last_revision(&self) -> u64 {
        self.last_revision.load(Ordering::Relaxed)
    }

    pub fn report_broken(&self, what: String) {
        self.broken.lock().unwrap().push(what);
    }
}
