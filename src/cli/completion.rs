//! `completion`: a script that completes this command line in a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::arguments::Arguments;
use super::failure::CommandError;
use super::terminal::Terminal;

pub(super) fn run(shell: Shell, terminal: &mut Terminal) -> Result<(), CommandError> {
    // The generator panics where its writer fails.
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "chainfire", &mut script);
    terminal.raw(&script)?;
    Ok(terminal.flush()?)
}
