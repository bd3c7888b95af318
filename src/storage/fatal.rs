//! Where a store tells of the failure it cannot go on after, and where the node hears of it.
//!
//! One channel a node, shared by the log and the state. The first report stays: what fails after
//! it is a consequence. The supervisor waits on the [`FatalWatch`] and stops the process; nobody
//! retries.

use std::sync::Arc;

use tokio::sync::watch;

use super::StorageError;

/// The stores' end: takes the failure. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FatalSink {
    sender: Arc<watch::Sender<Option<Arc<StorageError>>>>,
}

/// The supervisor's end: tells of the failure. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FatalWatch {
    receiver: watch::Receiver<Option<Arc<StorageError>>>,
}

impl FatalSink {
    /// A channel for one node.
    pub fn channel() -> (Self, FatalWatch) {
        let (sender, receiver) = watch::channel(None);
        (Self { sender: Arc::new(sender) }, FatalWatch { receiver })
    }

    /// Takes a failure; all but the first are dropped.
    pub fn report(&self, error: Arc<StorageError>) {
        self.sender.send_if_modified(|first| match first {
            Some(_) => false,
            None => {
                *first = Some(error);
                true
            }
        });
    }
}

impl FatalWatch {
    /// The failure, if there was one.
    pub fn current(&self) -> Option<Arc<StorageError>> {
        self.receiver.borrow().clone()
    }

    /// Waits for the failure. Never returns when every sink is gone without one.
    pub async fn failed(&mut self) -> Arc<StorageError> {
        // The guard must be gone before the next await.
        let failure = self.receiver.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
        match failure {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_stays() {
        let (sink, mut watch) = FatalSink::channel();
        assert!(watch.current().is_none());
        sink.report(Arc::new(StorageError::ThreadPanicked { name: "first" }));
        sink.report(Arc::new(StorageError::ShutDown));
        let error = watch.failed().await;
        assert!(matches!(*error, StorageError::ThreadPanicked { name: "first" }), "{error}");
        assert_eq!(watch.current().expect("reported").to_string(), error.to_string());
    }
}
