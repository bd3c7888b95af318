//! The names of this client's writes.
//!
//! The state machine keeps the answers of each client, so that a write sent twice is applied
//! once. For that each write carries `(client id, sequence, lowest sequence still unanswered)`;
//! what lies below the lowest is forgotten by the cluster. Rules kept here:
//!
//! - A sequence counts as answered when its caller has the definitive answer, or when it was
//!   given up. A given-up sequence is never sent again; should a late copy of it still reach the
//!   log, it is applied at most once, or refused because it lies below the lowest. Either way its
//!   caller was told that the outcome is unknown.
//! - A session begins with the replicated time that a node told before the session's first write
//!   was sent, and keeps it. By it the state machine knows whether it can have forgotten the
//!   session; so the first write need not be told apart from a retry.
//! - From the lowest unanswered to the newest sequence there are never more than
//!   [`WINDOW`] sequences: the cluster keeps that many answers with room to spare. More writes
//!   wait here, in order.
//! - A session that the cluster has forgotten is replaced by a new one with a new client id.
//!   Writes that hold a sequence of the old one keep it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::types::limits::SESSION_ANSWERS_MAX;
use crate::types::{ClientId, RequestId};

/// Most sequences from the lowest unanswered one on.
pub(super) const WINDOW: usize = SESSION_ANSWERS_MAX / 2;

/// The session writes are named in now.
#[derive(Debug)]
pub(super) struct Sessions {
    current: Mutex<Arc<Session>>,
}

/// One client id and its sequences.
#[derive(Debug)]
struct Session {
    client: ClientId,
    /// When it began, in replicated milliseconds; set when the first write is sent.
    begun_ms: OnceLock<u64>,
    window: Mutex<Window>,
    /// One permit for each sequence that may still be handed out. Closed when the session is
    /// replaced, which sends those who wait on to the next one.
    room: Semaphore,
}

/// A sequence in use. Dropping it gives the sequence up.
#[derive(Debug)]
pub(super) struct Ticket {
    session: Arc<Session>,
    sequence: u64,
    lowest_unanswered: u64,
}

impl Sessions {
    /// Starts with a session of a new client id.
    pub(super) fn new() -> Self {
        Self { current: Mutex::new(Session::start()) }
    }

    /// Names a new write; waits while the window is full.
    pub(super) async fn begin(&self) -> Ticket {
        loop {
            let session = Arc::clone(&lock(&self.current));
            // An error means that the session was replaced meanwhile.
            if let Ok(permit) = session.room.acquire().await {
                permit.forget();
                let (sequence, lowest_unanswered) = lock(&session.window).begin();
                return Ticket { session: Arc::clone(&session), sequence, lowest_unanswered };
            }
        }
    }

    /// The session of `ticket` is forgotten by the cluster: later writes use a new one.
    pub(super) fn replace(&self, ticket: &Ticket) {
        let mut current = lock(&self.current);
        if current.client == ticket.session.client {
            current.room.close();
            *current = Session::start();
        }
    }
}

impl Session {
    fn start() -> Arc<Self> {
        Arc::new(Self {
            client: ClientId(rand::random()),
            begun_ms: OnceLock::new(),
            window: Mutex::new(Window::default()),
            room: Semaphore::new(WINDOW),
        })
    }
}

impl Ticket {
    /// The name to send; the same for every attempt. `time_ms` is a replicated time that a node
    /// told before this attempt; `window` the longest that attempts may go on.
    pub(super) fn request_id(&self, time_ms: u64, window: Duration) -> RequestId {
        RequestId {
            client: self.session.client,
            sequence: self.sequence,
            lowest_unanswered: self.lowest_unanswered,
            begun_ms: *self.session.begun_ms.get_or_init(|| time_ms),
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let freed = lock(&self.session.window).end(self.sequence);
        self.session.room.add_permits(freed);
    }
}

/// The sequences from the lowest unanswered one on.
#[derive(Debug)]
struct Window {
    /// The lowest sequence in use, or the next one when none is.
    lowest: u64,
    /// For `lowest` and each later sequence, whether it is done. The first is never done.
    done: VecDeque<bool>,
}

impl Default for Window {
    fn default() -> Self {
        Self { lowest: 1, done: VecDeque::new() }
    }
}

impl Window {
    /// The next sequence, and the lowest unanswered to send with it.
    fn begin(&mut self) -> (u64, u64) {
        let sequence = self.lowest + self.done.len() as u64;
        self.done.push_back(false);
        (sequence, self.lowest)
    }

    /// The sequence is done; answers how far the lowest moved.
    fn end(&mut self, sequence: u64) -> usize {
        let place = usize::try_from(sequence - self.lowest).expect("the window is small");
        self.done[place] = true;
        let moved = self.done.iter().take_while(|done| **done).count();
        self.done.drain(..moved);
        self.lowest += moved as u64;
        moved
    }
}

/// Nothing panics while one of these locks is held, so poison carries no message.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn begin(sessions: &Sessions) -> Ticket {
        sessions.begin().now_or_never().expect("the window has room")
    }

    fn name(ticket: &Ticket) -> (u64, u64) {
        (ticket.sequence, ticket.lowest_unanswered)
    }

    #[test]
    fn sequences_count_from_one_and_the_lowest_waits_for_the_oldest() {
        let sessions = Sessions::new();
        drop(begin(&sessions));
        let second = begin(&sessions);
        let third = begin(&sessions);
        assert_eq!((name(&second), name(&third)), ((2, 2), (3, 2)));
        drop(third);
        assert_eq!(name(&begin(&sessions)), (4, 2));
        drop(second);
        assert_eq!(name(&begin(&sessions)), (5, 5));
    }

    #[test]
    fn a_session_keeps_the_time_it_began_with() {
        let sessions = Sessions::new();
        let window = Duration::from_secs(3);
        let first = begin(&sessions);
        let id = first.request_id(70, window);
        assert_eq!((id.begun_ms, id.window_ms), (70, 3_000));
        assert_eq!(first.request_id(90, window), id, "another attempt");
        assert_eq!(begin(&sessions).request_id(90, window).begun_ms, 70, "another write");
        sessions.replace(&first);
        assert_eq!(begin(&sessions).request_id(90, window).begun_ms, 90, "another session");
    }

    #[test]
    fn a_full_window_makes_writes_wait_until_the_oldest_is_done() {
        let sessions = Sessions::new();
        let mut tickets: VecDeque<_> = (0..WINDOW).map(|_| begin(&sessions)).collect();
        assert!(sessions.begin().now_or_never().is_none());
        drop(tickets.pop_back());
        assert!(sessions.begin().now_or_never().is_none(), "the oldest still holds the window");
        drop(tickets.pop_front());
        assert_eq!(name(&begin(&sessions)).0, WINDOW as u64 + 1);
    }

    #[test]
    fn a_replaced_session_starts_over_and_sends_the_waiting_on() {
        let sessions = Sessions::new();
        let tickets: Vec<_> = (0..WINDOW).map(|_| begin(&sessions)).collect();
        let waiting = sessions.begin();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        sessions.replace(&tickets[0]);
        let first = waiting.now_or_never().expect("the new session has room");
        assert_eq!(name(&first), (1, 1));
        assert_ne!(first.session.client, tickets[0].session.client);
        // A second report about the old session changes nothing.
        sessions.replace(&tickets[1]);
        assert_eq!(begin(&sessions).session.client, first.session.client);
    }

    proptest! {
        #[test]
        fn the_lowest_is_always_the_smallest_in_flight(
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..400)
        ) {
            let mut window = Window::default();
            let mut in_flight = BTreeSet::new();
            let mut handed_out = 0;
            for (start, which) in steps {
                if start || in_flight.is_empty() {
                    let (sequence, lowest) = window.begin();
                    handed_out += 1;
                    prop_assert_eq!(sequence, handed_out);
                    in_flight.insert(sequence);
                    prop_assert_eq!(Some(&lowest), in_flight.first());
                } else {
                    let ended = *which.get(&in_flight.iter().copied().collect::<Vec<_>>());
                    let before = window.lowest;
                    in_flight.remove(&ended);
                    let moved = window.end(ended);
                    let lowest = in_flight.first().copied().unwrap_or(handed_out + 1);
                    prop_assert_eq!(window.lowest, lowest);
                    prop_assert_eq!(moved as u64, lowest - before);
                }
            }
        }
    }
}
