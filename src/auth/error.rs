//! Why a request is refused, under the names that clients of AWS know.

use super::AmzDate;

/// Why a request is not let in. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credentials at all.
    #[error("the request is not signed; sign it with AWS Signature Version 4")]
    MissingAuthenticationToken,
    /// A part of the credentials is missing.
    #[error("the credentials have no {missing}")]
    IncompleteSignature {
        /// The part.
        missing: &'static str,
    },
    /// Something about the `Authorization` header or what it declares.
    #[error("the authorization header is malformed: {reason}")]
    AuthorizationHeaderMalformed {
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// Something about the parameters of a presigned URL.
    #[error("the query's credentials are malformed: {reason}")]
    AuthorizationQueryParametersError {
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// A target that means nothing, or more than one thing.
    #[error("invalid target: {reason}")]
    InvalidUri {
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// More headers, or longer ones, than are read.
    #[error("the request has more than {max} {what}")]
    HeadTooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The body is not the one that was signed, or is declared in a form that is not accepted.
    #[error("x-amz-content-sha256: {reason}")]
    XAmzContentSha256Mismatch {
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// The dates are too far apart.
    #[error(
        "the request is dated {dated}, {skew_seconds} s {side} this node's clock ({now}); at most \
         {max_seconds} s are allowed: set the clock"
    )]
    RequestTimeTooSkewed {
        /// The request's date.
        dated: AmzDate,
        /// The node's.
        now: AmzDate,
        /// How far apart.
        skew_seconds: u64,
        /// `ahead of` or `behind`.
        side: &'static str,
        /// The limit.
        max_seconds: u64,
    },
    /// An unknown key, an inactive key, or a signature that is not this key's of this request.
    #[error(
        "the signature does not match; check the secret, the cluster's name and what is signed"
    )]
    SignatureDoesNotMatch,
    /// Verified, or not worth verifying, and not allowed.
    #[error("access denied: {reason}")]
    AccessDenied {
        /// Why.
        reason: &'static str,
    },
    /// A body beyond the limit.
    #[error("the body exceeds {max} bytes")]
    EntityTooLarge {
        /// The limit.
        max: usize,
    },
}

impl AuthError {
    /// The name clients match on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::IncompleteSignature { .. } => "IncompleteSignature",
            Self::AuthorizationHeaderMalformed { .. } => "AuthorizationHeaderMalformed",
            Self::AuthorizationQueryParametersError { .. } => "AuthorizationQueryParametersError",
            Self::InvalidUri { .. } => "InvalidURI",
            Self::HeadTooLarge { .. } => "RequestHeaderSectionTooLarge",
            Self::XAmzContentSha256Mismatch { .. } => "XAmzContentSHA256Mismatch",
            Self::RequestTimeTooSkewed { .. } => "RequestTimeTooSkewed",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::AccessDenied { .. } => "AccessDenied",
            Self::EntityTooLarge { .. } => "EntityTooLarge",
        }
    }

    /// The status over HTTP.
    pub fn status(&self) -> u16 {
        match self {
            Self::IncompleteSignature { .. }
            | Self::AuthorizationHeaderMalformed { .. }
            | Self::AuthorizationQueryParametersError { .. }
            | Self::InvalidUri { .. }
            | Self::XAmzContentSha256Mismatch { .. } => 400,
            Self::MissingAuthenticationToken
            | Self::RequestTimeTooSkewed { .. }
            | Self::SignatureDoesNotMatch
            | Self::AccessDenied { .. } => 403,
            Self::EntityTooLarge { .. } => 413,
            Self::HeadTooLarge { .. } => 431,
        }
    }
}
