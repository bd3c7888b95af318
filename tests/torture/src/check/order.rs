//! Order in time: nothing goes back, nothing is seen before it was asked for.

use std::collections::HashMap;

use super::revisions::Placed;
use super::{Evidence, Report};
use crate::history::{Kind, NO_PROCESS, OPEN, Outcome};

/// What returned before another was called must not have a later revision; a write has a later
/// one than all before it.
pub fn real_time(evidence: &Evidence, placed: &[Placed], report: &mut Report) {
    let history = evidence.history;
    let mut by_return: Vec<&Placed> = placed.iter().filter(|p| history[p.op].ret != OPEN).collect();
    by_return.sort_by_key(|p| history[p.op].ret);
    let mut by_call: Vec<&Placed> = placed.iter().collect();
    by_call.sort_by_key(|p| history[p.op].call);
    let mut returned = by_return.into_iter().peekable();
    let mut top: Option<&Placed> = None;
    for p in by_call {
        while let Some(r) = returned.next_if(|r| history[r.op].ret < history[p.op].call) {
            if top.is_none_or(|t| r.revision > t.revision) {
                top = Some(r);
            }
        }
        let Some(t) = top.filter(|t| t.op != p.op) else { continue };
        let late = if p.changed { p.revision <= t.revision } else { p.revision < t.revision };
        if late {
            let kind = match (history[p.op].kind, p.changed) {
                (Kind::Linearizable, _) => "stale-linearizable-read",
                (_, true) => "write-ordered-before-an-earlier-one",
                _ => "stale-refused-transaction",
            };
            let (late, earlier) = (&history[p.op], &history[t.op]);
            report
                .violation(kind, format!("{} after {}", evidence.say(late), evidence.say(earlier)));
        }
    }
}

/// Nothing is seen before it was asked for.
pub fn future(evidence: &Evidence, placed: &[Placed], report: &mut Report) {
    let history = evidence.history;
    let mut writes: Vec<(u64, u64)> =
        placed.iter().filter(|p| p.changed).map(|p| (p.revision, history[p.op].call)).collect();
    writes.sort_unstable();
    let mut latest_call = 0;
    for (_, call) in &mut writes {
        latest_call = latest_call.max(*call);
        *call = latest_call;
    }
    for op in history.iter().filter(|op| op.outcome == Outcome::Ok && op.kind != Kind::Historic) {
        let seen = writes.partition_point(|(revision, _)| *revision <= op.revision);
        if seen > 0 && writes[seen - 1].1 > op.ret {
            report.violation("seen-before-asked-for", evidence.say(op));
        }
    }
}

/// A node never goes back while its process lives.
pub fn serializable_reads(evidence: &Evidence, report: &mut Report) {
    let history = evidence.history;
    let mut by_slot: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut by_process: HashMap<(usize, u32), Vec<usize>> = HashMap::new();
    for (i, op) in history.iter().enumerate() {
        let says =
            op.outcome == Outcome::Ok && op.kind == Kind::Serializable && op.process != NO_PROCESS;
        if let Some(pin) = op.pin.filter(|_| says) {
            by_slot.entry(pin).or_default().push(i);
            by_process.entry((pin, op.process)).or_default().push(i);
        }
    }
    for list in by_slot.values_mut() {
        list.sort_by_key(|i| history[*i].ret);
        let mut top = (0, 0);
        for op in list.iter().map(|i| &history[*i]) {
            if op.revision >= top.0 {
                top = (op.revision, op.process);
            } else if op.process != top.1 {
                report.went_back.0 += 1;
                report.went_back.1 = report.went_back.1.max(top.0 - op.revision);
            }
        }
    }
    for ((pin, _), mut calls) in by_process {
        let mut returns = calls.clone();
        returns.sort_by_key(|i| history[*i].ret);
        calls.sort_by_key(|i| history[*i].call);
        let mut returned = returns.into_iter().peekable();
        let mut top = 0;
        for i in calls {
            while let Some(r) = returned.next_if(|r| history[*r].ret < history[i].call) {
                top = top.max(history[r].revision);
            }
            if history[i].revision < top {
                let text = format!("slot {pin} showed {top} before {}", evidence.say(&history[i]));
                report.violation("serializable-read-goes-back", text);
            }
        }
    }
}
