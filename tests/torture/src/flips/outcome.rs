//! What became of a flip.

use std::collections::BTreeMap;

use super::places::Place;

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Named, and all is served right again without anybody's help.
    Healed,
    /// It did not start, and said why.
    Refused,
    /// All that was read is right, and nothing was said.
    Unnoticed,
    /// It neither served nor said why.
    Stuck,
    /// A signal or a panic.
    Crashed,
    /// A client read what is not so.
    Wrong,
}

/// One flip and what came of it.
pub struct Trial {
    pub number: u64,
    pub slot: usize,
    pub place: Place,
    pub outcome: Outcome,
    /// What it was named as, or what was wrong.
    pub words: String,
}

impl Trial {
    /// Whether a client read what is not so.
    pub fn is_wrong(&self) -> bool {
        self.outcome == Outcome::Wrong
    }
}

/// Prints the counts; whether the promise was kept: no wrong value, no silent start, every damage
/// named, 95 of 100 healed.
pub fn summarize(trials: &[Trial]) -> bool {
    let mut table: BTreeMap<(String, Outcome), u32> = BTreeMap::new();
    for trial in trials {
        let kind = format!("{:?}", trial.place.kind);
        *table.entry((kind, trial.outcome)).or_default() += 1;
    }
    for ((kind, outcome), count) in &table {
        println!("FLIPS {kind:8} {outcome:?} {count}");
    }
    let count = |outcome| trials.iter().filter(|trial| trial.outcome == outcome).count();
    for trial in trials.iter().filter(|trial| trial.outcome >= Outcome::Unnoticed) {
        let Trial { number, slot, place, outcome, words } = trial;
        let (file, offset, bit) = (place.file.display(), place.offset, place.bit);
        println!(
            "  flip {number}: slot {slot} {file} byte {offset} bit {bit}: {outcome:?} {words}"
        );
    }
    let (healed, refused) = (count(Outcome::Healed), count(Outcome::Refused));
    let (wrong, unnoticed) = (count(Outcome::Wrong), count(Outcome::Unnoticed));
    let lost = count(Outcome::Stuck) + count(Outcome::Crashed);
    let kept = wrong + unnoticed + lost == 0 && healed * 100 >= trials.len() * 95;
    println!(
        "FLIPS {} in all: healed {healed} refused {refused} unnoticed {unnoticed} stuck or crashed \
         {lost} wrong {wrong}: {}",
        trials.len(),
        if kept { "kept" } else { "BROKEN" }
    );
    kept
}
