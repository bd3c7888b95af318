//! A signed request whose every part can be spoiled, and a verifier to show it to.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use chainfire::auth::canonical::{CanonicalRequest, canonical_path, canonical_query};
use chainfire::auth::encode::percent_decode;
use chainfire::auth::signing_key::{ALGORITHM, sha256, string_to_sign};
use chainfire::auth::{
    AmzDate, AuthError, KeyCache, KeyLookup, KnownKey, Presign, RequestHead, Scope, SecretKey,
    Signer, Verified, VerifyRules, hex, verify,
};
use chainfire::types::Principal;

pub const HOST: &str = "127.0.0.1:4603";
pub const KEY: &str = "CFROOT0000000001";
pub const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
pub const INACTIVE: &str = "CFINACTIVE000001";

/// 2027-01-15 08:00:00.
pub const NOW: u64 = 1_800_000_000;

pub fn at(seconds: u64) -> AmzDate {
    AmzDate::from_unix(Duration::from_secs(seconds))
}

/// Keys and their secrets; those that are not here are unknown or inactive.
#[derive(Clone)]
pub struct Keys(pub HashMap<String, (u64, String)>);

impl Keys {
    pub fn new() -> Self {
        Self(HashMap::from([(KEY.to_owned(), (1, SECRET.to_owned()))]))
    }
}

impl KeyLookup for Keys {
    fn find(&self, id: &str) -> Option<KnownKey> {
        let (version, _) = self.0.get(id)?;
        Some(KnownKey { principal: Principal("root".to_owned()), secret_version: *version })
    }

    fn secret(&self, id: &str) -> Option<SecretKey> {
        self.0.get(id).map(|(_, secret)| SecretKey::new(secret.clone()))
    }
}

/// A node: its keys, its rules and its clock.
pub struct Node {
    pub keys: Keys,
    pub cache: KeyCache,
    pub rules: VerifyRules,
    pub now: u64,
}

impl Node {
    pub fn new() -> Self {
        Self {
            keys: Keys::new(),
            cache: KeyCache::new([1; 32]),
            rules: VerifyRules {
                region: "chainfire".to_owned(),
                service: "chainfire".to_owned(),
                authorities: vec![HOST.to_owned(), "localhost:4603".to_owned()],
            },
            now: NOW,
        }
    }

    pub fn verify(&self, request: &Request) -> Result<Verified, AuthError> {
        let headers: Vec<_> = request.headers.iter().map(|(n, v)| (&n[..], v.as_bytes())).collect();
        let head =
            RequestHead { method: &request.method, target: &request.target, headers: &headers };
        let body = Bytes::from(request.body.clone());
        verify(&self.keys, &self.cache, &self.rules, &head, body, at(self.now))
    }

    pub fn code(&self, request: &Request) -> &'static str {
        self.verify(request).map_or_else(|error| error.code(), |_| "ok")
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(n, _)| n == name).unwrap().1
    }

    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    /// Changes the `Authorization` header.
    pub fn authorization(mut self, from: &str, to: &str) -> Self {
        let header = self.header("authorization");
        assert!(header.contains(from), "{header} has no {from}");
        *header = header.replace(from, to);
        self
    }

    /// Changes the target.
    pub fn target(mut self, from: &str, to: &str) -> Self {
        assert!(self.target.contains(from), "{} has no {from}", self.target);
        self.target = self.target.replace(from, to);
        self
    }
}

/// What is signed, for making requests that are signed well and wrong all the same.
#[derive(Clone, Debug)]
pub struct Draft {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub key: String,
    pub secret: String,
    pub region: String,
    pub service: String,
    pub date: u64,
    /// The names that are signed; none = all of `headers`.
    pub signed: Option<Vec<&'static str>>,
    /// The payload line; none = the body's hash.
    pub payload: Option<String>,
}

impl Draft {
    pub fn new(method: &str, target: &str, body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), HOST.to_owned())],
            body: body.to_vec(),
            key: KEY.to_owned(),
            secret: SECRET.to_owned(),
            region: "chainfire".to_owned(),
            service: "chainfire".to_owned(),
            date: NOW,
            signed: None,
            payload: None,
        }
    }

    pub fn dated(self, date: u64) -> Self {
        Self { date, ..self }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The hash of the body as a header.
    pub fn hashed(self) -> Self {
        let hash = hex::encode(&sha256(&self.body));
        self.header("x-amz-content-sha256", &hash)
    }

    pub fn signer(&self) -> Signer {
        Signer::new(
            &self.key[..],
            SecretKey::new(&self.secret[..]),
            &self.region[..],
            &self.service[..],
        )
    }

    /// Signed with an `Authorization` header.
    pub fn sign(&self) -> Request {
        let mut headers = self.headers.clone();
        let date = at(self.date);
        if !headers.iter().any(|(name, _)| name == "x-amz-date") {
            headers.push(("x-amz-date".to_owned(), date.to_string()));
        }
        let mut names: Vec<&str> = match &self.signed {
            Some(names) => names.clone(),
            None => headers.iter().map(|(name, _)| &name[..]).collect(),
        };
        if self.signed.is_none() {
            names.sort_unstable();
            names.dedup();
        }
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let decoded = |text: &str| percent_decode(text.as_bytes()).unwrap_or_default();
        let pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let lines: Vec<_> = headers.iter().map(|(n, v)| (&n[..], v.as_bytes())).collect();
        let payload = self.payload.clone().unwrap_or_else(|| hex::encode(&sha256(&self.body)));
        let canonical = CanonicalRequest {
            method: &self.method,
            path: &canonical_path(path).unwrap_or_default(),
            query: &canonical_query(pairs.iter().map(|(name, value)| (&name[..], &value[..]))),
            headers: &lines,
            signed: &names,
            payload: &payload,
        };
        let scope = Scope::new(date, &self.region, &self.service);
        let text = string_to_sign(date, &scope, &canonical.to_bytes());
        let signature = self.signer().signing_key(date).sign(&[&text]);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.key,
            names.join(";")
        );
        headers.push(("authorization".to_owned(), authorization));
        let (method, target, body) = (self.method.clone(), self.target.clone(), self.body.clone());
        Request { method, target, headers, body }
    }
}

/// A presigned GET of a key.
pub fn presigned(date: u64, expires_seconds: u64) -> Request {
    let url = Presign {
        authority: HOST,
        path: b"/v1/keys/app/a b",
        query: &[(b"revision", b"7")],
        expires_seconds,
    };
    Request {
        method: "GET".to_owned(),
        target: Draft::new("GET", "/", b"").signer().presign(&url, at(date)),
        headers: vec![("host".to_owned(), HOST.to_owned())],
        body: Vec::new(),
    }
}
