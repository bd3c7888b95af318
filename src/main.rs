//! The `chainfire` binary. See `chainfire --help`.

use std::process::ExitCode;

/// A request is a few dozen short-lived allocations, on threads that hand them to each other: with
/// the system's allocator that was a fifth of a leader's processor time.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chainfire::cli::main()
}
