//! Named places at which a test can stop the process to kill it.
//!
//! `CHAINFIRE_CRASH_POINT=NAME` stops at the first time execution comes to that place,
//! `NAME:3` at the third: the thread prints `crash point NAME` to standard output and never goes
//! on. The test reads that line and sends SIGKILL, so that what is on the disk is exactly what
//! was there at that place. Names are `ROOM.PLACE`, as in `log.before_commit`. In release builds nothing of this exists.

/// Stops here for ever when the environment asks for it. Debug builds only.
#[cfg(debug_assertions)]
pub fn crash_point(name: &'static str) {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED_FOR: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static TIMES_REACHED: AtomicU64 = AtomicU64::new(0);

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

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn crash_point(_name: &'static str) {}

/// The variable that asks for a crash point.
pub const VARIABLE: &str = "CHAINFIRE_CRASH_POINT";

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
