//! Secrets at rest: XChaCha20-Poly1305 under the cluster's master key.
//!
//! A secret is sealed before it enters the log, so that log, state, snapshots and backups hold none
//! in the clear. What is sealed is bound to its cluster, its key id and its version: moved to
//! another key, it does not open.
//!
//! ```text
//!   sealed secret   format 1: u8 = 1 | nonce: 24 bytes | ciphertext | tag: 16 bytes
//!   bound along     "chainfire secret v1\0" | cluster id: u128 BE | version: u64 BE | key id
//! ```

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::SecretKey;
use crate::types::ClusterId;

/// The first byte of a sealed secret.
const FORMAT: u8 = 1;

/// Bytes of a nonce: enough that random ones do not repeat.
pub const NONCE_BYTES: usize = 24;

const DOMAIN: &[u8] = b"chainfire secret v1\0";

/// The key under which secrets are sealed. Printed by nothing, wiped when dropped.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// What a sealed secret belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedFor<'a> {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The access key.
    pub key_id: &'a str,
    /// Which of the key's secrets.
    pub version: u64,
}

/// Why a sealed secret does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Written by a newer release, or no sealed secret.
    #[error("a sealed secret has a format that this release does not read; upgrade this node")]
    Format,
    /// Damaged, moved, or sealed under another master key.
    #[error(
        "a secret does not open: the cluster key file is another cluster's, or the secret was changed"
    )]
    DoesNotOpen,
}

impl MasterKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the key file.
    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a secret. `nonce` must be random.
    pub fn seal(
        &self,
        secret: &SecretKey,
        of: &SealedFor<'_>,
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let payload = Payload { msg: secret.expose().as_bytes(), aad: &of.bound() };
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is far shorter than the cipher's limit");
        [&[FORMAT][..], &nonce, &ciphertext].concat()
    }

    /// Opens what [`seal`](Self::seal) made for the same key and version.
    ///
    /// # Errors
    /// When it was not sealed for it, under this key.
    pub fn open(&self, sealed: &[u8], of: &SealedFor<'_>) -> Result<SecretKey, UnsealError> {
        let (format, rest) = sealed.split_first().ok_or(UnsealError::Format)?;
        let (nonce, ciphertext) =
            rest.split_first_chunk::<NONCE_BYTES>().ok_or(UnsealError::Format)?;
        if *format != FORMAT {
            return Err(UnsealError::Format);
        }
        let payload = Payload { msg: ciphertext, aad: &of.bound() };
        let text = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        let text = Zeroizing::new(text.map_err(|_| UnsealError::DoesNotOpen)?);
        let text = std::str::from_utf8(&text).map_err(|_| UnsealError::DoesNotOpen)?;
        Ok(SecretKey::new(text))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0))
    }
}

impl SealedFor<'_> {
    fn bound(&self) -> Vec<u8> {
        let (cluster, version) = (self.cluster_id.0.to_be_bytes(), self.version.to_be_bytes());
        [DOMAIN, &cluster, &version, self.key_id.as_bytes()].concat()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: SealedFor<'_> = SealedFor { cluster_id: ClusterId(7), key_id: "CF1", version: 3 };

    #[test]
    fn a_secret_opens_for_its_own_key_and_version_alone() {
        let master = MasterKey::new([9; 32]);
        let sealed = master.seal(&SecretKey::new("the secret"), &OF, [1; NONCE_BYTES]);
        assert_eq!(master.open(&sealed, &OF).unwrap().expose(), "the secret");
        for other in [
            SealedFor { cluster_id: ClusterId(8), ..OF },
            SealedFor { key_id: "CF2", ..OF },
            SealedFor { version: 4, ..OF },
        ] {
            assert_eq!(master.open(&sealed, &other).unwrap_err(), UnsealError::DoesNotOpen);
        }
        let another = MasterKey::new([8; 32]);
        assert_eq!(another.open(&sealed, &OF).unwrap_err(), UnsealError::DoesNotOpen);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let master = MasterKey::new([9; 32]);
        let sealed = master.seal(&SecretKey::new("s"), &OF, [1; NONCE_BYTES]);
        for bit in 0..8 * sealed.len() {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(master.open(&damaged, &OF).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(master.open(&sealed[..length], &OF).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_bytes_of_a_sealed_secret_never_change_and_hold_no_secret() {
        let master = MasterKey::new([9; 32]);
        let sealed = master.seal(&SecretKey::new("s"), &OF, [1; NONCE_BYTES]);
        assert_eq!(sealed[..25], [&[FORMAT][..], &[1; NONCE_BYTES]].concat()[..]);
        assert_eq!(sealed.len(), 1 + NONCE_BYTES + 1 + 16);
        assert_eq!(super::super::hex::encode(&sealed[25..]), GOLDEN);
        assert_eq!(format!("{master:?}"), "MasterKey(..)");
    }

    const GOLDEN: &str = "dea89c71ec93bcb0139c378df5b2f616a9";
}
