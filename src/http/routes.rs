//! What each path answers.
//!
//! The probes are here, each answered on a connection of its own: whoever asks them does so now and
//! then. Everything below `/v1` is the gateway's, which finds out for itself what is asked, from
//! what it has verified.

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Router, middleware};

use super::Readiness;
use super::gateway::{self, Gateway, OPENAPI, ROUTES, Remote};
use crate::telemetry::NodeMetrics;

/// Prometheus' text format, as the exporter writes it.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is answered to whoever asks, with no signature.
const OPEN: [&str; 5] = ["/metrics", "/livez", "/readyz", "/version", "/openapi.json"];

#[derive(Clone)]
struct Sources {
    metrics: NodeMetrics,
    readiness: Readiness,
}

/// The method and path of everything there is.
pub fn all() -> Vec<(&'static str, &'static str)> {
    OPEN.map(|path| ("GET", path)).into_iter().chain(ROUTES).collect()
}

fn open(path: &str) -> MethodRouter<Sources> {
    match path {
        "/metrics" => get(scrape),
        "/livez" => get(async || "ok\n"),
        "/readyz" => get(ready),
        "/version" => get(async || json(VERSION)),
        "/openapi.json" => get(async || json(OPENAPI)),
        _ => MethodRouter::new(),
    }
}

/// Without a gateway there is nothing below `/v1`.
pub(super) fn router(
    metrics: NodeMetrics,
    readiness: Readiness,
    gateway: Option<Gateway>,
) -> Router {
    let probes = OPEN.iter().fold(Router::new(), |router, path| router.route(path, open(path)));
    let probes =
        probes.layer(middleware::map_response(close)).with_state(Sources { metrics, readiness });
    probes.fallback(async move |Extension(remote): Extension<Remote>, request: Request| {
        let path = request.uri().path();
        match gateway {
            Some(gateway) if path == "/v1" || path.starts_with("/v1/") => {
                gateway::serve(gateway, remote, request).await
            }
            _ => close(nothing_here()).await,
        }
    })
}

/// Lets the connection end with this answer.
async fn close(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
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

const VERSION: &str = concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n");

fn json(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn nothing_here() -> Response {
    let paths = "not found; try /metrics, /livez, /readyz, /version or /openapi.json\n";
    (StatusCode::NOT_FOUND, paths).into_response()
}
