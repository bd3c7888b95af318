//! What is counted of certificates.

use super::catalogue as c;
use super::node_metrics::{NodeMetrics, counter, gauge, static_labels};

impl NodeMetrics {
    /// The files of a listener's certificate were read again.
    pub fn tls_reloaded(&self, listener: &'static str, outcome: &'static str) {
        let labels = static_labels([("listener", listener), ("outcome", outcome)]);
        counter(self.recorder(), &c::TLS_RELOADS, labels).increment(1);
    }

    /// The last second of a listener's certificate, since 1970.
    pub fn tls_certificate(&self, listener: &'static str, not_after: u64) {
        let labels = static_labels([("listener", listener)]);
        gauge(self.recorder(), &c::TLS_NOT_AFTER, labels).set(not_after as f64);
    }
}
