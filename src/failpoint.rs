//! Faults that were mended, brought back on purpose, so that the torture tests can show that they
//! would have found each.
//!
//! A build with the feature `planted-faults` has them; `CHAINFIRE_PLANTED_FAULT` names the one that
//! is at work, none by default. No release has the feature: without it [`planted`] is `false` at
//! compile time and nothing of this is in the program. CI looks for the variable's name in a
//! release build.

/// A fault that was mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A linearizable read asks nobody whether the state is fresh.
    StaleReadIndex,
    /// What does not parse at the end of the journal counts as never acknowledged.
    DroppedJournalTail,
    /// A record of the state is returned whatever its checksum says.
    NoChecksum,
    /// A session makes room for another while its client may still retry, and a session that is
    /// not known is begun whenever it was.
    SessionEvicted,
    /// The replicated clock counts whatever its node's clock did.
    ClockRunsOn,
}

#[cfg(feature = "planted-faults")]
impl Fault {
    const ALL: [Self; 5] = [
        Self::StaleReadIndex,
        Self::DroppedJournalTail,
        Self::NoChecksum,
        Self::SessionEvicted,
        Self::ClockRunsOn,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::StaleReadIndex => "stale-read-index",
            Self::DroppedJournalTail => "dropped-journal-tail",
            Self::NoChecksum => "no-checksum",
            Self::SessionEvicted => "session-evicted",
            Self::ClockRunsOn => "clock-runs-on",
        }
    }

    /// The fault of this name. An unknown one ends the process: a test that plants nothing shows
    /// nothing.
    fn named(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|fault| fault.name() == name);
        known.unwrap_or_else(|| panic!("CHAINFIRE_PLANTED_FAULT: no fault is called {name:?}"))
    }
}

/// Whether a fault is at work.
#[cfg(feature = "planted-faults")]
pub(crate) fn planted(fault: Fault) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| {
        let name = std::env::var("CHAINFIRE_PLANTED_FAULT").ok()?;
        Some(Fault::named(&name))
    });
    *planted == Some(fault)
}

/// Whether a fault is at work: never.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(all(test, feature = "planted-faults"))]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), fault);
        }
    }
}
