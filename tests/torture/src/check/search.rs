//! Wing and Gong's search for an order of operations, with Lowe's memory of configurations.
//!
//! Wing, Gong: Testing and verifying concurrent objects (1993). Lowe: Testing for linearizability
//! (2017). An operation that never returned may take effect at any time after its call, or never.

use std::collections::HashSet;

use crate::history::{OPEN, Value};

/// Steps and configurations after which a search gives up.
const STEPS_MAX: u64 = 3_000_000;
const CONFIGURATIONS_MAX: usize = 1_500_000;
/// Events shown of a history without an order.
const SHOWN_MAX: usize = 12;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Read(Value),
    Put(Value),
    /// A put that saw what was before.
    Swap(Value, Value),
    /// From, to; held.
    Cas(Value, Value),
    /// From, what was seen instead.
    CasFailed(Value, Value),
    /// Held if it could.
    CasUnknown(Value, Value),
}

#[derive(Clone, Debug)]
pub struct Event {
    pub call: u64,
    pub ret: u64,
    pub step: Step,
    /// Its operation in the history.
    pub op: usize,
}

/// The register after a step; none when the step cannot take place here.
fn apply(state: Value, step: Step) -> Option<Value> {
    match step {
        Step::Read(value) => (state == value).then_some(value),
        Step::Put(value) => Some(value),
        Step::Swap(before, value) => (state == before).then_some(value),
        Step::Cas(from, to) => (state == from).then_some(to),
        Step::CasFailed(from, seen) => (state == seen && state != from).then_some(state),
        Step::CasUnknown(from, to) => Some(if state == from { to } else { state }),
    }
}

/// The shortest prefix (by returns) that has no order, its last events.
pub fn shrink(events: &[Event]) -> Vec<Event> {
    let mut sorted = events.to_vec();
    sorted.sort_by_key(|event| event.ret);
    let (mut low, mut high) = (1, sorted.len());
    while low < high {
        let middle = (low + high) / 2;
        let cut = prefix(&sorted, sorted[middle - 1].ret);
        if linearizable(&cut) == Some(false) { high = middle } else { low = middle + 1 }
    }
    let mut shortest = prefix(&sorted, sorted[low - 1].ret);
    shortest.sort_by_key(|event| event.call);
    let skip = shortest.len().saturating_sub(SHOWN_MAX);
    shortest.split_off(skip)
}

/// What was known at `end`: what returns later has not returned.
fn prefix(events: &[Event], end: u64) -> Vec<Event> {
    let mut known = vec![];
    for event in events.iter().filter(|event| event.call <= end) {
        let mut event = event.clone();
        if event.ret > end {
            event.ret = OPEN;
            event.step = match event.step {
                // It only read: it says nothing yet.
                Step::Read(_) | Step::CasFailed(..) => continue,
                Step::Swap(_, to) => Step::Put(to),
                Step::Cas(from, to) => Step::CasUnknown(from, to),
                step @ (Step::Put(_) | Step::CasUnknown(..)) => step,
            };
        }
        known.push(event);
    }
    known
}

/// Calls and returns in order of time, as a doubly linked list from which operations are taken.
struct Timeline {
    /// (Time, whether a return, event).
    points: Vec<(u64, bool, usize)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    return_of: Vec<usize>,
}

impl Timeline {
    fn new(events: &[Event]) -> Self {
        let mut points = vec![];
        for (i, event) in events.iter().enumerate() {
            points.push((event.call, false, i));
            points.push((event.ret, true, i));
        }
        points.sort_by_key(|(time, is_return, _)| (*time, *is_return));
        let head = points.len();
        let mut next: Vec<usize> = (1..=head).collect();
        // The last point leads to the end, which lies behind the head.
        next[head - 1] = head + 1;
        next.push(0);
        let previous = std::iter::once(head).chain(0..head).collect();
        let mut return_of = vec![0; events.len()];
        for (at, (_, is_return, i)) in points.iter().enumerate() {
            if *is_return {
                return_of[*i] = at;
            }
        }
        Self { points, next, previous, return_of }
    }

    fn first(&self) -> usize {
        self.next[self.points.len()]
    }

    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.previous[at], self.next[at]);
        self.next[before] = after;
        if after < self.points.len() {
            self.previous[after] = before;
        }
    }

    fn relink(&mut self, at: usize) {
        let (before, after) = (self.previous[at], self.next[at]);
        self.next[before] = at;
        if after < self.points.len() {
            self.previous[after] = at;
        }
    }

    /// The event called here; none at a return or at the end.
    fn call(&self, at: usize) -> Option<usize> {
        self.points.get(at).filter(|point| !point.1).map(|point| point.2)
    }
}

/// Whether the events have an order; none when the search gave up.
pub fn linearizable(events: &[Event]) -> Option<bool> {
    if events.is_empty() {
        return Some(true);
    }
    let mut timeline = Timeline::new(events);
    let mut done = vec![0u64; events.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, Value)> = HashSet::new();
    let mut stack: Vec<(usize, Value)> = vec![];
    let mut state: Value = 0;
    let mut left = events.iter().filter(|event| event.ret != OPEN).count();
    let mut at = timeline.first();
    for _ in 0..STEPS_MAX {
        if left == 0 {
            return Some(true);
        }
        if seen.len() > CONFIGURATIONS_MAX {
            return None;
        }
        let Some(i) = timeline.call(at) else {
            // A dead end: the last one taken goes back.
            let Some((point, before)) = stack.pop() else { return Some(false) };
            let i = timeline.points[point].2;
            state = before;
            done[i / 64] &= !(1 << (i % 64));
            left += usize::from(events[i].ret != OPEN);
            timeline.relink(timeline.return_of[i]);
            timeline.relink(point);
            at = timeline.next[point];
            continue;
        };
        if let Some(new) = apply(state, events[i].step) {
            done[i / 64] |= 1 << (i % 64);
            if seen.insert((done.clone(), new)) {
                stack.push((at, state));
                state = new;
                left -= usize::from(events[i].ret != OPEN);
                timeline.unlink(at);
                timeline.unlink(timeline.return_of[i]);
                at = timeline.first();
                continue;
            }
            done[i / 64] &= !(1 << (i % 64));
        }
        at = timeline.next[at];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(call: u64, ret: u64, step: Step) -> Event {
        Event { call, ret, step, op: 0 }
    }

    #[test]
    fn known_histories_are_judged_right() {
        let put = |call, ret, value| event(call, ret, Step::Put(value));
        let read = |call, ret, value| event(call, ret, Step::Read(value));
        let cas = |call, ret, from, to| event(call, ret, Step::Cas(from, to));
        let right = [
            vec![put(0, 10, 1), read(11, 12, 1)],
            vec![put(0, 10, 1), read(5, 6, 0), read(7, 8, 1)],
            // An open put may take effect at any later time, or never.
            vec![put(0, OPEN, 1), put(2, 3, 2), read(11, 12, 2), read(13, 14, 1)],
            vec![put(0, OPEN, 1), read(11, 12, 0)],
            vec![put(0, 1, 1), cas(2, 9, 1, 2), event(3, 8, Step::CasFailed(1, 2))],
            vec![
                put(0, 1, 1),
                event(2, OPEN, Step::CasUnknown(1, 2)),
                read(5, 6, 1),
                read(7, 8, 2),
            ],
        ];
        for (i, events) in right.iter().enumerate() {
            assert_eq!(linearizable(events), Some(true), "history {i}");
        }
        let wrong = [
            vec![put(0, 10, 1), read(11, 12, 0)],
            vec![put(0, 10, 1), read(5, 6, 1), read(7, 8, 0)],
            // Once it took effect it stays.
            vec![put(0, OPEN, 1), put(2, 3, 2), read(11, 12, 1), read(13, 14, 2)],
            vec![put(0, 1, 1), cas(2, 9, 1, 2), cas(3, 8, 1, 3)],
            vec![put(0, 1, 1), event(2, 3, Step::Swap(0, 2))],
        ];
        for (i, events) in wrong.iter().enumerate() {
            assert_eq!(linearizable(events), Some(false), "history {i}");
            assert_eq!(linearizable(&shrink(events)), Some(false), "history {i}, its shortest");
        }
    }
}
