//! One connection, from its first frame to its last: a single task that reads requests, runs
//! their handlers, and writes answers.
//!
//! ```text
//!   socket -> read ---admit---> handlers ---finished---> waiting -> write -> socket
//!                   \--refused-----------------------------^
//! ```
//!
//! The handlers run inside the connection's task: a request costs no task of its own and no
//! message between tasks, and answers that are ready together are written together. What would
//! hold the task up (reading many keys) moves itself to another thread.
//!
//! Invariants:
//! - At most `requests_max` admitted requests and [`REFUSALS_WAITING_MAX`] refusals exist at a
//!   time; beyond that the socket is not read, and the other end feels it.
//! - When [`ANSWERS_WAITING_BYTES_MAX`] of answers wait for the socket the handlers rest, and when
//!   the socket takes nothing for a while the transport fails: a client that does not read cannot
//!   hold its answers, or its part of the node's budget, for longer.
//! - Every handler ends: by its answer, its deadline, a cancellation, or with the connection. One
//!   that panics costs its call an answer and nobody else anything.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{AbortRegistration, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tarpc::server::{BaseChannel, Config, TrackedRequest};
use tarpc::{ChannelError, Request, Response, ServerError};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::admission::{ConnectionAdmission, Permit};
use super::limits::{ANSWERS_WAITING_BYTES_MAX, LINGER, REFUSALS_WAITING_MAX, RETRY_AFTER_MS};
use super::listener::stopping;
use super::service::{RequestObserver, Service};
use crate::rpc::transport::{self, FrameError, ServerTransport, remaining};
use crate::types::RequestError;

/// Requests taken from the socket before handlers get their turn, and turns before other tasks
/// get theirs.
const FAIR_SHARE: usize = 128;

type Transport<S> =
    ServerTransport<transport::Stream, <S as Service>::Request, <S as Service>::Answer>;
type Channel<S> = BaseChannel<<S as Service>::Request, <S as Service>::Answer, Transport<S>>;
type ConnectionError = ChannelError<FrameError>;

/// What a connection is run with.
pub(super) struct ConnectionParts<S: Service> {
    pub(super) service: S,
    pub(super) transport: Transport<S>,
    pub(super) admission: Arc<ConnectionAdmission>,
    pub(super) requests_max: usize,
    pub(super) idle_timeout: Duration,
    pub(super) observer: Arc<dyn RequestObserver>,
}

/// Runs a connection to its end. When `stop` turns to a moment, no request is read any more, and
/// when those in flight are answered, or at that moment, the connection is closed.
pub(super) async fn run<S: Service>(
    parts: ConnectionParts<S>,
    mut stop: watch::Receiver<Option<Instant>>,
) -> Result<(), ConnectionError> {
    let mut connection = Connection::new(parts);
    tokio::select! {
        biased;
        end = poll_fn(|cx| connection.poll(cx)) => return end,
        () = stopping(&mut stop) => {}
    }
    connection.stopping = true;
    let give_up = stop.borrow().unwrap_or_else(Instant::now);
    // In both cases the connection is closed; only whether everybody was answered differs.
    let _ = timeout_at(give_up, async {
        poll_fn(|cx| connection.poll(cx)).await?;
        connection.channel.close().await?;
        let goodbye = async { while let Some(Ok(_)) = connection.channel.next().await {} };
        let _ = timeout(LINGER, goodbye).await;
        Ok::<(), ConnectionError>(())
    })
    .await;
    Ok(())
}

/// A request on its way out. No message: it was cancelled.
struct Finished<S: Service> {
    id: u64,
    message: Option<Result<S::Answer, ServerError>>,
    bytes: usize,
    /// Given back when the answer was handed to the transport.
    permit: Option<Permit>,
}

struct Connection<S: Service> {
    service: S,
    channel: Channel<S>,
    admission: Arc<ConnectionAdmission>,
    observer: Arc<dyn RequestObserver>,
    in_flight_max: usize,
    handlers: FuturesUnordered<BoxFuture<'static, Finished<S>>>,
    waiting: VecDeque<Finished<S>>,
    waiting_bytes: usize,
    idle_timeout: Duration,
    idle_timer: Pin<Box<Sleep>>,
    last_active: Instant,
    /// The other end sends nothing any more.
    read_closed: bool,
    /// No request is read any more.
    stopping: bool,
}

impl<S: Service> Connection<S> {
    fn new(parts: ConnectionParts<S>) -> Self {
        let now = Instant::now();
        Self {
            service: parts.service,
            channel: BaseChannel::new(Config::default(), parts.transport),
            admission: parts.admission,
            observer: parts.observer,
            in_flight_max: parts.requests_max + REFUSALS_WAITING_MAX,
            handlers: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            idle_timeout: parts.idle_timeout,
            idle_timer: Box::pin(sleep_until(now + parts.idle_timeout)),
            last_active: now,
            read_closed: false,
            stopping: false,
        }
    }

    fn in_flight(&self) -> usize {
        self.handlers.len() + self.waiting.len()
    }

    /// Ready when the connection has nothing to do any more: the other end has closed it, or it
    /// is stopping or was idle for too long, and everything was answered.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        for _ in 0..FAIR_SHARE {
            let mut progress = self.poll_read(cx)?;
            progress |= self.poll_handlers(cx);
            progress |= self.poll_write(cx)?;
            if !progress {
                ready!(self.channel.poll_flush_unpin(cx))?;
                return self.poll_end(cx);
            }
            self.last_active = Instant::now();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        if self.in_flight() > 0 {
            return Poll::Pending;
        }
        if self.read_closed || self.stopping {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.idle_timer.as_mut().poll(cx));
            let idle_until = self.last_active + self.idle_timeout;
            if idle_until <= Instant::now() {
                return Poll::Ready(Ok(()));
            }
            self.idle_timer.as_mut().reset(idle_until);
        }
    }

    /// Takes requests from the socket and begins their handlers. Answers whether there were any.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut progress = false;
        for _ in 0..FAIR_SHARE {
            if self.stopping || self.read_closed || self.in_flight() >= self.in_flight_max {
                break;
            }
            match Pin::new(&mut self.channel).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.read_closed = true,
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(Some(Ok(request))) => {
                    self.begin(request);
                    progress = true;
                }
            }
        }
        Ok(progress)
    }

    fn begin(&mut self, tracked: TrackedRequest<S::Request>) {
        let TrackedRequest { request, abort_registration, .. } = tracked;
        match self.admission.admit(S::cost(&request.message)) {
            Some(permit) => {
                let (service, observer) = (self.service.clone(), self.observer.clone());
                let handler = handle(service, request, abort_registration, permit, observer);
                self.handlers.push(Box::pin(handler));
            }
            None => {
                let method = S::method(&request.message);
                let overloaded = RequestError::Overloaded { retry_after_ms: RETRY_AFTER_MS };
                let message = S::refusal(method, overloaded);
                let outcome = outcome::<S>(&message);
                self.observer.request_answered(S::name(method), outcome, Duration::ZERO);
                let (id, message) = (request.id, Some(message));
                self.waiting.push_back(Finished { id, message, bytes: 0, permit: None });
            }
        }
    }

    /// Lets the handlers go on. Answers whether any ended.
    fn poll_handlers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while self.waiting_bytes < ANSWERS_WAITING_BYTES_MAX {
            let Poll::Ready(Some(finished)) = self.handlers.poll_next_unpin(cx) else { break };
            self.waiting_bytes += finished.bytes;
            self.waiting.push_back(finished);
            progress = true;
        }
        progress
    }

    /// Hands answers to the transport. Answers whether there were any.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        let mut progress = false;
        while !self.waiting.is_empty() {
            match Pin::new(&mut self.channel).poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(ready) => ready?,
            }
            let Some(finished) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= finished.bytes;
            if let Some(message) = finished.message {
                let response = Response { request_id: finished.id, message };
                Pin::new(&mut self.channel).start_send(response)?;
            }
            drop(finished.permit);
            progress = true;
        }
        Ok(progress)
    }
}

fn outcome<S: Service>(message: &Result<S::Answer, ServerError>) -> &'static str {
    message.as_ref().map_or("failed", S::outcome)
}

/// One request: its deadline, its cancellation, its panic, its metrics.
async fn handle<S: Service>(
    service: S,
    request: Request<S::Request>,
    abort: AbortRegistration,
    mut permit: Permit,
    observer: Arc<dyn RequestObserver>,
) -> Finished<S> {
    let Request { context, id, message: request } = request;
    let started = Instant::now();
    let method = S::method(&request);
    let left = remaining(&context);
    let answered = async {
        if left.is_zero() {
            return S::refusal(method, RequestError::DeadlinePassed);
        }
        let answer = AssertUnwindSafe(service.answer(context, request)).catch_unwind();
        match timeout(left, answer).await {
            Ok(Ok(message)) => message,
            Ok(Err(_panic)) => {
                tracing::error!(method = S::name(method), "a request made its handler panic");
                Err(ServerError::new(std::io::ErrorKind::Other, "the handler failed".into()))
            }
            Err(_elapsed) => S::refusal(method, S::overdue(method)),
        }
    };
    let message = Abortable::new(answered, abort).await.ok();
    let outcome = message.as_ref().map_or("cancelled", outcome::<S>);
    observer.request_answered(S::name(method), outcome, started.elapsed());
    let bytes = message.iter().flatten().map(S::answer_bytes).sum();
    permit.correct(bytes);
    Finished { id, message, bytes, permit: Some(permit) }
}
