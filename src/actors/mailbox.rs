//! A bounded way into an actor's unbounded mailbox, which outlives the actor's restarts.
//!
//! # What must stay true
//! - No more than `limit` messages wait: beyond it the sender is told at once.
//! - While an actor restarts its mailbox is closed; senders are told, nothing queues for a ghost.
//! - A restarted actor starts with a depth of 0: what the dead one had not handled is gone, and
//!   the senders learn it from their dropped reply channels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ractor::{ActorRef, Message};

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// As many messages wait as are allowed.
    #[error("the {0} actor has too much to do; try again")]
    Full(&'static str),
    /// The actor is not running: it restarts, or the node stops.
    #[error("the {0} actor is not running")]
    Closed(&'static str),
}

/// How many messages wait. Counted up by the sender, down by the actor.
#[derive(Clone, Debug, Default)]
pub struct MailboxMeter(Arc<AtomicUsize>);

impl MailboxMeter {
    /// The actor took a message out.
    pub fn taken(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to one actor of a node, across its restarts.
pub struct Mailbox<M: Message> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Message> {
    name: &'static str,
    limit: usize,
    bound: RwLock<Option<Bound<M>>>,
}

struct Bound<M: Message> {
    actor: ActorRef<M>,
    meter: MailboxMeter,
}

impl<M: Message> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<M: Message> Mailbox<M> {
    /// A closed mailbox for the actor `name`, in which at most `limit` messages may wait.
    pub fn new(name: &'static str, limit: usize) -> Self {
        Self { inner: Arc::new(Inner { name, limit, bound: RwLock::new(None) }) }
    }

    /// The actor's name.
    pub fn name(&self) -> &'static str {
        self.inner.name
    }

    /// Opens the mailbox onto a running actor, which counts with `meter`.
    pub fn bind(&self, actor: ActorRef<M>, meter: MailboxMeter) {
        *self.inner.bound.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Bound { actor, meter });
    }

    /// Closes the mailbox: the actor is gone.
    pub fn close(&self) {
        *self.inner.bound.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Messages that wait.
    pub fn depth(&self) -> usize {
        let bound = self.inner.bound.read().unwrap_or_else(PoisonError::into_inner);
        bound.as_ref().map_or(0, |bound| bound.meter.0.load(Ordering::Relaxed))
    }

    /// Sends a message; it is handled after every message sent before it.
    pub fn send(&self, message: M) -> Result<(), MailboxError> {
        let bound = self.inner.bound.read().unwrap_or_else(PoisonError::into_inner);
        let bound = bound.as_ref().ok_or(MailboxError::Closed(self.inner.name))?;
        let waiting = bound.meter.0.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.inner.limit {
            bound.meter.taken();
            return Err(MailboxError::Full(self.inner.name));
        }
        bound.actor.send_message(message).map_err(|_| {
            bound.meter.taken();
            MailboxError::Closed(self.inner.name)
        })
    }
}
