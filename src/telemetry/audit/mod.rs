//! The audit log: one line of JSON for each request that was refused and each that changes
//! something.
//!
//! ```text
//!   request --record--> bounded queue --a thread--> a file; refusals also through tracing
//! ```
//!
//! # What must stay true
//! - A request never waits for the log. When the queue is full the line is lost, and counted
//!   (`chainfire_audit_lost_total`); so is one that the disk refuses.
//! - A line holds names, ids and keys, never a value or a secret.
//!
//! # On failure
//! A file that cannot be written is tried again with the next lines; the first failure of a row is
//! logged. A file that was moved away, as log rotation does, is made anew. What it may take of the
//! disk is bounded: two files of a size that the configuration sets.

mod file;
mod line;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem, thread};

use file::AuditFile;

use super::NodeMetrics;
use crate::clock;
use crate::types::{ClientId, RequestId};

/// Lines that may wait for the thread.
const QUEUE_LINES_MAX: usize = 16_384;
/// How long the thread gathers lines after the first: one wake for many requests.
const GATHER: Duration = Duration::from_millis(10);

/// Who asks, as every line of one connection says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCaller {
    /// The key that signs; empty without one.
    pub access_key_id: String,
    /// Whose it is; empty when that is not known.
    pub user: String,
    /// Where it comes from; none when that is not known.
    pub peer: Option<SocketAddr>,
}

/// Whether it was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was.
    Allowed,
    /// It was not, for this reason, which is a word of metrics.
    Refused(&'static str),
}

/// One line.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// Who asked.
    pub caller: Arc<AuditCaller>,
    /// The write's name, when it has one.
    pub request_id: Option<RequestId>,
    /// What was asked, in a word.
    pub action: &'static str,
    /// With what: keys, users, nodes.
    pub target: String,
    /// Whether it was let in.
    pub decision: Decision,
    /// What came of it: `ok`, or the kind of error; empty when it was refused at the door.
    pub outcome: &'static str,
    /// The revision it made, of the store or of users, roles and keys; 0 when it made none.
    pub revision: u64,
}

/// How a line names a request that is a session of its own: it stands for itself.
pub fn id_of_one_request(request_id: u128) -> RequestId {
    let client = ClientId(request_id);
    RequestId { client, sequence: 0, lowest_unanswered: 0, begun_ms: 0, window_ms: 0 }
}

/// A record and when it was made, by the wall clock.
struct Stamped(Duration, AuditRecord);

/// The log of one node. Cheap to clone; what waits is written when the last clone is gone.
#[derive(Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    metrics: NodeMetrics,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<Stamped>,
    closed: bool,
}

impl AuditLog {
    /// Starts the log, in `file`, of at most `file_bytes_max` bytes (0 = any number).
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread.
    pub fn start(file: PathBuf, file_bytes_max: u64, metrics: NodeMetrics) -> io::Result<Self> {
        let file = AuditFile::open(file, file_bytes_max)?;
        let (queue, filled) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { metrics, queue, filled });
        let writer = Arc::clone(&shared);
        let thread = thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || writer.write_all(file))?;
        Ok(Self { inner: Arc::new(Inner { shared, thread: Some(thread) }) })
    }

    /// Adds a line. Refusals are counted by their reason as well.
    pub fn record(&self, record: AuditRecord) {
        let shared = &self.inner.shared;
        if let Decision::Refused(reason) = record.decision {
            shared.metrics.auth_refused(reason);
        }
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.lines.len() >= QUEUE_LINES_MAX {
            drop(queue);
            return shared.metrics.audit_lost(1);
        }
        queue.lines.push(Stamped(clock::wall(), record));
        let is_first = queue.lines.len() == 1;
        drop(queue);
        if is_first {
            shared.filled.notify_one();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // That it panicked is in the log already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What waits, once something does, and whether more may come.
    fn take(&self) -> (Vec<Stamped>, bool) {
        let is_idle = |queue: &mut Queue| queue.lines.is_empty() && !queue.closed;
        let is_open = |queue: &mut Queue| !queue.closed;
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = self.filled.wait_while(queue, is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathered = self.filled.wait_timeout_while(queue, GATHER, is_open);
        let (mut queue, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        (mem::take(&mut queue.lines), !queue.closed)
    }

    fn write_all(&self, mut file: AuditFile) {
        let mut failing = false;
        let mut text = String::new();
        loop {
            let (lines, goes_on) = self.take();
            text.clear();
            for Stamped(at, record) in &lines {
                let begin = text.len();
                line::write(&mut text, *at, record);
                if let Decision::Refused(_) = record.decision {
                    tracing::warn!(target: "chainfire::audit", "{}", text[begin..].trim_end());
                }
            }
            let written = file.append(text.as_bytes());
            if let Err(error) = &written {
                self.metrics.audit_lost(lines.len() as u64);
                if !failing {
                    tracing::error!(%error, "the audit log cannot be written");
                }
            }
            failing = written.is_err();
            if !goes_on {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClientId;

    fn record(target: &str) -> AuditRecord {
        AuditRecord {
            caller: Arc::new(AuditCaller {
                access_key_id: "CF0A".into(),
                user: "ann".into(),
                peer: Some(([127, 0, 0, 1], 7).into()),
            }),
            request_id: Some(RequestId {
                client: ClientId(10),
                sequence: 3,
                lowest_unanswered: 1,
                begun_ms: 0,
                window_ms: 0,
            }),
            action: "put",
            target: target.into(),
            decision: Decision::Allowed,
            outcome: "ok",
            revision: 9,
        }
    }

    #[test]
    fn every_line_is_in_the_file_when_the_log_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let log = AuditLog::start(path.clone(), 0, NodeMetrics::new()).unwrap();
        for number in 0..100 {
            log.record(record(&format!("write \"k{number}\"\n")));
        }
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 100);
        for (number, line) in text.lines().enumerate() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["target"], format!("write \"k{number}\"\n"));
            assert_eq!(line["request_id"], "0000000000000000000000000000000a/3");
            assert_eq!((&line["decision"], &line["revision"]), (&"allowed".into(), &9.into()));
        }
    }

    #[test]
    fn a_full_queue_loses_lines_and_counts_them() {
        let metrics = NodeMetrics::new();
        let (queue, filled) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { metrics: metrics.clone(), queue, filled });
        let log = AuditLog { inner: Arc::new(Inner { shared, thread: None }) };
        for _ in 0..QUEUE_LINES_MAX + 3 {
            log.record(record("write \"k\""));
        }
        assert!(metrics.render().contains("\nchainfire_audit_lost_total 3\n"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("audit.log"), directory.path().join("old.log"));
        let mut file = AuditFile::open(path.clone(), 0).unwrap();
        file.append(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_refusal_is_counted_by_its_reason() {
        let metrics = NodeMetrics::new();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let log = AuditLog::start(path, 0, metrics.clone()).unwrap();
        log.record(AuditRecord { decision: Decision::Refused("not_permitted"), ..record("x") });
        let series = "chainfire_auth_refusals_total{reason=\"not_permitted\"} 1";
        assert!(metrics.render().contains(series));
    }
}
