//! Reading a body: within its bytes and its time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::Problem;
use crate::auth::AuthError;
use crate::types::limits::REQUEST_BYTES_MAX;

/// Largest body. A value of nearly that size goes as the body of a PUT, which is not in base64.
pub(super) const BODY_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// How long, and for how many bytes, a body that is refused is read and thrown away, so that its
/// sender comes to read the answer.
const DISCARD_MAX: Duration = Duration::from_millis(500);
const DISCARD_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// Reads a body to its end. What remains of one that is refused stays in `body`.
pub(super) async fn read(body: &mut Body, within: Duration) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + within;
    let mut stream = std::mem::take(body).into_data_stream();
    let mut read = BytesMut::new();
    loop {
        let next = timeout_at(deadline, stream.next()).await;
        match next.map_err(|_elapsed| Problem::body_timeout(within))? {
            None => return Ok(read.freeze()),
            Some(Err(_)) => return Err(Problem::invalid("the body was cut off")),
            Some(Ok(piece)) if read.len() + piece.len() > BODY_BYTES_MAX => {
                *body = Body::from_stream(stream);
                return Err(AuthError::EntityTooLarge { max: BODY_BYTES_MAX }.into());
            }
            Some(Ok(piece)) => read.extend_from_slice(&piece),
        }
    }
}

/// Throws away what a refused client goes on sending, for a moment.
pub(super) async fn discard(body: Body) {
    let mut stream = body.into_data_stream();
    let read_on = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(piece)) = stream.next().await {
            let Some(rest) = left.checked_sub(piece.len()) else { return };
            left = rest;
        }
    };
    // Either way the answer follows.
    let _ = timeout(DISCARD_MAX, read_on).await;
}
