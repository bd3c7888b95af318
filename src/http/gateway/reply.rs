//! What is answered to a request that was done.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;

use super::problem::Problem;

/// An answer, before its bytes are counted.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// Bytes as they are.
    pub(super) fn bytes(body: Bytes) -> Self {
        let reply = Self { status: StatusCode::OK, headers: HeaderMap::new(), body };
        reply.with(header::CONTENT_TYPE, "application/octet-stream")
    }

    /// JSON, in one line.
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        let mut text = serde_json::to_vec(value).map_err(|_| Problem::other_answer())?;
        text.push(b'\n');
        let reply = Self { status: StatusCode::OK, headers: HeaderMap::new(), body: text.into() };
        Ok(reply.with(header::CONTENT_TYPE, "application/json"))
    }

    /// That whoever asks has it already.
    pub(super) fn not_modified() -> Self {
        let status = StatusCode::NOT_MODIFIED;
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// With one more header.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With the entity tag of a pair.
    pub(super) fn with_tag(self, mod_revision: u64) -> Self {
        self.with(header::ETAG, &tag(mod_revision))
    }
}

/// A modification revision as an entity tag.
pub(super) fn tag(mod_revision: u64) -> String {
    format!("\"{mod_revision}\"")
}
