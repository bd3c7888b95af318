//! The `chainfire` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    chainfire::cli::main()
}
