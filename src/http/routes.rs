//! What each path answers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Readiness;
use crate::telemetry::NodeMetrics;

/// Prometheus' text format, as the exporter writes it.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Sources {
    metrics: NodeMetrics,
    readiness: Readiness,
}

pub(super) fn router(metrics: NodeMetrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .fallback(nothing_here)
        .with_state(Sources { metrics, readiness })
}

async fn scrape(State(sources): State<Sources>) -> Response {
    // Rendering reads /proc and asks the stores: not on a thread that serves others.
    match tokio::task::spawn_blocking(move || sources.metrics.render()).await {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be rendered\n")
                .into_response()
        }
    }
}

async fn ready(State(sources): State<Sources>) -> Response {
    match sources.readiness.check().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")).into_response()
        }
    }
}

async fn version() -> Response {
    const BODY: &str = concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n");
    ([(header::CONTENT_TYPE, "application/json")], BODY).into_response()
}

async fn nothing_here() -> Response {
    let paths = "not found; try /metrics, /livez, /readyz or /version\n";
    (StatusCode::NOT_FOUND, paths).into_response()
}
