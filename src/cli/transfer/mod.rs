//! `export` and `import`: every pair as a line of JSON.
//!
//! A line is `{"key": BASE64, "value": BASE64, "lease": N, "version": N}`, in key order, all read
//! at one revision. An import stores key and value; leases belong to the cluster they were
//! granted in, and versions start anew. So the export of an import has the same keys and values.

mod export;
mod import;
pub(super) mod line;

pub(super) use export::run as export;
pub(super) use import::run as import;
