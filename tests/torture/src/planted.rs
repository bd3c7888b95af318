//! Faults that the binary was built with: each is found within a stated number of runs, and the
//! same seeds without it find nothing.

use crate::arguments::Arguments;
use crate::flips;
use crate::nemesis::{FileKind, Nemesis};
use crate::random::{Rng, Stream};
use crate::run;
use crate::sessions;

/// What finds a fault.
#[derive(Clone, Copy, Debug)]
enum How {
    /// A nemesis, for so many seconds.
    Nemesis(&'static str, u64),
    /// So many flips in the state.
    Flips(u64),
    /// A retry after so many other clients wrote: one user's sessions, and some more.
    Sessions(u64),
}

struct Hunt {
    fault: &'static str,
    how: How,
    /// Runs within which it must be found.
    runs_max: u64,
}

/// Every fault of `src/failpoint.rs` in the crate.
const ALL: [Hunt; 5] = [
    Hunt { fault: "stale-read-index", how: How::Nemesis("none", 4), runs_max: 2 },
    Hunt { fault: "dropped-journal-tail", how: How::Nemesis("tail", 8), runs_max: 4 },
    Hunt { fault: "no-checksum", how: How::Flips(12), runs_max: 3 },
    Hunt { fault: "session-evicted", how: How::Sessions(16_800), runs_max: 1 },
    Hunt { fault: "clock-runs-on", how: How::Nemesis("clock-jump", 10), runs_max: 3 },
];

/// Hunts every fault, or the one of `--fault`; whether each was found and nothing else was.
pub async fn run(arguments: &Arguments) -> Result<bool, String> {
    let mut failures = vec![];
    for (number, hunt) in ALL.iter().enumerate() {
        if arguments.planted.as_deref().is_some_and(|fault| fault != hunt.fault) {
            continue;
        }
        let mut rng = Rng::stream(arguments.seed, Stream::Plan, 1 + number as u64);
        let mut seeds = vec![];
        let mut found = false;
        while !found && (seeds.len() as u64) < hunt.runs_max {
            let seed = rng.next() >> 32;
            seeds.push(seed);
            found = !is_safe(arguments, hunt, seed, Some(hunt.fault)).await?;
        }
        let runs = seeds.len();
        println!("PLANTED {} found {found} within {runs} of {} runs", hunt.fault, hunt.runs_max);
        if !found {
            failures.push(format!("{} was not found", hunt.fault));
        }
        for seed in seeds {
            let safe = is_safe(arguments, hunt, seed, None).await?;
            println!("PLANTED without {} seed {seed} safe {safe}", hunt.fault);
            if !safe {
                failures.push(format!("{:?} --seed {seed} finds something by itself", hunt.how));
            }
        }
    }
    println!("PLANTED failures {failures:?}");
    Ok(failures.is_empty())
}

/// One run; whether every promise to clients was kept.
async fn is_safe(
    arguments: &Arguments,
    hunt: &Hunt,
    seed: u64,
    fault: Option<&str>,
) -> Result<bool, String> {
    let mut one = arguments.clone();
    one.seed = seed;
    one.planted = fault.map(str::to_owned);
    match hunt.how {
        How::Nemesis(name, seconds) => {
            one.command = name.into();
            one.seconds = seconds;
            let nemesis = Nemesis::named(name).ok_or(format!("no nemesis {name}"))?;
            Ok(run::run(&one, nemesis).await?.safe())
        }
        How::Sessions(count) => {
            one.count = count;
            sessions::through_protocol(&one).await
        }
        How::Flips(count) => {
            one.count = count;
            let trials = flips::trials(&one, &[FileKind::State]).await?;
            Ok(!trials.iter().any(flips::Trial::is_wrong))
        }
    }
}
