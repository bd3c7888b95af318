//! What the fuzz targets reach of the command line's formats. Compiled for them only.

use super::transfer::line;
use super::txn::syntax;

/// A line of a transaction: a compare or a request.
pub fn txn_line(text: &str) {
    // Any outcome is right, in one line; a panic is not.
    for refused in [syntax::compare(text).err(), syntax::request(text).err()].into_iter().flatten()
    {
        assert!(!refused.trim_end().contains('\n'), "{refused:?}");
    }
}

/// A line of an import.
pub fn import_line(bytes: &[u8]) {
    if let Some(refused) = line::parse(bytes).err() {
        assert!(!refused.contains('\n'), "{refused:?}");
    }
}
