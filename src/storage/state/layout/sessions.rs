//! The `sessions` table: what is kept of each client so that its retries apply once.
//!
//! ```text
//! key:   [client id: u128]
//! value: envelope of `SessionRecord`
//! ```

use serde::{Deserialize, Serialize};

use super::answers::answer_bytes;
use super::{LayoutError, take};
use crate::machine::{KeptAnswer, StoredAnswer, kept_bytes};
use crate::storage::envelope;
use crate::types::{ClientId, Principal};

/// The newest version of the record, and the one written.
const VERSION: u8 = 1;

/// Longest encoded answer kept inside the session's record, in bytes; a longer one lies in
/// `answers`, so that a client's next write does not write it again.
pub(crate) const INLINE_ANSWER_BYTES_MAX: usize = 1_024;

/// One client's session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    /// Whose it is.
    pub(crate) owner: Principal,
    /// Replicated time of the client's last command, in milliseconds.
    pub(crate) last_active_ms: u64,
    /// For how long after its first try the client may send a write again, in milliseconds.
    pub(crate) window_ms: u64,
    /// Sequences below this were answered and their answers forgotten.
    pub(crate) lowest_unanswered: u64,
    /// The answers from there on, ascending by sequence.
    pub(crate) answers: Vec<(u64, AnswerRecord)>,
}

/// An answer with what it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerRecord {
    /// Of who asked and of what.
    pub(crate) fingerprint: u64,
    /// The answer.
    pub(crate) slot: AnswerSlot,
}

/// Where an answer lies. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AnswerSlot {
    /// Here.
    Inline(StoredAnswer),
    /// In the `answers` table.
    Overflow {
        /// What it counts among the bytes that are kept.
        kept_bytes: u64,
    },
}

impl AnswerRecord {
    /// With the answer in it.
    pub(crate) fn inline(answer: KeptAnswer) -> Self {
        let KeptAnswer { fingerprint, answer } = answer;
        Self { fingerprint, slot: AnswerSlot::Inline(answer) }
    }

    /// What it counts among the bytes that are kept.
    pub(crate) fn kept_bytes(&self) -> u64 {
        match &self.slot {
            AnswerSlot::Inline(answer) => kept_bytes(answer),
            AnswerSlot::Overflow { kept_bytes } => *kept_bytes,
        }
    }
}

impl AnswerSlot {
    /// Whether it is an answer that belongs into the `answers` table.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self, Self::Inline(answer) if answer_bytes(answer) > INLINE_ANSWER_BYTES_MAX)
    }
}

/// A client's key.
pub(crate) fn encode_client(client: ClientId) -> [u8; 16] {
    client.0.to_be_bytes()
}

/// [`encode_client`] back.
pub(crate) fn decode_client(bytes: &[u8]) -> Result<ClientId, LayoutError> {
    match take::<16>(bytes)? {
        (client, []) => Ok(ClientId(u128::from_be_bytes(*client))),
        _ => Err(LayoutError::Length { length: bytes.len() }),
    }
}

/// A session's value.
pub(crate) fn encode_session(record: &SessionRecord) -> Vec<u8> {
    envelope::seal(VERSION, record)
}

/// [`encode_session`] back.
pub(crate) fn decode_session(bytes: &[u8]) -> Result<SessionRecord, LayoutError> {
    Ok(envelope::unseal(VERSION, bytes)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Answer, OperationError, PutAnswer};

    fn put_answer(revision: u64) -> StoredAnswer {
        Ok(Answer::Put(PutAnswer { revision, prev_kv: None }))
    }

    #[test]
    fn the_bytes_are_pinned() {
        let record = |fingerprint, slot| AnswerRecord { fingerprint, slot };
        let record = SessionRecord {
            owner: Principal("ann".to_owned()),
            last_active_ms: 300,
            window_ms: 128,
            lowest_unanswered: 4,
            answers: vec![
                (4, record(9, AnswerSlot::Inline(put_answer(7)))),
                (5, record(8, AnswerSlot::Inline(Err(OperationError::KeyNotFound)))),
                (6, record(7, AnswerSlot::Overflow { kept_bytes: 300 })),
            ],
        };
        let body = [
            &[3, b'a', b'n', b'n', 0xac, 2, 128, 1, 4][..],
            &[3, 4, 9, 0, 0, 0, 7, 0, 5, 8, 0, 1, 2, 6, 7, 1, 0xac, 2],
        ]
        .concat();
        let bytes = encode_session(&record);
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], body);
        assert_eq!(encode_client(ClientId(0x0102))[14..], [1, 2]);
    }

    proptest! {
        #[test]
        fn a_session_survives_the_way_there_and_back(
            last_active_ms in any::<u64>(),
            answers in prop::collection::vec((any::<u64>(), prop::option::of(any::<u64>())), 0..9),
        ) {
            let slot = |revision: Option<u64>| AnswerRecord {
                fingerprint: revision.unwrap_or(3),
                slot: match revision {
                    Some(revision) => AnswerSlot::Inline(put_answer(revision)),
                    None => AnswerSlot::Overflow { kept_bytes: 7 },
                },
            };
            let answers: Vec<_> =
                answers.into_iter().map(|(sequence, revision)| (sequence, slot(revision))).collect();
            let record = SessionRecord {
                owner: Principal("ann".to_owned()),
                last_active_ms,
                window_ms: 5,
                lowest_unanswered: 1,
                answers,
            };
            prop_assert_eq!(decode_session(&encode_session(&record)), Ok(record));
        }

        #[test]
        fn a_client_survives_the_way_there_and_back(client in any::<u128>()) {
            let client = ClientId(client);
            prop_assert_eq!(decode_client(&encode_client(client)), Ok(client));
        }
    }
}
