//! `export`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::line::ExportedPair;
use crate::cli::arguments::{ExportArguments, Global};
use crate::cli::bytes::from_argument;
use crate::cli::failure::CommandError;
use crate::cli::terminal::{Progress, Terminal};
use crate::client::Pages;

pub(in crate::cli) async fn run(
    global: &Global,
    arguments: ExportArguments,
    _terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let client = global.client()?.connect().await?;
    let mut range = client.prefix(from_argument(arguments.prefix)).revision(arguments.rev);
    if arguments.serializable {
        range = range.serializable();
    }
    match arguments.file {
        None => export(range.pages(), BufWriter::new(io::stdout())).await,
        Some(path) => export_to(range.pages(), &path).await,
    }
}

/// Writes beside the file, and puts it in place when it is complete and on the disk.
async fn export_to(pages: Pages, path: &Path) -> Result<(), CommandError> {
    let partial = partial_of(path);
    let failed = |source| CommandError::File { path: path.to_owned(), source };
    let file = File::create(&partial).map_err(failed)?;
    let exported = match file.try_clone() {
        Ok(handle) => export(pages, BufWriter::new(handle)).await,
        Err(source) => Err(failed(source)),
    };
    let placed = exported
        .and_then(|()| file.sync_all().and_then(|()| fs::rename(&partial, path)).map_err(failed));
    if placed.is_err() {
        // What failed is told already; a file that stays behind is named so that it is known.
        let _ = fs::remove_file(&partial);
    }
    placed
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".partial");
    path.with_file_name(name)
}

async fn export(mut pages: Pages, mut out: impl Write) -> Result<(), CommandError> {
    let mut progress = Progress::start("pairs exported", None);
    let mut first = true;
    while let Some(page) = pages.next().await? {
        if first {
            progress.set_total(page.count);
            first = false;
        }
        let pairs = page.kvs.len() as u64;
        for pair in page.kvs {
            serde_json::to_writer(&mut out, &ExportedPair::from(pair)).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        progress.advance(pairs);
    }
    out.flush()?;
    progress.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_file_lies_beside_the_one_it_becomes() {
        assert_eq!(partial_of(Path::new("/a/b.jsonl")), Path::new("/a/b.jsonl.partial"));
        assert_eq!(partial_of(Path::new("b")), Path::new("b.partial"));
    }
}
