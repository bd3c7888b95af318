//! Named places at which a test can stop the process to kill it.
//!
//! `CHAINFIRE_CRASH_POINT=NAME` stops at the first time execution comes to that place,
//! `NAME:3` at the third: the thread prints `crash point NAME` to standard output and never goes
//! on. The test reads that line and sends SIGKILL, so that what is on the disk is exactly what
//! was there at that place. Names are `ROOM.PLACE`, as in `log.before_commit`.
//!
//! `CHAINFIRE_HOLD_DIR=DIR` stops wherever DIR has a file of the place's name, for as long as it has
//! one: what happens to the others meanwhile is up to the test. `DIR/NAME.reached` says that it has.
//! `CHAINFIRE_DECIDES_OTHERWISE=KEY` has this member store another value than the others when KEY is
//! put. In release builds nothing of this exists.

/// Stops here for ever when the environment asks for it. Debug builds only.
#[cfg(debug_assertions)]
pub fn crash_point(name: &'static str) {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED_FOR: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static TIMES_REACHED: AtomicU64 = AtomicU64::new(0);

    hold(name);
    let asked_for = ASKED_FOR.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?));
    let Some((wanted, nth)) = asked_for else { return };
    if wanted != name || TIMES_REACHED.fetch_add(1, Ordering::SeqCst) + 1 != *nth {
        return;
    }
    let mut output = std::io::stdout().lock();
    let _the_test_sees_it_missing = writeln!(output, "crash point {name}");
    let _the_test_sees_it_missing = output.flush();
    drop(output);
    loop {
        std::thread::park();
    }
}

/// Waits here while the directory of holds has a file of this name.
#[cfg(debug_assertions)]
fn hold(name: &'static str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    const LOOK_EVERY: Duration = Duration::from_millis(10);
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();

    let directory = DIRECTORY.get_or_init(|| std::env::var_os(HOLD_VARIABLE).map(PathBuf::from));
    let Some(directory) = directory else { return };
    let asked_for = directory.join(name);
    if !asked_for.exists() {
        return;
    }
    // The rest of the node goes on, also when it has one thread only.
    tokio::task::block_in_place(|| {
        let reached = directory.join(format!("{name}.reached"));
        let _the_test_sees_it_missing = std::fs::write(reached, std::process::id().to_string());
        while asked_for.exists() {
            std::thread::park_timeout(LOOK_EVERY);
        }
    });
}

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn crash_point(_name: &'static str) {}

/// Whether this member is to store something else under `key` than the others do. Debug builds only.
#[cfg(debug_assertions)]
pub fn decides_otherwise(key: &[u8]) -> bool {
    use std::sync::OnceLock;

    static KEY: OnceLock<Option<String>> = OnceLock::new();

    let wrong = KEY.get_or_init(|| std::env::var(OTHERWISE_VARIABLE).ok());
    wrong.as_ref().is_some_and(|wrong| wrong.as_bytes() == key)
}

/// Never, in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn decides_otherwise(_key: &[u8]) -> bool {
    false
}

/// The variable that names the key of which this member decides otherwise.
pub const OTHERWISE_VARIABLE: &str = "CHAINFIRE_DECIDES_OTHERWISE";

/// The variable that asks for a crash point.
pub const VARIABLE: &str = "CHAINFIRE_CRASH_POINT";

/// The variable that names the directory of holds.
pub const HOLD_VARIABLE: &str = "CHAINFIRE_HOLD_DIR";

#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<(String, u64)> {
    match text.split_once(':') {
        None => Some((text.to_owned(), 1)),
        Some((name, nth)) => Some((name.to_owned(), nth.parse().ok()?)),
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::parse;

    #[test]
    fn a_crash_point_is_named_with_an_optional_count() {
        assert_eq!(parse("log.before_commit"), Some(("log.before_commit".into(), 1)));
        assert_eq!(parse("log.purge:3"), Some(("log.purge".into(), 3)));
        assert_eq!(parse("log.purge:x"), None);
    }
}
