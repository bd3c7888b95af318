//! What the fuzz targets share.
//!
//! A fuzzer that starts from nothing spends its minute on the first byte of a format. So each
//! target first encodes some real values with the crate's own encoders and lays them into the
//! corpus directory it was given: the seeds are always of the current format.

use std::fs;
use std::path::PathBuf;

/// Lays the seeds into the corpus directory named on the command line, if there is one.
pub fn plant(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let corpus = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some(corpus) = corpus.map(PathBuf::from).filter(|path| path.is_dir()) else { return };
    for (number, seed) in seeds.into_iter().enumerate() {
        let path = corpus.join(format!("seed-{number}"));
        fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
