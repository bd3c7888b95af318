//! The command line, run to its end.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::keys::root_credentials_file;

/// Runs `chainfire` with these arguments and no standard input.
pub fn chainfire(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// Runs `chainfire` with these arguments and this standard input.
pub fn chainfire_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that refuses may end before it has read everything.
            let _ = pipe.write_all(input);
        });
        child.wait_with_output().expect("the process is a child of this one")
    })
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chainfire"));
    command
        .args(arguments)
        .env_remove("CHAINFIRE_ENDPOINTS")
        .env("CHAINFIRE_CREDENTIALS", root_credentials_file());
    command
}
