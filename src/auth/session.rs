//! Signing the frames of one connection.
//!
//! Both ends send a nonce, and hash everything they said of themselves into the *channel*. The
//! side that calls signs it, then every frame, as requests of AWS Signature Version 4 that never
//! were HTTP: `POST /chainfire/<service>/<method>` with the headers `host` (the cluster's name),
//! `x-amz-content-sha256`, `x-amz-date`, `x-chainfire-channel`, `x-chainfire-seq` and
//! `x-chainfire-timeout-ms`. The side that answers proves with a MAC that it has the same secret,
//! and puts one on every frame. Its keys are derived from the signing key for this channel and
//! this direction alone, so that nothing that was sent can be sent back, or on another connection.
//!
//! The text that is signed is built in a buffer that lives as long as the connection: a frame
//! costs no allocation.
//!
//! Everything here is pure: dates and sequences come in as arguments.

use sha2::{Digest, Sha256};

use super::AmzDate;
use super::hex;
use super::signing_key::{Scope, Signature, SigningKey, sha256, write_string_to_sign_head};

/// How far a client's clock may be from ours, in seconds, either way.
pub const SESSION_SKEW_SECONDS_MAX: u64 = 15 * 60;

/// The path of the request that opens a connection.
pub const SESSION_PATH: &str = "/chainfire/session";

/// Sets the channel's digest apart from every other use of SHA-256.
const CHANNEL_DOMAIN: &[u8] = b"chainfire channel v1";
/// Derives the key under which the answering side proves itself.
const PROOF_LABEL: &[u8] = b"chainfire server proof v1\0";
/// Derives the key of the answers' MACs.
const ANSWERS_LABEL: &[u8] = b"chainfire answers v1\0";

/// Names one connection for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel(pub [u8; 32]);

/// What both ends said before the first frame.
#[derive(Clone, Copy, Debug)]
pub struct Transcript<'a> {
    /// The version of the protocol.
    pub version: u16,
    /// The name of the cluster.
    pub cluster_name: &'a str,
    /// What the calling side said of itself, its nonce included.
    pub client: &'a [u8],
    /// What the answering side said of itself, its nonce included.
    pub server: &'a [u8],
}

impl Transcript<'_> {
    /// The connection's name.
    pub fn channel(&self) -> Channel {
        let mut hasher = Sha256::new();
        let version = self.version.to_be_bytes();
        let parts =
            [CHANNEL_DOMAIN, &version, self.cluster_name.as_bytes(), self.client, self.server];
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Channel(hasher.finalize().into())
    }
}

/// The fields of a frame that are signed beside its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFields<'a> {
    /// `/chainfire/<service>/<method>`.
    pub path: &'a str,
    /// The frame's place on its connection, from 1.
    pub sequence: u64,
    /// What is left of the call's deadline.
    pub timeout_ms: u64,
    /// When it was signed.
    pub date: AmzDate,
}

/// Makes the signatures of one connection's frames, for whoever has the key: to send them, or to
/// compare them with what was sent.
pub struct FrameSigner {
    channel: Channel,
    key: SigningKey,
    /// The day that `key` is good for, the cluster's name and the service.
    scope: Scope,
    /// The text of the last frame's date.
    date: (AmzDate, String),
    canonical: Vec<u8>,
    text: Vec<u8>,
}

const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date;x-chainfire-channel;\
                              x-chainfire-seq;x-chainfire-timeout-ms";

impl FrameSigner {
    /// Signs with `key`, which is good for `scope`, the one of `date`.
    pub fn new(channel: Channel, scope: Scope, key: SigningKey, date: AmzDate) -> Self {
        Self {
            channel,
            key,
            scope,
            date: (date, date.to_string()),
            canonical: Vec::with_capacity(512),
            text: Vec::with_capacity(256),
        }
    }

    /// The scope of another day than the key's; none while the key is good for `date`.
    pub fn other_scope(&mut self, date: AmzDate) -> Option<Scope> {
        self.set_date(date);
        let is_same = self.date.1.as_bytes()[..8] == *self.scope.day.as_bytes();
        (!is_same).then(|| Scope { day: date.day(), ..self.scope.clone() })
    }

    /// Goes on with the key of another day.
    pub fn rekey(&mut self, scope: Scope, key: SigningKey) {
        (self.scope, self.key) = (scope, key);
    }

    /// The signature of the request that opens the connection, dated `date`.
    pub fn sign_session(&mut self, date: AmzDate) -> Signature {
        self.set_date(date);
        self.begin_canonical(SESSION_PATH, &sha256(b""));
        self.canonical
            .extend_from_slice(b"\nhost;x-amz-content-sha256;x-amz-date;x-chainfire-channel\n");
        hex::encode_into(&mut self.canonical, &sha256(b""));
        self.write_text();
        self.key.sign(&[&self.text])
    }

    /// Whether `signature` is that of the request that opens the connection.
    pub fn verify_session(&mut self, date: AmzDate, signature: &Signature) -> bool {
        // What is left in the buffer is what `sign_session` signed.
        let _ = self.sign_session(date);
        self.key.verify(&[&self.text], signature)
    }

    /// The signature of a frame.
    pub fn sign(&mut self, fields: &FrameFields<'_>, body: &[u8]) -> Signature {
        self.write_frame(fields, body);
        self.key.sign(&[&self.text])
    }

    /// Whether `signature` is that of a frame; takes the same time either way.
    pub fn verify(&mut self, fields: &FrameFields<'_>, body: &[u8], signature: &Signature) -> bool {
        self.write_frame(fields, body);
        self.key.verify(&[&self.text], signature)
    }

    fn set_date(&mut self, date: AmzDate) {
        if self.date.0 != date {
            self.date = (date, date.to_string());
        }
    }

    fn write_frame(&mut self, fields: &FrameFields<'_>, body: &[u8]) {
        self.set_date(fields.date);
        let hash = sha256(body);
        self.begin_canonical(fields.path, &hash);
        let canonical = &mut self.canonical;
        canonical.extend_from_slice(b"x-chainfire-seq:");
        write_decimal(canonical, fields.sequence);
        canonical.extend_from_slice(b"\nx-chainfire-timeout-ms:");
        write_decimal(canonical, fields.timeout_ms);
        canonical.extend_from_slice(b"\n\n");
        canonical.extend_from_slice(SIGNED_HEADERS.as_bytes());
        canonical.push(b'\n');
        hex::encode_into(canonical, &hash);
        self.write_text();
    }

    /// The canonical request up to and with the channel's line.
    fn begin_canonical(&mut self, path: &str, hash: &[u8; 32]) {
        let canonical = &mut self.canonical;
        canonical.clear();
        canonical.extend_from_slice(b"POST\n");
        canonical.extend_from_slice(path.as_bytes());
        canonical.extend_from_slice(b"\n\nhost:");
        canonical.extend_from_slice(self.scope.region.as_bytes());
        canonical.extend_from_slice(b"\nx-amz-content-sha256:");
        hex::encode_into(canonical, hash);
        canonical.extend_from_slice(b"\nx-amz-date:");
        canonical.extend_from_slice(self.date.1.as_bytes());
        canonical.extend_from_slice(b"\nx-chainfire-channel:");
        hex::encode_into(canonical, &self.channel.0);
        canonical.push(b'\n');
    }

    /// The string to sign, of what is in `canonical`.
    fn write_text(&mut self) {
        let text = &mut self.text;
        text.clear();
        write_string_to_sign_head(text, self.date.1.as_bytes(), (&self.scope).into());
        hex::encode_into(text, &sha256(&self.canonical));
    }
}

fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[start..]);
        }
    }
}

/// What only the holder of the signing key can answer on a channel.
pub fn server_proof(key: &SigningKey, channel: &Channel) -> Signature {
    key.subkey(&[PROOF_LABEL, &channel.0]).sign(&[])
}

/// Whether `proof` is what only the holder of the signing key can answer.
pub fn verify_server_proof(key: &SigningKey, channel: &Channel, proof: &Signature) -> bool {
    key.subkey(&[PROOF_LABEL, &channel.0]).verify(&[], proof)
}

/// The MACs of the frames of the answering side.
#[derive(Clone, Debug)]
pub struct AnswerMac(SigningKey);

impl AnswerMac {
    /// For one channel.
    pub fn new(key: &SigningKey, channel: &Channel) -> Self {
        Self(key.subkey(&[ANSWERS_LABEL, &channel.0]))
    }

    /// The MAC of frame number `sequence`.
    pub fn sign(&self, sequence: u64, body: &[u8]) -> Signature {
        self.0.sign(&[&sequence.to_be_bytes(), body])
    }

    /// Whether `mac` is that of frame number `sequence`.
    pub fn verify(&self, sequence: u64, body: &[u8], mac: &Signature) -> bool {
        self.0.verify(&[&sequence.to_be_bytes(), body], mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::canonical::CanonicalRequest;
    use crate::auth::signing_key::string_to_sign;
    use crate::auth::{CLIENT_SERVICE, PEER_SERVICE, SecretKey};

    const DATE: &[u8] = b"20261124T041500Z";

    fn date(text: &[u8]) -> AmzDate {
        AmzDate::parse(text).expect("a date")
    }

    fn secret() -> SecretKey {
        SecretKey::new("secret")
    }

    fn channel(client: &[u8], server: &[u8]) -> Channel {
        Transcript { version: 2, cluster_name: "c", client, server }.channel()
    }

    fn signer_at(service: &str, channel: Channel, date: AmzDate) -> FrameSigner {
        let scope = Scope::new(date, "c", service);
        let key = SigningKey::derive(&secret(), &scope);
        FrameSigner::new(channel, scope, key, date)
    }

    fn signer(service: &str, channel: Channel) -> FrameSigner {
        signer_at(service, channel, date(DATE))
    }

    fn key_of(secret: &str) -> SigningKey {
        SigningKey::derive(&SecretKey::new(secret), &Scope::new(date(DATE), "c", CLIENT_SERVICE))
    }

    fn fields(path: &str, sequence: u64) -> FrameFields<'_> {
        FrameFields { path, sequence, timeout_ms: 2_000, date: date(DATE) }
    }

    /// What the general code makes of the same request.
    fn general(path: &str, body: &[u8], headers: &[(&str, &[u8])]) -> Signature {
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let canonical = CanonicalRequest {
            method: "POST",
            path,
            query: "",
            headers,
            signed: &names,
            payload: &hex::encode(&sha256(body)),
        };
        let scope = Scope::new(date(DATE), "c", CLIENT_SERVICE);
        let text = string_to_sign(date(DATE), &scope, &canonical.to_bytes());
        SigningKey::derive(&secret(), &scope).sign(&[&text])
    }

    #[test]
    fn a_frame_is_signed_as_the_request_that_it_stands_for() {
        let channel = channel(b"me", b"you");
        let body = b"the body";
        let (channel_hex, hash) = (hex::encode(&channel.0), hex::encode(&sha256(body)));
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("host", b"c"),
            ("x-amz-content-sha256", hash.as_bytes()),
            ("x-amz-date", DATE),
            ("x-chainfire-channel", channel_hex.as_bytes()),
            ("x-chainfire-seq", b"18446744073709551615"),
            ("x-chainfire-timeout-ms", b"2000"),
        ];
        let path = "/chainfire/store/write";
        let signed = signer(CLIENT_SERVICE, channel).sign(&fields(path, u64::MAX), body);
        assert_eq!(signed, general(path, body, &headers));

        let hash = hex::encode(&sha256(b""));
        headers.truncate(4);
        headers[1].1 = hash.as_bytes();
        let signed = signer(CLIENT_SERVICE, channel).sign_session(date(DATE));
        assert_eq!(signed, general(SESSION_PATH, b"", &headers));
    }

    #[test]
    fn a_signature_is_good_for_one_frame_in_one_place_alone() {
        let ours = channel(b"me", b"you");
        let mut signer_of = signer(CLIENT_SERVICE, ours);
        let good = fields("/chainfire/store/range", 7);
        let signature = signer_of.sign(&good, b"body");
        assert!(signer_of.verify(&good, b"body", &signature));
        let later = AmzDate::parse(b"20261124T041501Z").expect("a date");
        let others = [
            FrameFields { path: "/chainfire/store/write", ..good },
            FrameFields { sequence: 6, ..good },
            FrameFields { sequence: 8, ..good },
            FrameFields { timeout_ms: 2_001, ..good },
            FrameFields { date: later, ..good },
        ];
        for other in others {
            assert!(!signer_of.verify(&other, b"body", &signature), "{other:?}");
        }
        assert!(!signer_of.verify(&good, b"bodY", &signature));
        for other in [channel(b"me", b"yoU"), channel(b"mey", b"ou"), channel(b"you", b"me")] {
            assert!(!signer(CLIENT_SERVICE, other).verify(&good, b"body", &signature));
        }
        assert!(!signer(PEER_SERVICE, ours).verify(&good, b"body", &signature));
        for bit in 0..256 {
            let mut forged = signature;
            forged.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!signer_of.verify(&good, b"body", &forged));
        }
    }

    #[test]
    fn the_key_of_the_next_day_takes_over_at_midnight() {
        let (before, after) = (date(b"20261231T235959Z"), date(b"20270101T000000Z"));
        let ours = channel(b"me", b"you");
        let mut signer = signer_at(CLIENT_SERVICE, ours, before);
        assert_eq!(signer.other_scope(before), None);
        let scope = signer.other_scope(after).expect("another day");
        assert_eq!(scope.day, "20270101");
        signer.rekey(scope.clone(), SigningKey::derive(&secret(), &scope));
        let late = FrameFields { path: "/p", sequence: 1, timeout_ms: 0, date: after };
        let signature = signer.sign(&late, b"");
        let mut fresh = signer_at(CLIENT_SERVICE, ours, after);
        assert!(fresh.verify(&late, b"", &signature));
        assert!(
            signer.other_scope(before).is_some(),
            "a frame signed just before is known as such"
        );
    }

    #[test]
    fn the_directions_and_the_proof_have_keys_of_their_own() {
        let key = key_of("secret");
        let ours = channel(b"me", b"you");
        let proof = server_proof(&key, &ours);
        assert!(verify_server_proof(&key, &ours, &proof));
        let session = signer(CLIENT_SERVICE, ours).sign_session(date(DATE));
        assert!(!verify_server_proof(&key, &ours, &session), "what the client sent, sent back");
        assert!(!verify_server_proof(&key, &channel(b"me", b"other"), &proof));
        assert!(!verify_server_proof(&key_of("other"), &ours, &proof));

        let answers = AnswerMac::new(&key, &ours);
        let mac = answers.sign(3, b"answer");
        assert!(answers.verify(3, b"answer", &mac));
        assert!(!answers.verify(4, b"answer", &mac) && !answers.verify(3, b"answeR", &mac));
        assert_ne!(mac, proof);
    }
}
