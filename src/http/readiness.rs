//! Whether the node can do what it is there for.
//!
//! A node that knows a leader may still be useless: its disk hangs, it cannot reach a quorum, its
//! apply has stopped. So readiness is found out by doing what a client does: a linearizable read
//! barrier, within a time limit. Many probes share one round, and its outcome stands for a moment,
//! so that probing costs the cluster next to nothing however often it is done.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::HttpConfig;
use crate::types::RequestError;

/// A linearizable read that is done by the deadline or fails.
type Probe = Box<dyn Fn(Instant) -> ProbeFuture + Send + Sync>;
type ProbeFuture = Pin<Box<dyn Future<Output = Result<(), RequestError>> + Send>>;

/// Answers whether the node is ready. Cheap to clone.
#[derive(Clone)]
pub struct Readiness {
    inner: Arc<Inner>,
}

struct Inner {
    probe: Probe,
    timeout: Duration,
    cache: Duration,
    stopping: AtomicBool,
    /// When the last round ended, and how. Locked while a round is under way.
    last: Mutex<Option<(Instant, Result<(), RequestError>)>>,
}

impl Readiness {
    /// Finds out by `probe`, which must do a read the way clients do.
    pub fn new<F>(config: &HttpConfig, probe: impl Fn(Instant) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), RequestError>> + Send + 'static,
    {
        let inner = Inner {
            probe: Box::new(move |deadline| Box::pin(probe(deadline))),
            timeout: Duration::from_millis(config.ready_timeout_ms),
            cache: Duration::from_millis(config.ready_cache_ms),
            stopping: AtomicBool::new(false),
            last: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on the node is not ready: whoever sends it work should look elsewhere.
    pub fn stop(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the node is ready, and if not, why.
    pub async fn check(&self) -> Result<(), RequestError> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return Err(RequestError::Unavailable { reason: "the node is stopping".to_owned() });
        }
        let mut last = self.inner.last.lock().await;
        match &*last {
            Some((at, outcome)) if at.elapsed() < self.inner.cache => outcome.clone(),
            _ => {
                let outcome = self.read().await;
                *last = Some((Instant::now(), outcome.clone()));
                outcome
            }
        }
    }

    async fn read(&self) -> Result<(), RequestError> {
        let deadline = Instant::now() + self.inner.timeout;
        // The probe knows the deadline; the timeout is for a probe that hangs all the same.
        match tokio::time::timeout_at(deadline, (self.inner.probe)(deadline)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::Unavailable {
                reason: format!("a read took longer than {} ms", self.inner.timeout.as_millis()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A readiness whose probe is counted and hangs, fails or succeeds as told.
    fn counted(
        outcome: impl Fn(usize) -> Option<Result<(), RequestError>> + Send + Sync + 'static,
    ) -> (Readiness, Arc<AtomicUsize>) {
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = rounds.clone();
        let readiness = Readiness::new(&HttpConfig::default(), move |_| {
            let outcome = outcome(counted.fetch_add(1, Ordering::Relaxed));
            async move {
                match outcome {
                    Some(outcome) => outcome,
                    None => std::future::pending().await,
                }
            }
        });
        (readiness, rounds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_answers_every_probe_for_a_moment() {
        let (readiness, rounds) = counted(|_| Some(Ok(())));
        for _ in 0..100 {
            readiness.check().await.expect("ready");
        }
        assert_eq!(rounds.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_millis(500)).await;
        readiness.check().await.expect("ready");
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_is_not_ready_and_many_probes_wait_for_one() {
        let (readiness, rounds) = counted(|_| None);
        let probes: Vec<_> = (0..10)
            .map(|_| {
                let readiness = readiness.clone();
                tokio::spawn(async move { readiness.check().await })
            })
            .collect();
        for probe in probes {
            let error = probe.await.expect("no panic").expect_err("not ready");
            assert!(error.to_string().contains("2000 ms"), "{error}");
        }
        assert_eq!(rounds.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_becomes_ready_again() {
        let no_leader = || RequestError::Unavailable { reason: "no leader".to_owned() };
        let (readiness, _) = counted(move |n| Some(if n == 0 { Err(no_leader()) } else { Ok(()) }));
        assert_eq!(readiness.check().await, Err(no_leader()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(readiness.check().await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopping_node_is_not_ready_whatever_a_read_says() {
        let (readiness, rounds) = counted(|_| Some(Ok(())));
        readiness.stop();
        assert!(readiness.check().await.is_err());
        assert_eq!(rounds.load(Ordering::Relaxed), 0);
    }
}
