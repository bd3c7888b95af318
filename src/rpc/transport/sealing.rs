//! The seal on every frame: who it is from, that it is whole, and that it is the next one.
//!
//! ```text
//! from the calling side:    [method: u8][sequence: u64][date: u64][timeout ms: u64][signature: 32]
//!                           [body]
//! from the answering side:  [mac: 32][body]
//! ```
//!
//! The calling side signs each frame as a request of AWS Signature Version 4 ([`session`]); the
//! answering side puts a MAC on it under a key of its own direction. Both count their frames from
//! 1, and a frame opens only in its place. What is sealed is verified **before** it is decoded,
//! and what is decoded must be the call that was signed. Sealing works in place: it costs no copy.
//!
//! What does not open closes the connection: after one bad frame no later one can be trusted.
//!
//! [`PassThrough`] is the seal of a node that runs without authentication, on loopback addresses
//! only: it counts, and changes nothing.
//!
//! [`session`]: crate::auth::session

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::methods::ServicePaths;
use crate::auth::session::{AnswerMac, FrameFields, FrameSigner, SESSION_SKEW_SECONDS_MAX};
use crate::auth::{AmzDate, Scope, Signature, Signer, SigningKey};
use crate::types::Principal;

/// Bytes of a signature or MAC.
const TAG_BYTES: usize = 32;
/// Bytes before the body of a frame from the calling side.
const CALL_HEAD_BYTES: usize = 1 + 8 + 8 + 8 + TAG_BYTES;

/// Why a frame did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More frames than a sequence can number: the connection must be opened anew.
    #[error("the connection has carried as many frames as it may; connect again")]
    SequenceExhausted,
    /// Too short for its seal.
    #[error("a frame of {bytes} bytes has no seal")]
    TooShort {
        /// The frame's length.
        bytes: usize,
    },
    /// No such method.
    #[error("a frame calls method {method}, which there is not")]
    UnknownMethod {
        /// The method's number.
        method: u8,
    },
    /// Repeated, left out or moved.
    #[error("frame {found} came in place of frame {expected}")]
    Sequence {
        /// The next frame's number.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The dates are too far apart.
    #[error(
        "a frame is dated {skew_seconds} s away from this node's clock, at most {SESSION_SKEW_SECONDS_MAX} s are allowed; set the clock"
    )]
    Skewed {
        /// How far.
        skew_seconds: u64,
    },
    /// The signature, or the MAC, is not that of the frame; or its key is no longer accepted.
    #[error("a frame's signature does not match")]
    Signature,
    /// What is in the frame is not the call that was signed.
    #[error("a frame holds another call than was signed")]
    OtherCall,
}

impl SealError {
    /// In metrics and audit lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::SequenceExhausted => "sequence_exhausted",
            Self::TooShort { .. } => "unsigned",
            Self::UnknownMethod { .. } => "unknown_method",
            Self::Sequence { .. } => "sequence",
            Self::Skewed { .. } => "time_too_skewed",
            Self::Signature => "signature_does_not_match",
            Self::OtherCall => "other_call",
        }
    }
}

/// Where the answering side's keys come from: the ones in force at this moment.
pub trait SessionKeys: Send + Sync + 'static {
    /// The signing key of an access key for a scope, and whose it is. For an access key that is not
    /// in force it is nobody's, and made of a secret that nobody has, in the same time.
    fn signing_key(&self, access_key_id: &str, scope: &Scope) -> (Option<Principal>, SigningKey);

    /// Whether it can be told at all yet whether this key is in force. A node that joins, or whose
    /// cluster is being founded, knows of no user: nobody is refused for that.
    fn can_tell(&self, _access_key_id: &str) -> bool {
        true
    }
}

/// What is signed of a call beside its frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFields {
    /// The method's number.
    pub method: u8,
    /// What is left of the deadline, in milliseconds.
    pub timeout_ms: u64,
}

/// What was in a frame.
#[derive(Debug)]
pub struct Opened<'frame> {
    /// The message.
    pub body: &'frame [u8],
    /// What was signed beside it; none where nothing is.
    pub call: Option<CallFields>,
}

/// Seals the frames of one end of one connection, and opens those of the other.
#[derive(Debug)]
pub enum Sealer {
    /// Without authentication.
    PassThrough(PassThrough),
    /// The end that calls.
    Caller(Box<CallerSealer>),
    /// The end that answers.
    Answerer(Box<AnswererSealer>),
}

impl From<PassThrough> for Sealer {
    fn from(sealer: PassThrough) -> Self {
        Self::PassThrough(sealer)
    }
}

impl Sealer {
    /// Bytes before the body of a frame of ours.
    pub fn head_bytes(&self) -> usize {
        match self {
            Self::PassThrough(_) => 0,
            Self::Caller(_) => CALL_HEAD_BYTES,
            Self::Answerer(_) => TAG_BYTES,
        }
    }

    /// Writes the head of a frame, which [`head_bytes`](Self::head_bytes) were left for. `now` is
    /// the time since 1970.
    pub fn seal(
        &mut self,
        frame: &mut [u8],
        call: CallFields,
        now: Duration,
    ) -> Result<u64, SealError> {
        match self {
            Self::PassThrough(sealer) => sealer.seal(),
            Self::Caller(sealer) => sealer.seal(frame, call, now),
            Self::Answerer(sealer) => sealer.seal(frame),
        }
    }

    /// Opens a frame.
    pub fn open<'frame>(
        &mut self,
        frame: &'frame [u8],
        now: Duration,
    ) -> Result<Opened<'frame>, SealError> {
        match self {
            Self::PassThrough(sealer) => sealer.open(frame),
            Self::Caller(sealer) => sealer.open(frame),
            Self::Answerer(sealer) => sealer.open(frame, now),
        }
    }
}

/// The next number of a sequence, counted from 1.
fn next(last: &mut u64) -> Result<u64, SealError> {
    *last = last.checked_add(1).ok_or(SealError::SequenceExhausted)?;
    Ok(*last)
}

/// The sealer of connections that are not signed: it counts, and changes nothing.
#[derive(Debug, Default)]
pub struct PassThrough {
    sealed: u64,
    opened: u64,
}

impl PassThrough {
    /// A sealer for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    fn seal(&mut self) -> Result<u64, SealError> {
        next(&mut self.sealed)
    }

    fn open<'frame>(&mut self, frame: &'frame [u8]) -> Result<Opened<'frame>, SealError> {
        next(&mut self.opened)?;
        Ok(Opened { body: frame, call: None })
    }
}

/// Signs calls and checks the MACs of answers.
pub struct CallerSealer {
    credentials: Arc<Signer>,
    paths: ServicePaths,
    signer: FrameSigner,
    answers: AnswerMac,
    sealed: u64,
    opened: u64,
}

impl CallerSealer {
    /// For a session that `signer` opened with `credentials`.
    pub(super) fn new(
        credentials: Arc<Signer>,
        paths: ServicePaths,
        signer: FrameSigner,
        answers: AnswerMac,
    ) -> Self {
        Self { credentials, paths, signer, answers, sealed: 0, opened: 0 }
    }

    fn seal(
        &mut self,
        frame: &mut [u8],
        call: CallFields,
        now: Duration,
    ) -> Result<u64, SealError> {
        let CallFields { method, timeout_ms } = call;
        let path = self.paths.of(method).ok_or(SealError::UnknownMethod { method })?;
        let date = AmzDate::from_unix(now);
        if let Some(scope) = self.signer.other_scope(date) {
            let key = self.credentials.signing_key(date);
            self.signer.rekey(scope, key);
        }
        let sequence = next(&mut self.sealed)?;
        let fields = FrameFields { path, sequence, timeout_ms, date };
        let (head, body) = frame.split_at_mut(CALL_HEAD_BYTES);
        let Signature(signature) = self.signer.sign(&fields, body);
        head[0] = method;
        head[1..9].copy_from_slice(&sequence.to_be_bytes());
        head[9..17].copy_from_slice(&date.unix_seconds().to_be_bytes());
        head[17..25].copy_from_slice(&timeout_ms.to_be_bytes());
        head[25..].copy_from_slice(&signature);
        Ok(sequence)
    }

    fn open<'frame>(&mut self, frame: &'frame [u8]) -> Result<Opened<'frame>, SealError> {
        let (mac, body) = frame
            .split_first_chunk::<TAG_BYTES>()
            .ok_or(SealError::TooShort { bytes: frame.len() })?;
        let sequence = next(&mut self.opened)?;
        if !self.answers.verify(sequence, body, &Signature(*mac)) {
            return Err(SealError::Signature);
        }
        Ok(Opened { body, call: None })
    }
}

/// Checks the signatures of calls and puts MACs on answers.
pub struct AnswererSealer {
    keys: Arc<dyn SessionKeys>,
    access_key_id: String,
    paths: ServicePaths,
    signer: FrameSigner,
    answers: AnswerMac,
    sealed: u64,
    opened: u64,
}

impl AnswererSealer {
    /// For a session that was opened with the key `access_key_id`.
    pub(super) fn new(
        keys: Arc<dyn SessionKeys>,
        access_key_id: String,
        paths: ServicePaths,
        signer: FrameSigner,
        answers: AnswerMac,
    ) -> Self {
        Self { keys, access_key_id, paths, signer, answers, sealed: 0, opened: 0 }
    }

    fn seal(&mut self, frame: &mut [u8]) -> Result<u64, SealError> {
        let sequence = next(&mut self.sealed)?;
        let (head, body) = frame.split_at_mut(TAG_BYTES);
        head.copy_from_slice(&self.answers.sign(sequence, body).0);
        Ok(sequence)
    }

    fn open<'frame>(
        &mut self,
        frame: &'frame [u8],
        now: Duration,
    ) -> Result<Opened<'frame>, SealError> {
        let (head, body) = frame
            .split_first_chunk::<CALL_HEAD_BYTES>()
            .ok_or(SealError::TooShort { bytes: frame.len() })?;
        let number = |start: usize| {
            let number = head[start..].first_chunk::<8>();
            u64::from_be_bytes(*number.expect("every field lies inside the head"))
        };
        let method = head[0];
        let (found, seconds, timeout_ms) = (number(1), number(9), number(17));
        let path = self.paths.of(method).ok_or(SealError::UnknownMethod { method })?;
        let sequence = next(&mut self.opened)?;
        if found != sequence {
            return Err(SealError::Sequence { expected: sequence, found });
        }
        let date = check_date(seconds, now)?;
        if let Some(scope) = self.signer.other_scope(date) {
            let (principal, key) = self.keys.signing_key(&self.access_key_id, &scope);
            principal.ok_or(SealError::Signature)?;
            self.signer.rekey(scope, key);
        }
        let fields = FrameFields { path, sequence, timeout_ms, date };
        let signature = head[25..].first_chunk().expect("the signature ends the head");
        if !self.signer.verify(&fields, body, &Signature(*signature)) {
            return Err(SealError::Signature);
        }
        Ok(Opened { body, call: Some(CallFields { method, timeout_ms }) })
    }
}

/// The date `seconds` after 1970, if it is near enough to `now`.
pub(super) fn check_date(seconds: u64, now: Duration) -> Result<AmzDate, SealError> {
    let skew_seconds = seconds.abs_diff(now.as_secs());
    if skew_seconds > SESSION_SKEW_SECONDS_MAX {
        return Err(SealError::Skewed { skew_seconds });
    }
    Ok(AmzDate::from_unix(Duration::from_secs(seconds)))
}

impl fmt::Debug for CallerSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerSealer").field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

impl fmt::Debug for AnswererSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswererSealer").field("opened", &self.opened).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "sealing_tests.rs"]
mod tests;
