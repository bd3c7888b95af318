//! Where answers go: standard output, buffered, and progress on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;

/// How often progress is told where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where a command's answer goes.
pub(super) struct Terminal {
    out: Box<dyn Write>,
}

impl Terminal {
    /// Standard output.
    pub(super) fn standard() -> Self {
        Self { out: Box::new(io::BufWriter::new(io::stdout())) }
    }

    /// Writes bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Writes a line of raw bytes.
    pub(super) fn line(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.out.write_all(bytes.as_ref())?;
        self.out.write_all(b"\n")
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// Writes a line that nobody should miss to standard error.
    #[cfg(feature = "server")]
    pub(super) fn warn(&self, message: &str) {
        // With standard error gone there is nobody left to warn.
        let _ = writeln!(io::stderr().lock(), "chainfire: WARNING: {message}");
    }

    /// Everything reaches the reader now. Each command ends with this.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere.
pub(super) struct Progress {
    what: &'static str,
    done: u64,
    total: Option<u64>,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// `what` was done, in the past tense with its unit: `pairs imported`.
    pub(super) fn start(what: &'static str, total: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(what, total));
        Self { what, done: 0, total, bar, told: clock::monotonic() }
    }

    /// The total became known.
    pub(super) fn set_total(&mut self, total: u64) {
        self.total = Some(total);
        if let Some(bar) = &self.bar {
            bar.set_style(style(self.total));
            bar.set_length(total);
        }
    }

    /// So much more was done.
    pub(super) fn advance(&mut self, more: u64) {
        self.set(self.done + more);
    }

    /// So much was done in all.
    pub(super) fn set(&mut self, done: u64) {
        self.done = done;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.told.elapsed() >= PLAIN_EVERY => {
                self.told = clock::monotonic();
                self.tell();
            }
            None => {}
        }
    }

    /// The end: a last plain line, or the bar taken away.
    pub(super) fn finish(self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => self.tell(),
        }
    }

    fn tell(&self) {
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        // Progress that cannot be told is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{}{of} {}", self.done, self.what);
    }
}

fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style(total)).with_message(what)
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{wide_bar} {human_pos}/{human_len} {msg} ({per_sec}, {eta} left)",
        None => "{spinner} {human_pos} {msg} ({per_sec})",
    };
    ProgressStyle::with_template(template).expect("the template is a constant and well formed")
}
