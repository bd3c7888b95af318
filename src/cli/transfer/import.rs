//! `import`.
//!
//! Many writes are in flight at one time. Two lines with one key are never in flight together:
//! the later one waits, so that the last line wins as it would one by one. The first error stops
//! the import once everything in flight is answered; what was acknowledged is counted.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::line::{ImportedPair, LINE_BYTES_MAX, parse};
use crate::cli::arguments::{Global, ImportArguments};
use crate::cli::failure::CommandError;
use crate::cli::terminal::{Progress, Terminal};
use crate::client::{Client, Error};

/// Lines read ahead of the writes.
const LINES_AHEAD: usize = 256;

/// A pair and the line it stands on.
type Numbered = (u64, ImportedPair);

pub(in crate::cli) async fn run(
    global: &Global,
    arguments: ImportArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    // The input first: a wrong path needs no cluster to be found out.
    let input = Input::open(arguments.file)?;
    let client = global.client()?.connect().await?;
    let (sender, mut lines) = mpsc::channel(LINES_AHEAD);
    // A thread of its own, because standard input may stay silent for ever; it ends when nobody
    // takes its lines, or with the process.
    std::thread::spawn(move || input.read_all(&sender));
    let mut import = Import {
        client,
        in_flight_max: usize::from(arguments.in_flight),
        keys_in_flight: HashSet::new(),
        written: 0,
        leased: 0,
        progress: Progress::start("pairs imported", None),
    };
    let outcome = import.run(&mut lines).await;
    let Import { written, leased, progress, .. } = import;
    progress.finish();
    outcome.map_err(|source| CommandError::Import { written, source: Box::new(source) })?;
    if global.json() {
        terminal.json(&serde_json::json!({ "imported": written }))?;
    } else {
        terminal.line(format!("imported {written} pairs"))?;
        if leased > 0 {
            terminal.line(format!("{leased} of them had a lease, which was left out"))?;
        }
    }
    Ok(terminal.flush()?)
}

/// Where lines come from.
enum Input {
    Standard,
    File { path: PathBuf, file: File },
}

impl Input {
    fn open(path: Option<PathBuf>) -> Result<Self, CommandError> {
        let Some(path) = path else { return Ok(Self::Standard) };
        match File::open(&path) {
            Ok(file) => Ok(Self::File { path, file }),
            Err(source) => Err(CommandError::File { path, source }),
        }
    }

    /// Sends each pair, and at most one error, which is the last thing sent.
    fn read_all(self, to: &mpsc::Sender<Result<Numbered, CommandError>>) {
        let ended = match self {
            Self::Standard => read_lines(io::stdin().lock(), to).map_err(CommandError::Stream),
            Self::File { path, file } => read_lines(BufReader::new(file), to)
                .map_err(|source| CommandError::File { path, source }),
        };
        if let Err(error) = ended {
            // When nobody listens any more, an earlier error was told.
            let _ = to.blocking_send(Err(error));
        }
    }
}

fn read_lines(
    mut input: impl BufRead,
    to: &mpsc::Sender<Result<Numbered, CommandError>>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        (&mut input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
        let parsed = match bytes.len() {
            0 => return Ok(()),
            length if length > LINE_BYTES_MAX => {
                Err(format!("longer than {LINE_BYTES_MAX} bytes, which no pair is; split it"))
            }
            _ => parse(&bytes),
        };
        let (message, go_on) = match parsed {
            Ok(None) => continue,
            Ok(Some(pair)) => (Ok((line, pair)), true),
            Err(reason) => (Err(CommandError::Line { line, reason }), false),
        };
        if to.blocking_send(message).is_err() || !go_on {
            break;
        }
    }
    Ok(())
}

struct Import {
    client: Client,
    in_flight_max: usize,
    keys_in_flight: HashSet<Bytes>,
    written: u64,
    leased: u64,
    progress: Progress,
}

impl Import {
    async fn run(
        &mut self,
        lines: &mut mpsc::Receiver<Result<Numbered, CommandError>>,
    ) -> Result<(), CommandError> {
        let mut in_flight = FuturesUnordered::new();
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let (line, pair) = match lines.recv().await {
                Some(Ok(numbered)) => numbered,
                Some(Err(error)) => {
                    outcome = Err(error);
                    break;
                }
                None => break,
            };
            let key = pair.key.0.clone();
            while outcome.is_ok()
                && (in_flight.len() >= self.in_flight_max || self.keys_in_flight.contains(&key))
            {
                let done = in_flight.next().await.expect("something is in flight");
                outcome = self.count(done);
            }
            if outcome.is_ok() {
                self.leased += u64::from(pair.lease != 0);
                self.keys_in_flight.insert(key.clone());
                let put = self.client.put(key.clone(), pair.value.0);
                in_flight.push(async move { (line, key, put.await) });
            }
        }
        while let Some(done) = in_flight.next().await {
            let counted = self.count(done);
            // An unknown outcome outranks a failure: it decides the exit code.
            if outcome.is_ok() || matches!(&counted, Err(error) if error.code() == 3) {
                outcome = counted;
            }
        }
        outcome
    }

    fn count<T>(
        &mut self,
        (line, key, done): (u64, Bytes, Result<T, Error>),
    ) -> Result<(), CommandError> {
        self.keys_in_flight.remove(&key);
        match done {
            Ok(_) => {
                self.written += 1;
                self.progress.advance(1);
                Ok(())
            }
            Err(error) => Err(CommandError::Pair { line, source: error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &[u8]) -> Vec<Result<u64, String>> {
        let (sender, mut receiver) = mpsc::channel(16);
        read_lines(text, &sender).expect("readable");
        drop(sender);
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|read| read.map(|(line, _)| line).map_err(|error| error.line()))
            .collect()
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones_and_end_at_the_first_that_is_wrong() {
        let pair = "{\"key\":\"aw==\",\"value\":\"\"}";
        let read = lines_of(format!("{pair}\n\n{pair}\nnonsense\n{pair}").as_bytes());
        assert_eq!(read[..2], [Ok(1), Ok(3)]);
        assert_eq!(read.len(), 3);
        let error = read[2].as_ref().expect_err("nonsense");
        assert!(error.starts_with("line 4: not a pair"), "{error}");
    }

    #[test]
    fn an_endless_line_is_refused_without_reading_it_all() {
        let read = lines_of(&vec![b'x'; LINE_BYTES_MAX * 2]);
        assert!(matches!(&read[..], [Err(error)] if error.contains("longer than")), "{read:?}");
    }
}
