//! The `answers` table: answers too long for their session's record.
//!
//! ```text
//! key:   [client id: u128][sequence: u64]
//! value: envelope of a `StoredAnswer`
//! ```

use super::LayoutError;
use super::sessions::encode_client;
use crate::machine::StoredAnswer;
use crate::storage::envelope;
use crate::types::ClientId;

/// The newest version of the record, and the one written.
const VERSION: u8 = 1;

/// An answer's key.
pub(crate) fn encode_answer_key(client: ClientId, sequence: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&encode_client(client));
    key[16..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// An answer's value.
pub(crate) fn encode_answer(answer: &StoredAnswer) -> Vec<u8> {
    envelope::seal(VERSION, answer)
}

/// [`encode_answer`] back.
pub(crate) fn decode_answer(bytes: &[u8]) -> Result<StoredAnswer, LayoutError> {
    Ok(envelope::unseal(VERSION, bytes)?)
}

/// The bytes an answer takes, without its envelope.
pub(crate) fn answer_bytes(answer: &StoredAnswer) -> usize {
    postcard::experimental::serialized_size(answer)
        .expect("no field of an answer refuses to be serialised")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Answer, KeyValue, PutAnswer};

    #[test]
    fn the_bytes_are_pinned() {
        let answer = Ok(Answer::Put(PutAnswer { revision: 7, prev_kv: None }));
        assert_eq!(encode_answer(&answer)[envelope::ENVELOPE_BYTES..], [0, 0, 7, 0]);
        let key = encode_answer_key(ClientId(1), 0x0203);
        assert_eq!(key[15..], [1, 0, 0, 0, 0, 0, 0, 2, 3]);
    }

    proptest! {
        #[test]
        fn an_answer_survives_the_way_there_and_back(value in any::<Vec<u8>>()) {
            let kv = KeyValue {
                key: "key".into(),
                value: value.into(),
                create_revision: 2,
                mod_revision: 3,
                version: 4,
                lease: 5,
            };
            let answer = Ok(Answer::Put(PutAnswer { revision: 9, prev_kv: Some(kv) }));
            let bytes = encode_answer(&answer);
            prop_assert_eq!(bytes.len(), envelope::ENVELOPE_BYTES + answer_bytes(&answer));
            prop_assert_eq!(decode_answer(&bytes), Ok(answer));
        }
    }
}
