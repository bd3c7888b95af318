//! Nemeses in turn for a given time. The plan is drawn from the seed and printed first.

use std::process::Command;

use crate::arguments::Arguments;
use crate::nemesis::{self, Nemesis};
use crate::random::{Rng, Stream};

/// How long the faults of one run last, and what a run takes besides: start, settling, checks.
const RUN_SECONDS: u64 = 12;
const AROUND_SECONDS: u64 = 10;

/// One run of a plan.
pub struct Planned {
    pub nemesis: &'static Nemesis,
    pub seed: u64,
}

/// Every nemesis of the mix, in an order that the seed chooses, again and again.
pub fn plan(arguments: &Arguments) -> Vec<Planned> {
    let mut rng = Rng::stream(arguments.seed, Stream::Plan, 0);
    let runs = (arguments.seconds / (RUN_SECONDS + AROUND_SECONDS)).max(1);
    let mut plan = vec![];
    while (plan.len() as u64) < runs {
        let mut round: Vec<&'static Nemesis> =
            nemesis::ALL.iter().filter(|nemesis| nemesis.mixed).collect();
        rng.shuffle(&mut round);
        plan.extend(round.into_iter().map(|nemesis| Planned { nemesis, seed: rng.next() >> 32 }));
    }
    plan.truncate(runs as usize);
    plan
}

pub fn print(plan: &[Planned]) {
    for planned in plan {
        println!("PLAN torture {} --seed {}", planned.nemesis.name, planned.seed);
    }
}

/// Runs the plan; whether nothing was found. Each run is a process of its own: what one leaves behind,
/// in threads, devices or memory, is gone before the next begins.
pub fn run(arguments: &Arguments) -> Result<bool, String> {
    let plan = plan(arguments);
    print(&plan);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut found = vec![];
    for planned in &plan {
        let name = planned.nemesis.name;
        let (seed, seconds) = (planned.seed.to_string(), RUN_SECONDS.to_string());
        let load = arguments.load.to_string();
        let status = Command::new(&program)
            .args([name, "--seed", &seed, "--seconds", &seconds, "--load", &load])
            .args(["--workload", &arguments.workload])
            .arg("--bin")
            .arg(&arguments.bin)
            .args(arguments.trace.then_some("--trace"))
            .args(arguments.keep.then_some("--keep"))
            .status()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        if !status.success() {
            found.push(format!("torture {name} --seed {seed} --seconds {seconds} ({status})"));
        }
    }
    println!("{} runs, {} with findings", plan.len(), found.len());
    for again in &found {
        println!("AGAIN {again}");
    }
    Ok(found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_a_plan() {
        let given = |seed: &str| {
            let words = ["mix", "--seed", seed, "--seconds", "3600"].map(str::to_owned);
            let plan = plan(&Arguments::parse(words.into_iter()).unwrap());
            plan.iter().map(|p| (p.nemesis.name, p.seed)).collect::<Vec<_>>()
        };
        assert_eq!(given("5"), given("5"));
        assert_ne!(given("5"), given("6"));
    }
}
