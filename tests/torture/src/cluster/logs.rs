//! The nodes' own logs.

use std::fs;

use super::Cluster;

/// What the logs of a run say.
pub struct LogSummary {
    /// Lines that tell of panics.
    pub panics: Vec<String>,
    pub errors: u64,
    pub warnings: u64,
}

impl Cluster {
    /// The last lines of a node's log.
    pub fn log_tail(&self, slot: usize, lines: usize) -> String {
        let bytes = fs::read(&self.slots[slot].log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join(" // ")
    }

    pub fn log_summary(&self) -> LogSummary {
        let mut summary = LogSummary { panics: vec![], errors: 0, warnings: 0 };
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.path().extension().is_none_or(|extension| extension != "log") {
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap_or_default();
            for line in String::from_utf8_lossy(&bytes).lines() {
                if line.contains("panicked") || line.contains("PANIC") {
                    let file = entry.file_name();
                    summary.panics.push(format!("{}: {line}", file.to_string_lossy()));
                }
                summary.errors += u64::from(line.contains("ERROR"));
                summary.warnings += u64::from(line.contains(" WARN "));
            }
        }
        summary
    }
}
