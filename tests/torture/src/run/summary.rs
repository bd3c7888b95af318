//! What a run prints.

use std::collections::{BTreeMap, HashMap};

use super::{Times, Verdict};
use crate::arguments::Arguments;
use crate::check::Replay;
use crate::cluster::Cluster;
use crate::history::{Kind, Op, Outcome, Workload};

const TEXTS_MAX: usize = 3;
const OTHERS_MAX: usize = 12;
const REASONS_MAX: usize = 5;

/// What the acknowledged writes say of outages.
struct Outages {
    /// From each fault to the first write called after it and acknowledged, in milliseconds.
    recoveries: Vec<u64>,
    longest_gap_ms: u64,
    after_heal_ms: Option<u64>,
}

impl Outages {
    fn new(history: &[Op], faults: &[u64], healed_at: u64) -> Self {
        let acknowledged =
            history.iter().filter(|op| op.kind == Kind::Write && op.outcome == Outcome::Ok);
        let mut calls: Vec<(u64, u64)> = acknowledged.map(|op| (op.call, op.ret)).collect();
        calls.sort_unstable();
        // The earliest return of those called at or after each.
        let mut earliest = vec![u64::MAX; calls.len() + 1];
        for i in (0..calls.len()).rev() {
            earliest[i] = earliest[i + 1].min(calls[i].1);
        }
        let after = |time: u64| {
            let ret = earliest[calls.partition_point(|(call, _)| *call < time)];
            (ret != u64::MAX).then(|| (ret - time) / 1_000_000)
        };
        let mut recoveries: Vec<u64> = faults.iter().filter_map(|fault| after(*fault)).collect();
        recoveries.sort_unstable();
        let mut returns: Vec<u64> = calls.iter().map(|call| call.1).collect();
        returns.sort_unstable();
        let gaps = returns.windows(2).map(|pair| pair[1] - pair[0]);
        let longest_gap_ms = gaps.max().unwrap_or(0) / 1_000_000;
        Self { recoveries, longest_gap_ms, after_heal_ms: after(healed_at) }
    }

    fn percentile(&self, percent: usize) -> u64 {
        let last = self.recoveries.len().saturating_sub(1);
        self.recoveries.get(last * percent / 100).copied().unwrap_or(0)
    }
}

pub fn print(
    a: &Arguments,
    c: &Cluster,
    history: &[Op],
    replay: &Replay,
    verdict: &Verdict,
    times: &Times,
) {
    let planted = a.planted.as_deref().unwrap_or("-");
    println!(
        "RUN {} seed={} seconds={} workload={} planted={planted} nodes={} load={}",
        a.command, a.seed, a.seconds, a.workload, c.founders, a.load
    );
    print_operations(history);
    let outages = Outages::new(history, &c.faults, times.healed_at);
    println!(
        "  revisions {} ({}) unknown but applied {} faults {} recovery ms p50 {} p90 {} max {} \
         longest gap {} after heal {:?}",
        replay.last,
        if replay.complete { "read back" } else { "as seen" },
        unknown_applied(history, replay),
        c.faults.len(),
        outages.percentile(50),
        outages.percentile(90),
        outages.percentile(100),
        outages.longest_gap_ms,
        outages.after_heal_ms,
    );
    println!(
        "  first write after {:.1?} clients ended {:.1?} settled {:.1?} read back {:.1?} checked \
         {:.1?}",
        times.first_write, times.client_end, times.settled, times.read_back, times.check
    );
    print_endings(c);
    print_distances(a, c, history);
    if let Some(network) = &c.network {
        let packets = network.packets.load(std::sync::atomic::Ordering::Relaxed);
        let dropped = network.dropped.load(std::sync::atomic::Ordering::Relaxed);
        println!("  packets {packets} dropped {dropped}");
    }
    print_verdict(verdict);
}

fn print_operations(history: &[Op]) {
    for workload in [Workload::Register, Workload::Set, Workload::Bank, Workload::Skew] {
        let ops: Vec<&Op> = history.iter().filter(|op| op.workload == workload).collect();
        let ended = |outcome| ops.iter().filter(|op| op.outcome == outcome).count();
        let ok =
            |kind| ops.iter().filter(|op| op.outcome == Outcome::Ok && op.kind == kind).count();
        println!(
            "  {workload:?}: ok {} (writes {} linearizable {} serializable {} historic {}) unknown \
             {} failed {}",
            ended(Outcome::Ok),
            ok(Kind::Write),
            ok(Kind::Linearizable),
            ok(Kind::Serializable),
            ok(Kind::Historic),
            ended(Outcome::Unknown),
            ended(Outcome::Failed),
        );
    }
    let mut reasons: HashMap<String, u32> = HashMap::new();
    for note in history.iter().filter_map(|op| op.note.as_deref()) {
        let short = note.chars().filter(|c| !c.is_ascii_digit()).take(70).collect();
        *reasons.entry(short).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    for (reason, times) in reasons.iter().take(REASONS_MAX) {
        println!("    failed {times}x: {reason}");
    }
}

/// How processes and requests ended, counted without their times.
fn print_endings(c: &Cluster) {
    let mut endings: BTreeMap<String, u32> = BTreeMap::new();
    let mut ms: Vec<u64> = vec![];
    for ending in &c.endings {
        let (what, time) = match ending.rsplit_once(':') {
            Some((what, time)) if time.ends_with("ms") => (what, Some(time)),
            _ => (ending.as_str(), None),
        };
        ms.extend(time.and_then(|time| time.trim_end_matches("ms").parse::<u64>().ok()));
        *endings.entry(what.chars().take(70).collect()).or_default() += 1;
    }
    let logs = c.log_summary();
    println!(
        "  endings {endings:?} times ms {:?}..{:?} log errors {} warnings {} panics {}",
        ms.iter().min(),
        ms.iter().max(),
        logs.errors,
        logs.warnings,
        logs.panics.len()
    );
}

/// The tables of those that measure.
fn print_distances(a: &Arguments, c: &Cluster, history: &[Op]) {
    if matches!(a.command.as_str(), "blackout" | "cutoff") {
        println!("    {:?}", c.endings);
    }
    if a.command != "rtt" {
        return;
    }
    for (i, begin) in c.faults.iter().enumerate() {
        let end = c.faults.get(i + 1).copied().unwrap_or(begin + 3_000_000_000);
        let within = |op: &&Op| op.outcome == Outcome::Ok && op.ret >= *begin && op.ret < end;
        let count = |kind| history.iter().filter(within).filter(|op| op.kind == kind).count();
        let what = c.events.iter().find(|event| event.0 >= *begin).map_or("", |e| e.1.as_str());
        let seconds = (end - begin) as f64 / 1e9;
        println!(
            "    {what}: writes {:.1}/s, linearizable reads {:.1}/s",
            count(Kind::Write) as f64 / seconds,
            count(Kind::Linearizable) as f64 / seconds
        );
    }
}

fn print_verdict(verdict: &Verdict) {
    let report = &verdict.report;
    println!(
        "  registers searched {} undecided {}; serializable reads behind what their node showed \
         before a restart {} (by {} revisions at most)",
        report.searched, report.undecided, report.went_back.0, report.went_back.1
    );
    let word = match (verdict.safe(), verdict.good()) {
        (false, _) => "VIOLATION",
        (true, false) => "SURPRISE",
        (true, true) => "OK",
    };
    println!(
        "  {word} violations {} {} differences {} broken {} surprises {} panics {}",
        report.total(),
        report.kinds(),
        verdict.differences.len(),
        verdict.broken.len(),
        verdict.surprises.len(),
        verdict.panics.len()
    );
    for (kind, (n, texts)) in &report.violations {
        println!("  !! {kind} ({n})");
        for text in texts.iter().take(TEXTS_MAX) {
            println!("     {}", text.chars().take(1_800).collect::<String>());
        }
    }
    let others = verdict.surprises.iter().chain(&verdict.panics).chain(&verdict.broken);
    for text in others.chain(&verdict.differences).take(OTHERS_MAX) {
        println!("  !! {}", text.chars().take(900).collect::<String>());
    }
}

fn unknown_applied(history: &[Op], replay: &Replay) -> usize {
    let applied = replay.values();
    let unknown = history.iter().filter(|op| op.outcome == Outcome::Unknown);
    unknown.filter(|op| op.puts.iter().any(|put| applied.contains(&put.1))).count()
}
