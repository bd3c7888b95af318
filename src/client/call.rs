//! One request from the caller to its end: attempts, retries, failover.
//!
//! What must stay true: a write keeps its request id over every attempt, unless the state machine
//! said that its session is gone and no attempt can have been applied; every wait here ends at
//! the caller's deadline; the ticket is returned only when the caller is about to be told.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::time::{Instant, sleep, timeout_at};

use super::Inner;
use super::connection::{Connection, attempt_error};
use super::error::{Error, Failure};
use super::retry::{AttemptError, Attempts, Next};
use crate::rpc::api::{StoreClient, WriteRequest};
use crate::rpc::transport::call_context;
use crate::types::{Answer, DeleteRangeRequest, Operation, RequestError, RequestId};

/// Told how many keys a delete has written out so far.
pub(super) type Progress = dyn Fn(u64) + Send + Sync;

/// A request under way.
struct Call {
    attempts: Attempts,
    deadline: Instant,
    /// The endpoint of the next attempt.
    endpoint: usize,
    /// How long the next attempt may go unanswered.
    patience: Duration,
}

/// How to go on after a failed attempt.
enum GoOn {
    SameId,
    NewSession,
}

impl Inner {
    /// Applies an operation once.
    pub(super) async fn write(
        &self,
        operation: Operation,
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let send = |store: StoreClient, context, request_id| {
            let request = WriteRequest { request_id, operation: operation.clone() };
            async move { store.write(context, request).await }
        };
        self.apply_once(timeout, None, send).await
    }

    /// Applies a delete once. While it is being written out, `progress` is told of it, and the
    /// timeout begins anew.
    pub(super) async fn delete(
        &self,
        request: DeleteRangeRequest,
        timeout: Duration,
        progress: Option<&Progress>,
    ) -> Result<Answer, Error> {
        let operation = Operation::DeleteRange(request);
        let send = |store: StoreClient, context, request_id| {
            let request = WriteRequest { request_id, operation: operation.clone() };
            async move { store.write(context, request).await }
        };
        self.apply_once(timeout, progress, send).await
    }

    /// Sends a write under one request id until it is answered.
    pub(super) async fn apply_once<T, F, S>(
        &self,
        timeout: Duration,
        progress: Option<&Progress>,
        send: F,
    ) -> Result<T, Error>
    where
        F: Fn(StoreClient, Context, RequestId) -> S,
        S: Future<Output = Result<Result<T, RequestError>, RpcError>>,
    {
        let mut call = self.call(true, timeout);
        loop {
            let ticket = timeout_at(call.deadline, self.sessions.begin())
                .await
                .map_err(|_| call.attempts.out_of_time("earlier writes of this client"))?;
            loop {
                // Made when there is a connection: then its node has told the time.
                let attempt = |store, context| {
                    send(store, context, ticket.request_id(self.pool.time_ms(), timeout))
                };
                let error = match self.attempt(&mut call, attempt).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                if let (
                    Some(progress),
                    AttemptError::Refused(RequestError::DeleteUnderWay { deleted, .. }),
                ) = (progress, &error)
                {
                    progress(*deleted);
                    call.deadline = Instant::now() + timeout;
                }
                if let Some(now_ms) = error.session_expired_at() {
                    self.pool.note_time(now_ms);
                    self.sessions.replace(&ticket);
                }
                match self.after(&mut call, error).await? {
                    GoOn::SameId => {}
                    GoOn::NewSession => break,
                }
            }
        }
    }

    /// Asks something that may be asked again.
    pub(super) async fn read<T, F, S>(&self, timeout: Duration, send: F) -> Result<T, Error>
    where
        F: Fn(StoreClient, Context) -> S,
        S: Future<Output = Result<Result<T, RequestError>, RpcError>>,
    {
        let mut call = self.call(false, timeout);
        loop {
            match self.attempt(&mut call, &send).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.after(&mut call, error).await?,
            };
        }
    }

    /// Asks for a change that may be asked for again, and whose outcome may remain unknown.
    pub(super) async fn change<T, F, S>(&self, timeout: Duration, send: F) -> Result<T, Error>
    where
        F: Fn(StoreClient, Context) -> S,
        S: Future<Output = Result<Result<T, RequestError>, RpcError>>,
    {
        let mut call = self.call(true, timeout);
        loop {
            match self.attempt(&mut call, &send).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.after(&mut call, error).await?,
            };
        }
    }

    /// Asks one endpoint once.
    pub(super) async fn ask<T, S>(
        &self,
        endpoint: usize,
        timeout: Duration,
        send: impl FnOnce(StoreClient, Context) -> S,
    ) -> Result<T, Error>
    where
        S: Future<Output = Result<Result<T, RequestError>, RpcError>>,
    {
        let deadline = Instant::now() + timeout;
        match self.attempt_at(endpoint, deadline, deadline, send).await {
            Ok(answer) => Ok(answer),
            Err(error) => match Attempts::new(false, 1).next(error, Duration::ZERO, 0.0) {
                Next::GiveUp(error) => Err(error),
                Next::Retry { .. } | Next::Renew => {
                    let reason = format!("{} gave no answer", self.pool.address(endpoint));
                    Err(Failure::Unavailable { reason }.into())
                }
            },
        }
    }

    fn call(&self, is_write: bool, timeout: Duration) -> Call {
        Call {
            attempts: Attempts::new(is_write, self.pool.len()),
            deadline: Instant::now() + timeout,
            endpoint: self.pool.preferred(),
            patience: self.attempt_timeout,
        }
    }

    async fn attempt<T, S>(
        &self,
        call: &mut Call,
        send: impl FnOnce(StoreClient, Context) -> S,
    ) -> Result<T, AttemptError>
    where
        S: Future<Output = Result<Result<T, RequestError>, RpcError>>,
    {
        let now = Instant::now();
        let remaining = call.deadline.saturating_duration_since(now);
        // With other endpoints to go to, no attempt takes all the time there is.
        let share = if self.pool.len() > 1 { remaining / 2 } else { remaining };
        let patience = call.patience.min(share);
        let result = self.attempt_at(call.endpoint, now + patience, call.deadline, send).await;
        if Instant::now() >= now + call.patience {
            call.patience = call.patience.saturating_mul(2);
        }
        result
    }

    /// One attempt at one endpoint, which must be answered until `until`. Waiting for room on
    /// the connection may last to `deadline`: nothing was sent yet, and other endpoints have no
    /// more room.
    async fn attempt_at<T, S>(
        &self,
        endpoint: usize,
        until: Instant,
        deadline: Instant,
        send: impl FnOnce(StoreClient, Context) -> S,
    ) -> Result<T, AttemptError>
    where
        S: Future<Output = Result<Result<T, RequestError>, RpcError>>,
    {
        let patience = until.saturating_duration_since(Instant::now());
        let address = self.pool.address(endpoint);
        let connection: Arc<Connection> =
            match timeout_at(until, self.pool.connection(endpoint)).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(reason)) => return Err(AttemptError::NotSent { reason }),
                Err(_) => {
                    let reason = format!("{address}: no connection within {patience:?}");
                    return Err(AttemptError::NotSent { reason });
                }
            };
        let _room = timeout_at(deadline, connection.room()).await.map_err(|_| {
            let reason = format!("{address}: too many requests in flight on this connection");
            AttemptError::NotSent { reason }
        })?;
        let until = deadline.min(Instant::now() + patience);
        if until <= Instant::now() {
            // Nothing is sent that nobody would wait for: the outcome stays certain.
            let reason = format!("{address}: the time was up before it could be asked");
            return Err(AttemptError::NotSent { reason });
        }
        let sent = send(connection.store(), call_context(until - Instant::now()));
        match timeout_at(until, sent).await {
            Ok(Ok(Ok(answer))) => {
                connection.heard();
                Ok(answer)
            }
            Ok(Ok(Err(refusal))) => {
                connection.heard();
                Err(AttemptError::Refused(refusal))
            }
            Ok(Err(error)) => Err(attempt_error(address, &error)),
            Err(_) => {
                connection.kept_silent_since(until - patience);
                Err(AttemptError::Lost {
                    reason: format!("{address}: no answer within {patience:?}"),
                })
            }
        }
    }

    /// Decides what follows a failed attempt, and waits as long as that takes.
    async fn after(&self, call: &mut Call, error: AttemptError) -> Result<GoOn, Error> {
        let remaining = call.deadline.saturating_duration_since(Instant::now());
        let left = match &error {
            AttemptError::NotSent { .. } | AttemptError::Lost { .. } => true,
            AttemptError::Unsendable { .. }
            | AttemptError::Unanswerable { .. }
            | AttemptError::Refused(_) => false,
        };
        let next = call.attempts.next(error, remaining, rand::random());
        let elsewhere = left || matches!(next, Next::Retry { elsewhere: true, .. });
        if elsewhere {
            // Also when this request gives up: the next one shall not run into the same wall.
            call.endpoint = self.pool.leave(call.endpoint);
        }
        match next {
            Next::Retry { delay, .. } => {
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                if !elsewhere {
                    call.endpoint = self.pool.preferred();
                }
                Ok(GoOn::SameId)
            }
            Next::Renew => Ok(GoOn::NewSession),
            Next::GiveUp(error) => Err(error),
        }
    }
}
