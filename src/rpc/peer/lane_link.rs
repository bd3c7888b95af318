//! One lane to one peer at one address: connected, connecting, or left alone for a while.
//!
//! ```text
//!            call, pause over              welcomed
//!   Apart ---------------------> Dialing -----------> Linked
//!     ^                             |                    |
//!     +-----------------------------+                    |  found closed at the next call:
//!     |   failed: a longer pause                         |  dial at once
//!     +--------------------------------------------------+  (or retired, for nothing is heard
//!                                                           on it)
//! ```
//!
//! Nothing happens without a call. While apart and in the pause, a call fails at once; while
//! dialing, calls wait for the one attempt, no longer than their own time limits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use super::Lane;
use super::backoff::Backoff;
use super::dialer::{Link, PeerDialer, in_flight_max};
use super::round_trip::RoundTrip;
use crate::types::NodeId;

/// How an attempt ended; none while it is under way.
type Attempt = watch::Receiver<Option<Result<Link, Arc<str>>>>;

enum State {
    Apart { backoff: Backoff, not_before: Instant, reason: Option<Arc<str>> },
    Dialing(Attempt),
    Linked(Link),
}

/// See the module.
pub(super) struct LaneLink {
    dialer: Arc<PeerDialer>,
    pub(super) target: NodeId,
    pub(super) address: Box<str>,
    pub(super) lane: Lane,
    state: Mutex<State>,
    in_flight: Semaphore,
    /// Of appends and heartbeats: the calls that a peer answers as soon as it can.
    round_trip: Mutex<RoundTrip>,
}

impl LaneLink {
    pub(super) fn new(dialer: Arc<PeerDialer>, target: NodeId, address: &str, lane: Lane) -> Self {
        let apart =
            State::Apart { backoff: Backoff::default(), not_before: Instant::now(), reason: None };
        Self {
            dialer,
            target,
            address: address.into(),
            lane,
            state: Mutex::new(apart),
            in_flight: Semaphore::new(in_flight_max(lane)),
            round_trip: Mutex::default(),
        }
    }

    pub(super) fn dialer(&self) -> &PeerDialer {
        &self.dialer
    }

    /// What was measured on this lane.
    pub(super) fn round_trip(&self) -> MutexGuard<'_, RoundTrip> {
        self.round_trip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more call; none when too many are in flight. On the append lane, which
    /// carries forwarded writes, a call waits its turn: the requests that a node admits bound how
    /// many wait.
    pub(super) async fn place(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        match self.in_flight.try_acquire() {
            Ok(place) => Some(place),
            Err(_) if self.lane == Lane::Append => {
                timeout_at(deadline, self.in_flight.acquire()).await.ok()?.ok()
            }
            Err(_) => None,
        }
    }

    /// The open connection, made if need be; else why there is none.
    pub(super) async fn link(self: &Arc<Self>, deadline: Instant) -> Result<Link, Arc<str>> {
        let mut attempt = match self.link_or_attempt()? {
            Ok(link) => return Ok(link),
            Err(attempt) => attempt,
        };
        let ended = timeout_at(deadline, attempt.wait_for(Option::is_some)).await;
        match ended {
            Err(_elapsed) => Err("no connection in time".into()),
            Ok(Err(_dropped)) => Err("the attempt to connect was abandoned".into()),
            Ok(Ok(outcome)) => outcome.clone().expect("waited for an outcome"),
        }
    }

    /// What there is without waiting: the connection, an attempt at one, or neither.
    fn link_or_attempt(self: &Arc<Self>) -> Result<Result<Link, Attempt>, Arc<str>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (backoff, last) = match &*state {
            State::Linked(link) if !link.is_closed() => return Ok(Ok(link.clone())),
            State::Linked(_) => (Backoff::default(), None),
            State::Dialing(attempt) if attempt.has_changed().is_ok() => {
                return Ok(Err(attempt.clone()));
            }
            // The attempt's task vanished without an outcome: with a runtime that was shut down.
            State::Dialing(_) => (Backoff::default(), None),
            State::Apart { not_before, reason: Some(reason), .. }
                if Instant::now() < *not_before =>
            {
                return Err(reason.clone());
            }
            State::Apart { backoff, reason, .. } => (*backoff, reason.clone()),
        };
        let attempt = self.dial(backoff, last);
        *state = State::Dialing(attempt.clone());
        Ok(Err(attempt))
    }

    /// Begins an attempt, in a task of its own: a caller that gives up must not end it.
    fn dial(self: &Arc<Self>, backoff: Backoff, last: Option<Arc<str>>) -> Attempt {
        let (outcome, attempt) = watch::channel(None);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let dialed = this.dialer.connect(this.target, &this.address, this.lane).await;
            let result = dialed.map_err(Arc::from);
            let state = this.settle(&result, backoff, last.as_deref());
            *this.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
            outcome.send_replace(Some(result));
        });
        attempt
    }

    /// The state after an attempt. Says so in the log when it is news.
    fn settle(
        &self,
        result: &Result<Link, Arc<str>>,
        mut backoff: Backoff,
        last: Option<&str>,
    ) -> State {
        let (peer, address, lane) = (self.target, &*self.address, self.lane.name());
        match result {
            Ok(link) => {
                if last.is_some() {
                    tracing::info!(peer, address, lane, "the peer is reached again");
                }
                State::Linked(link.clone())
            }
            Err(reason) => {
                if last != Some(reason) {
                    tracing::warn!(peer, address, lane, %reason, "the peer is not reached");
                }
                let not_before = Instant::now() + backoff.after_failure(rand::random());
                State::Apart { backoff, not_before, reason: Some(reason.clone()) }
            }
        }
    }
}
