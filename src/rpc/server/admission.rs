//! Who may come in: permits for requests and for bytes, of a connection and of the node.
//!
//! A request that finds a budget spent is refused at once; nothing waits in a queue for room. The
//! bytes are an estimate when a request comes in (what it has, and what its answer may have) and
//! corrected when its answer is known. They are given back when the answer was handed to the
//! socket, or when the request is dropped: a client that does not read its answers spends its own
//! connection's budget, and of the node's no more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much of something, and no more.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0) }
    }

    /// Sets something aside; none when the budget is spent.
    pub(super) fn reserve(self: &Arc<Self>, amount: usize) -> Option<Reservation> {
        self.try_take(amount).then(|| Reservation { budget: Arc::clone(self), amount })
    }

    fn try_take(&self, amount: usize) -> bool {
        let within = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_ok()
    }

    /// Takes what may not be refused.
    fn take(&self, amount: usize) {
        self.used.fetch_add(amount, Ordering::AcqRel);
    }

    fn give_back(&self, amount: usize) {
        let before = self.used.fetch_sub(amount, Ordering::AcqRel);
        debug_assert!(before >= amount, "what is given back was taken");
    }
}

/// The budgets of a node, or of one connection.
#[derive(Debug)]
pub struct Admission {
    requests: Budget,
    bytes: Budget,
}

impl Admission {
    /// Budgets that nobody has taken from.
    pub fn new(requests_max: usize, bytes_max: usize) -> Self {
        Self { requests: Budget::new(requests_max), bytes: Budget::new(bytes_max) }
    }

    /// Requests in flight.
    pub fn requests(&self) -> usize {
        self.requests.used.load(Ordering::Relaxed)
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.bytes.used.load(Ordering::Relaxed)
    }

    fn try_take(&self, bytes: usize) -> bool {
        if !self.requests.try_take(1) {
            return false;
        }
        let taken = self.bytes.try_take(bytes);
        if !taken {
            self.requests.give_back(1);
        }
        taken
    }

    fn take(&self, bytes: usize) {
        self.requests.take(1);
        self.bytes.take(bytes);
    }

    fn give_back(&self, bytes: usize) {
        self.requests.give_back(1);
        self.bytes.give_back(bytes);
    }
}

/// What a request takes of the budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The request's bytes and what its answer may have.
    pub bytes: usize,
    /// Whether it may be refused. What keeps the cluster alive may not.
    pub refusable: bool,
}

/// The budgets a connection's requests come out of: its own and the node's.
#[derive(Debug)]
pub(super) struct ConnectionAdmission {
    node: Arc<Admission>,
    own: Admission,
}

impl ConnectionAdmission {
    pub(super) fn new(node: Arc<Admission>, own: Admission) -> Arc<Self> {
        Arc::new(Self { node, own })
    }

    /// A permit; none when a budget is spent.
    pub(super) fn admit(self: &Arc<Self>, cost: Cost) -> Option<Permit> {
        if !cost.refusable {
            self.own.take(cost.bytes);
            self.node.take(cost.bytes);
        } else if !self.own.try_take(cost.bytes) {
            return None;
        } else if !self.node.try_take(cost.bytes) {
            self.own.give_back(cost.bytes);
            return None;
        }
        Some(Permit { admission: Arc::clone(self), bytes: cost.bytes })
    }
}

/// A request's part of the budgets, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<ConnectionAdmission>,
    bytes: usize,
}

impl Permit {
    /// Replaces the estimate by what it turned out to be; this may exceed the budgets, and then
    /// the next requests are refused.
    pub(super) fn correct(&mut self, bytes: usize) {
        for admission in [&self.admission.own, &*self.admission.node] {
            admission.bytes.take(bytes);
            admission.bytes.give_back(self.bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.own.give_back(self.bytes);
        self.admission.node.give_back(self.bytes);
    }
}

/// What was set aside of a budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    amount: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(bytes: usize) -> Cost {
        Cost { bytes, refusable: true }
    }

    fn node() -> Arc<Admission> {
        Arc::new(Admission::new(3, 100))
    }

    fn connection(node: &Arc<Admission>) -> Arc<ConnectionAdmission> {
        ConnectionAdmission::new(node.clone(), Admission::new(2, 60))
    }

    #[test]
    fn a_connection_gets_its_own_share_and_no_more() {
        let node = node();
        let connection = connection(&node);
        let first = connection.admit(cost(1)).expect("room for one");
        let _second = connection.admit(cost(1)).expect("room for two");
        assert!(connection.admit(cost(1)).is_none(), "no request left");
        drop(first);
        assert!(connection.admit(cost(60)).is_none(), "no byte left");
        assert!(connection.admit(cost(59)).is_some());
        assert_eq!((node.requests(), node.bytes()), (1, 1));
    }

    #[test]
    fn connections_share_the_node() {
        let node = node();
        let (one, other) = (connection(&node), connection(&node));
        let _first = one.admit(cost(60)).expect("room");
        assert!(other.admit(cost(41)).is_none(), "the node's bytes are spent");
        let _second = other.admit(cost(20)).expect("room");
        let _third = other.admit(cost(20)).expect("room");
        assert!(one.admit(cost(0)).is_none(), "the node's requests are spent");
        assert_eq!((node.requests(), node.bytes()), (3, 100));
        assert_eq!((one.own.requests(), one.own.bytes()), (1, 60), "a refusal takes nothing");
    }

    #[test]
    fn an_estimate_is_corrected_even_beyond_the_budget() {
        let node = node();
        let connection = connection(&node);
        let mut permit = connection.admit(cost(10)).expect("room");
        permit.correct(500);
        assert_eq!((node.bytes(), connection.own.bytes()), (500, 500));
        assert!(connection.admit(cost(1)).is_none());
        permit.correct(5);
        assert!(connection.admit(cost(1)).is_some());
        drop(permit);
        assert_eq!((node.requests(), node.bytes()), (0, 0));
    }

    #[test]
    fn what_was_set_aside_comes_back() {
        let budget = Arc::new(Budget::new(100));
        let reserved = budget.reserve(90).expect("room");
        assert!(budget.reserve(11).is_none());
        drop(reserved);
        assert!(budget.reserve(100).is_some());
    }

    #[test]
    fn what_may_not_be_refused_is_not() {
        let node = node();
        let connection = connection(&node);
        let permits: Vec<_> = (0..5)
            .map(|_| connection.admit(Cost { bytes: 1_000, refusable: false }).expect("let in"))
            .collect();
        assert!(connection.admit(cost(0)).is_none());
        drop(permits);
        assert_eq!((node.requests(), node.bytes()), (0, 0));
    }
}
