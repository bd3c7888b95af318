//! What each workload keeps true by itself: sums, elements of lists, counters, pairs.

use std::collections::{BTreeSet, HashMap};

use super::{Evidence, Report};
use crate::history::{Key, Observation, Outcome, Workload};
use crate::workload::{ACCOUNTS, ACCOUNTS_TOTAL};

pub fn check(evidence: &Evidence, report: &mut Report) {
    bank(evidence, report);
    if evidence.replay.complete {
        lists(evidence, report);
        counters(evidence, report);
    }
    skew(evidence, report);
}

/// The total is the same wherever all accounts are seen together.
fn bank(evidence: &Evidence, report: &mut Report) {
    let Evidence { names, history, replay } = evidence;
    let accounts: Vec<Key> = (0..ACCOUNTS).map(|a| names.key(&format!("b/{a}"))).collect();
    let total = |pairs: &[Observation]| {
        let mut sum = 0;
        for account in &accounts {
            let seen = pairs.iter().find(|(key, _)| key == account)?.1?;
            sum += names.payload(seen.value).parse::<i64>().ok()?;
        }
        Some(sum)
    };
    let bank = |outcome, workload| outcome == Outcome::Ok && workload == Workload::Bank;
    for op in history.iter().filter(|op| bank(op.outcome, op.workload)) {
        for pairs in [&op.observed, &op.before] {
            if pairs.len() >= accounts.len() && total(pairs).is_some_and(|t| t != ACCOUNTS_TOTAL) {
                let text = format!("{:?} {}", total(pairs), evidence.say(op));
                report.violation("bank-total", text);
            }
        }
    }
    if !replay.complete {
        return;
    }
    let changes = accounts.iter().flat_map(|a| replay.keys.get(a).into_iter().flatten());
    for revision in changes.map(|change| change.0).collect::<BTreeSet<u64>>() {
        let pairs: Vec<_> = accounts.iter().map(|a| (*a, replay.at(*a, revision))).collect();
        if pairs.iter().all(|(_, s)| s.is_some()) && total(&pairs) != Some(ACCOUNTS_TOTAL) {
            let text = format!("at {revision}: {:?}", total(&pairs));
            report.violation("bank-total-in-history", text);
        }
    }
}

/// An acknowledged element of a list is there once, from then on.
fn lists(evidence: &Evidence, report: &mut Report) {
    let Evidence { names, history, replay } = evidence;
    let mut acknowledged: HashMap<Key, Vec<(u64, String)>> = HashMap::new();
    let appends =
        history.iter().filter(|op| op.workload == Workload::Set && !op.compares.is_empty());
    for op in appends.filter(|op| op.changed()) {
        let (key, value) = op.puts[0];
        let element = names.payload(value).rsplit(',').next().unwrap_or("").to_owned();
        acknowledged.entry(key).or_default().push((op.revision, element));
    }
    for (key, elements) in acknowledged {
        let name = names.key_name(key);
        let Some(last) = replay.at(key, replay.last) else {
            report.violation("set-element-lost", format!("{name} is gone"));
            continue;
        };
        let mut count: HashMap<String, u32> = HashMap::new();
        for element in names.payload(last.value).split(',') {
            *count.entry(element.to_owned()).or_default() += 1;
        }
        for (revision, element) in elements.iter().filter(|(_, e)| !count.contains_key(e)) {
            let text = format!("{element} of {name} acknowledged at {revision}");
            report.violation("set-element-lost", text);
        }
        for (element, times) in count.iter().filter(|(_, times)| **times > 1) {
            let text = format!("{element} of {name}: {times} times");
            report.violation("set-element-twice", text);
        }
    }
}

/// A counter's version is the number of puts.
fn counters(evidence: &Evidence, report: &mut Report) {
    for (key, list) in &evidence.replay.keys {
        let name = evidence.names.key_name(*key);
        if !name.starts_with("c/") {
            continue;
        }
        for (put, (revision, seen)) in (1..).zip(list) {
            if seen.is_none_or(|s| s.version != put) {
                let text = format!("{name} at {revision}: {seen:?}, put number {put}");
                report.violation("counter-version", text);
            }
        }
    }
}

/// Of a pair at most one key is ever set.
fn skew(evidence: &Evidence, report: &mut Report) {
    let mut set: HashMap<String, u32> = HashMap::new();
    for key in evidence.replay.keys.keys() {
        if let Some(rest) = evidence.names.key_name(*key).strip_prefix("w/") {
            *set.entry(rest.split('/').next().unwrap_or("").to_owned()).or_default() += 1;
        }
    }
    for (pair, _) in set.iter().filter(|(_, keys)| **keys > 1) {
        report.violation("write-skew", format!("both keys of pair {pair} were set"));
    }
}
