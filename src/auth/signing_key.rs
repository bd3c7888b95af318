//! Keys that are good for one day, one cluster and one service, and what they sign.
//!
//! `kSigning = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), service), "aws4_request")`.
//! The key is kept as the HMAC state that has absorbed it, so that a signature costs no more than
//! the hashing of its text. That state is wiped when it is dropped.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{AmzDate, SecretKey, hex};

/// The one algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What ends every scope.
pub const TERMINATOR: &str = "aws4_request";

/// What a signing key is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The day, `YYYYMMDD`.
    pub day: String,
    /// The cluster's name.
    pub region: String,
    /// The service.
    pub service: String,
}

impl Scope {
    /// The scope of a request dated `date`.
    pub fn new(date: AmzDate, region: &str, service: &str) -> Self {
        Self { day: date.day(), region: region.to_owned(), service: service.to_owned() }
    }
}

/// The same, of text that somebody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeParts<'a> {
    /// The day, `YYYYMMDD`.
    pub day: &'a str,
    /// The cluster's name.
    pub region: &'a str,
    /// The service.
    pub service: &'a str,
}

impl<'a> From<&'a Scope> for ScopeParts<'a> {
    fn from(scope: &'a Scope) -> Self {
        let Scope { day, region, service } = scope;
        Self { day, region, service }
    }
}

impl From<ScopeParts<'_>> for Scope {
    fn from(parts: ScopeParts<'_>) -> Self {
        let ScopeParts { day, region, service } = parts;
        Self { day: day.to_owned(), region: region.to_owned(), service: service.to_owned() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{TERMINATOR}", self.day, self.region, self.service)
    }
}

/// 32 bytes that only the holder of a signing key can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 32]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// A derived key, ready to sign.
#[derive(Clone)]
pub struct SigningKey {
    keyed: Hmac<Sha256>,
}

impl SigningKey {
    /// Derives the key for a scope.
    pub fn derive<'a>(secret: &SecretKey, scope: impl Into<ScopeParts<'a>>) -> Self {
        let scope = scope.into();
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.expose().len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.expose().as_bytes());
        let day = hmac_sha256(&first, scope.day.as_bytes());
        let region = hmac_sha256(&day[..], scope.region.as_bytes());
        let service = hmac_sha256(&region[..], scope.service.as_bytes());
        let key = hmac_sha256(&service[..], TERMINATOR.as_bytes());
        Self { keyed: keyed(&key[..]) }
    }

    /// A key for one purpose under this one: both ends of a connection make MACs with it.
    pub fn subkey(&self, parts: &[&[u8]]) -> Self {
        let Signature(key) = self.sign(parts);
        Self { keyed: keyed(&Zeroizing::new(key)[..]) }
    }

    /// Signs the concatenation of `parts`.
    pub fn sign(&self, parts: &[&[u8]]) -> Signature {
        Signature(self.absorb(parts).finalize().into_bytes().into())
    }

    /// Whether `signature` is that of the concatenation of `parts`; takes the same time either
    /// way.
    pub fn verify(&self, parts: &[&[u8]], signature: &Signature) -> bool {
        self.absorb(parts).verify_slice(&signature.0).is_ok()
    }

    /// What signs every text that begins with `head`, which it need not be given again.
    #[cfg(feature = "server")]
    pub(super) fn beginning_with(&self, head: &[u8]) -> Self {
        Self { keyed: self.absorb(&[head]) }
    }

    fn absorb(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// HMAC-SHA256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(keyed(key).chain_update(message).finalize().into_bytes().into())
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What is signed: the algorithm, the date, the scope, and the hash of the canonical request.
pub fn string_to_sign(date: AmzDate, scope: &Scope, canonical_request: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(STRING_TO_SIGN_BYTES);
    write_string_to_sign_head(&mut text, &date.text(), scope.into());
    hex::encode_into(&mut text, &sha256(canonical_request));
    text
}

/// About how long a string to sign is.
pub(super) const STRING_TO_SIGN_BYTES: usize = 192;

/// Appends all of a string to sign but the hash; `date` as it is written.
pub(super) fn write_string_to_sign_head(text: &mut Vec<u8>, date: &[u8], scope: ScopeParts<'_>) {
    let ScopeParts { day, region, service } = scope;
    for line in [ALGORITHM.as_bytes(), date] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    for part in [day, "/", region, "/", service, "/", TERMINATOR, "\n"] {
        text.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example_scope(service: &str) -> Scope {
        Scope {
            day: "20150830".to_owned(),
            region: "us-east-1".to_owned(),
            service: service.into(),
        }
    }

    #[test]
    fn the_documented_signing_key_and_signature() {
        let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = SigningKey::derive(&secret, &example_scope("iam"));
        // The key itself is not kept; that a HMAC under the documented one is the same shows it.
        let documented: [u8; 32] =
            hex::decode(b"c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9")
                .expect("hex");
        assert_eq!(key.sign(&[b"x"]).0, *hmac_sha256(&documented, b"x"));
        let date = AmzDate::parse(b"20150830T123600Z").expect("a date");
        let canonical = b"GET\n/\nAction=ListUsers&Version=2010-05-08\n\
            content-type:application/x-www-form-urlencoded; charset=utf-8\n\
            host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\n\
            content-type;host;x-amz-date\n\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            hex::encode(&sha256(canonical)),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
        );
        let text = string_to_sign(date, &example_scope("iam"), canonical);
        assert_eq!(
            key.sign(&[&text]).to_string(),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn a_signature_verifies_and_no_other_does() {
        let key = SigningKey::derive(&SecretKey::new("s"), &example_scope("chainfire"));
        let good = key.sign(&[b"one", b"two"]);
        assert!(key.verify(&[b"onetwo"], &good));
        for bit in 0..256 {
            let mut bad = good;
            bad.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify(&[b"onetwo"], &bad));
        }
    }

    #[test]
    fn debug_prints_nothing_of_a_key() {
        let key = SigningKey::derive(&SecretKey::new("s"), &example_scope("iam"));
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}
