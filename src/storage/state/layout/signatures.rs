//! The `signatures` table: signed requests that stand alone, with their answers.
//!
//! ```text
//! key:   [date: u64, seconds since 1970][signature: 32 bytes]
//! value: envelope of a `KeptSignature`
//! ```

use super::{LayoutError, take};
use crate::machine::KeptSignature;
use crate::storage::envelope;
use crate::types::SignatureKey;

/// The newest version of the record, and the one written.
const VERSION: u8 = 1;

/// A signature's key: in the order of dates.
pub(crate) fn encode_signature_key(key: &SignatureKey) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(&key.dated_seconds.to_be_bytes());
    bytes[8..].copy_from_slice(&key.signature);
    bytes
}

/// [`encode_signature_key`] back.
pub(crate) fn decode_signature_key(bytes: &[u8]) -> Result<SignatureKey, LayoutError> {
    let (dated, rest) = take::<8>(bytes)?;
    match take::<32>(rest)? {
        (signature, []) => {
            let dated_seconds = u64::from_be_bytes(*dated);
            Ok(SignatureKey { dated_seconds, signature: *signature })
        }
        _ => Err(LayoutError::Length { length: bytes.len() }),
    }
}

/// A signature's value.
pub(crate) fn encode_signature(kept: &KeptSignature) -> Vec<u8> {
    envelope::seal(VERSION, kept)
}

/// [`encode_signature`] back.
pub(crate) fn decode_signature(bytes: &[u8]) -> Result<KeptSignature, LayoutError> {
    Ok(envelope::unseal(VERSION, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Answer, Principal, PutAnswer};

    #[test]
    fn the_bytes_are_pinned() {
        let key = SignatureKey { dated_seconds: 0x0102, signature: [7; 32] };
        let bytes = encode_signature_key(&key);
        assert_eq!(bytes[..9], [0, 0, 0, 0, 0, 0, 1, 2, 7]);
        assert_eq!(decode_signature_key(&bytes), Ok(key));
        assert!(decode_signature_key(&bytes[1..]).is_err());
        let kept = KeptSignature {
            owner: Principal("ann".to_owned()),
            kept_until_ms: 300,
            answer: Ok(Answer::Put(PutAnswer { revision: 7, prev_kv: None })),
        };
        let bytes = encode_signature(&kept);
        let body = [3, b'a', b'n', b'n', 0xac, 2, 0, 0, 7, 0];
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], body);
        assert_eq!(decode_signature(&bytes), Ok(kept));
    }
}
