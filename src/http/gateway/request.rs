//! A request that came through the door.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::clause::Clauses;
use super::memory::Held;
use super::store::Caller;
use crate::auth::{Target, Verified};
use crate::rpc::transport::SessionUser;
use crate::types::SignedRequest;

/// What may be dispatched from. Only the door makes one.
#[derive(Debug)]
pub(super) struct Request {
    content: Content,
    /// What it is known by when it comes again.
    signed: Option<SignedRequest>,
    clauses: Clauses,
    origin: Origin,
    /// Whether it is answered as an earlier one was.
    replayed: AtomicBool,
    _held: Held,
}

/// Where a request came from, and the name it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) remote: SocketAddr,
    pub(super) request_id: u128,
}

#[derive(Debug)]
enum Content {
    /// What the verifier returned.
    Verified(Verified),
    /// On a node without authentication.
    Open { method: String, target: Target, body: Bytes },
}

impl Request {
    pub(super) fn verified(
        verified: Verified,
        signed: SignedRequest,
        clauses: Clauses,
        origin: Origin,
        held: Held,
    ) -> Self {
        Self {
            content: Content::Verified(verified),
            signed: Some(signed),
            clauses,
            origin,
            replayed: AtomicBool::new(false),
            _held: held,
        }
    }

    pub(super) fn open(
        method: String,
        target: Target,
        body: Bytes,
        clauses: Clauses,
        origin: Origin,
        held: Held,
    ) -> Self {
        Self {
            content: Content::Open { method, target, body },
            signed: None,
            clauses,
            origin,
            replayed: AtomicBool::new(false),
            _held: held,
        }
    }

    /// On whose behalf it is.
    pub(super) fn caller(&self) -> Caller {
        let user = self.proof().map(|verified| SessionUser {
            principal: verified.by().principal().clone(),
            access_key_id: verified.by().access_key_id().to_owned(),
        });
        let Origin { remote, request_id } = self.origin;
        Caller { user, remote, request_id, signed: self.signed }
    }

    /// It is answered as an earlier one was.
    pub(super) fn note_replayed(&self) {
        self.replayed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_replayed(&self) -> bool {
        self.replayed.load(Ordering::Relaxed)
    }

    /// What the verifier returned; none without authentication.
    pub(super) fn proof(&self) -> Option<&Verified> {
        match &self.content {
            Content::Verified(verified) => Some(verified),
            Content::Open { .. } => None,
        }
    }

    pub(super) fn method(&self) -> &str {
        match &self.content {
            Content::Verified(verified) => verified.method(),
            Content::Open { method, .. } => method,
        }
    }

    pub(super) fn target(&self) -> &Target {
        match &self.content {
            Content::Verified(verified) => verified.target(),
            Content::Open { target, .. } => target,
        }
    }

    pub(super) fn body(&self) -> &Bytes {
        match &self.content {
            Content::Verified(verified) => verified.body(),
            Content::Open { body, .. } => body,
        }
    }

    /// Its `If-Match` and `If-None-Match`.
    pub(super) fn clauses(&self) -> &Clauses {
        &self.clauses
    }
}
