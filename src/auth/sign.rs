//! Signing requests: what a client does.

use super::canonical::{CanonicalRequest, Header, canonical_path, canonical_query};
use super::encode::{MalformedPercent, Part, aws_uri_encode};
use super::hex;
use super::signing_key::{ALGORITHM, Scope, SigningKey, sha256, string_to_sign};
use super::{AmzDate, SecretKey};

/// Signs for one key, one cluster and one service.
#[derive(Clone, Debug)]
pub struct Signer {
    access_key_id: String,
    secret: SecretKey,
    region: String,
    service: String,
}

/// A URL to presign: a GET of one path.
#[derive(Clone, Copy, Debug)]
pub struct Presign<'a> {
    /// `HOST:PORT` as the `host` header will have it.
    pub authority: &'a str,
    /// The decoded path.
    pub path: &'a [u8],
    /// Decoded parameters to sign along.
    pub query: &'a [(&'a [u8], &'a [u8])],
    /// How long the URL is good for.
    pub expires_seconds: u64,
}

impl Signer {
    /// Signs with a key. `region` is the cluster's name.
    pub fn new(
        access_key_id: impl Into<String>,
        secret: SecretKey,
        region: impl Into<String>,
        service: impl Into<String>,
    ) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret,
            region: region.into(),
            service: service.into(),
        }
    }

    /// The scope of a request dated `date`.
    pub fn scope(&self, date: AmzDate) -> Scope {
        Scope::new(date, &self.region, &self.service)
    }

    /// The key for requests dated `date`: good for the whole day.
    pub fn signing_key(&self, date: AmzDate) -> SigningKey {
        SigningKey::derive(&self.secret, &self.scope(date))
    }

    /// The id of the key that signs.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The cluster's name.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The value of the `Authorization` header of a request that is otherwise complete. `headers`
    /// must have `host` and `x-amz-date`; every one of them is signed. `target` is what stands in
    /// the request line.
    ///
    /// # Errors
    /// When the target has a malformed escape.
    pub fn authorization(
        &self,
        method: &str,
        target: &str,
        headers: &[Header<'_>],
        body: &[u8],
        date: AmzDate,
    ) -> Result<String, MalformedPercent> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| super::encode::percent_decode(text.as_bytes());
            pairs.push((decoded(name)?, decoded(value)?));
        }
        let query = canonical_query(pairs.iter().map(|(name, value)| (&name[..], &value[..])));
        let names: Vec<String> =
            headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let mut signed: Vec<&str> = names.iter().map(String::as_str).collect();
        signed.sort_unstable();
        signed.dedup();
        let canonical = CanonicalRequest {
            method,
            path: &canonical_path(path)?,
            query: &query,
            headers,
            signed: &signed,
            payload: &hex::encode(&sha256(body)),
        };
        let scope = self.scope(date);
        let text = string_to_sign(date, &scope, &canonical.to_bytes());
        let signature = self.signing_key(date).sign(&[&text]);
        Ok(format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            signed.join(";"),
        ))
    }

    /// The target (path and query) of a URL that whoever holds it may GET until it expires.
    pub fn presign(&self, url: &Presign<'_>, date: AmzDate) -> String {
        let scope = self.scope(date);
        let credential = format!("{}/{scope}", self.access_key_id);
        let (date_text, expires) = (date.to_string(), url.expires_seconds.to_string());
        let fields: [(&[u8], &[u8]); 5] = [
            (b"X-Amz-Algorithm", ALGORITHM.as_bytes()),
            (b"X-Amz-Credential", credential.as_bytes()),
            (b"X-Amz-Date", date_text.as_bytes()),
            (b"X-Amz-Expires", expires.as_bytes()),
            (b"X-Amz-SignedHeaders", b"host"),
        ];
        let query = canonical_query(url.query.iter().copied().chain(fields));
        let path = aws_uri_encode(url.path, Part::Path);
        let canonical = CanonicalRequest {
            method: "GET",
            path: &path,
            query: &query,
            headers: &[("host", url.authority.as_bytes())],
            signed: &["host"],
            payload: &hex::encode(&sha256(b"")),
        };
        let text = string_to_sign(date, &scope, &canonical.to_bytes());
        let signature = self.signing_key(date).sign(&[&text]);
        format!("{path}?{query}&X-Amz-Signature={signature}")
    }
}
