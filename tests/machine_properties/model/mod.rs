//! The semantics again, as plainly as they can be written: the whole state at every revision, and
//! every question answered by looking at all of it. It shares no code with the machine, and cares
//! for neither time nor memory.

mod reads;
mod rules;

use std::collections::BTreeMap;

use bytes::Bytes;
use chainfire::machine::StoredAnswer;
use chainfire::types::limits::{
    KEPT_ANSWER_OVERHEAD_BYTES, RETRY_WINDOW_MS, SESSION_ANSWER_BYTES_MAX, SESSION_ANSWERS_MAX,
    SESSION_GRACE_MS, SESSION_TTL_MS, SESSIONS_EXPIRED_PER_COMMAND_MAX, TXN_ANSWER_BYTES_MAX,
    USER_ANSWER_BYTES_MAX,
};
use chainfire::types::{
    Answer, ClientId, Command, CompactAnswer, DeleteRangeAnswer, DeleteRangeRequest, KeyValue,
    Operation, OperationAnswer, OperationError, PutAnswer, PutRequest, RequestId, RequestName,
    TxnAnswer, TxnOperation, TxnRequest,
};

use reads::{cost, in_range, pair_of};

/// What is stored under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) created: u64,
    pub(crate) modified: u64,
    pub(crate) version: u64,
    pub(crate) lease: i64,
    pub(crate) value: Bytes,
}

/// Every key that exists at one revision.
pub(crate) type State = BTreeMap<Bytes, Stored>;

/// What is kept of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) client: ClientId,
    pub(crate) last_active_ms: u64,
    pub(crate) window_ms: u64,
    pub(crate) lowest_unanswered: u64,
    pub(crate) answers: Vec<(u64, Operation, StoredAnswer)>,
}

impl Remembered {
    fn bytes(&self) -> u64 {
        self.answers.iter().map(|(.., answer)| bytes_of(answer)).sum()
    }
}

fn bytes_of(answer: &StoredAnswer) -> u64 {
    let encoded = postcard::to_stdvec(answer).expect("answers can be encoded");
    encoded.len() as u64 + KEPT_ANSWER_OVERHEAD_BYTES
}

/// A whole store.
pub(crate) struct Model {
    /// The state at revision 1, 2, 3...
    history: Vec<State>,
    pub(crate) compacted: u64,
    pub(crate) sessions: Vec<Remembered>,
    /// The last activity of each session that was forgotten.
    forgotten: Vec<u64>,
    now_ms: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            history: vec![State::new()],
            compacted: 0,
            sessions: Vec::new(),
            forgotten: Vec::new(),
            now_ms: 0,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.history.len() as u64
    }

    pub(crate) fn state_at(&self, revision: u64) -> &State {
        &self.history[revision as usize - 1]
    }

    /// Applies a command; one that is new changes nothing when its outcome is `decided`.
    pub(crate) fn apply_or(
        &mut self,
        command: &Command,
        decided: Option<StoredAnswer>,
    ) -> StoredAnswer {
        self.now_ms = self.now_ms.max(command.leader_time_ms);
        let now_ms = self.now_ms;
        let Some(RequestName::Session(id)) = command.request_id else {
            let answer = decided.unwrap_or_else(|| self.execute(&command.operation));
            self.expire(now_ms, None);
            return answer;
        };
        let RequestId { client, sequence, lowest_unanswered, begun_ms, window_ms } = id;
        let mut session = Remembered {
            client,
            last_active_ms: begun_ms,
            window_ms: 0,
            lowest_unanswered,
            answers: Vec::new(),
        };
        match self.sessions.iter().find(|session| session.client == client) {
            // It may be one of those, or says that it comes from the future.
            None if self.forgotten.iter().any(|used_ms| *used_ms >= begun_ms)
                || begun_ms > self.newest_begin_ms() =>
            {
                return Err(self.expired());
            }
            None => {}
            Some(known) => {
                session = known.clone();
                let mut answers = known.answers.iter();
                if let Some((_, asked, answer)) = answers.find(|(of, ..)| *of == sequence) {
                    return match *asked == command.operation {
                        true => answer.clone(),
                        false => Err(OperationError::RequestIdReused),
                    };
                }
            }
        }
        let lowest = lowest_unanswered.max(session.lowest_unanswered);
        if sequence == 0 || sequence < lowest {
            return Err(self.expired());
        }
        session.answers.retain(|(of, ..)| *of >= lowest);
        if session.answers.len() == SESSION_ANSWERS_MAX {
            return Err(OperationError::TooManyInFlight { max: SESSION_ANSWERS_MAX as u64 });
        }

        let answer = decided.unwrap_or_else(|| self.execute(&command.operation));
        self.expire(now_ms, Some(client));
        session.last_active_ms = now_ms.max(session.last_active_ms);
        session.lowest_unanswered = lowest;
        session.window_ms = session.window_ms.max(window_ms.min(RETRY_WINDOW_MS));
        let of_others = self.sessions.iter().filter(|other| other.client != client);
        let of_user = of_others.map(Remembered::bytes).sum::<u64>() + session.bytes();
        let bytes = bytes_of(&answer);
        let fits = session.bytes() + bytes <= SESSION_ANSWER_BYTES_MAX
            && of_user + bytes <= USER_ANSWER_BYTES_MAX;
        let kept = match &answer {
            Ok(Answer::Txn(txn)) if !fits => {
                Err(OperationError::AnswerNotKept { revision: txn.revision })
            }
            Ok(Answer::Put(put)) if !fits => {
                Err(OperationError::AnswerNotKept { revision: put.revision })
            }
            Ok(Answer::DeleteRange(delete)) if !fits => {
                Err(OperationError::AnswerNotKept { revision: delete.revision })
            }
            answer => (*answer).clone(),
        };
        session.answers.push((sequence, command.operation.clone(), kept));
        session.answers.sort_by_key(|(of, ..)| *of);
        self.sessions.retain(|other| other.client != client);
        self.sessions.push(session);
        answer
    }

    /// The latest time at which a session may begin.
    fn newest_begin_ms(&self) -> u64 {
        let after_all = self.forgotten.iter().max().map_or(0, |used_ms| used_ms + 1);
        self.now_ms.max(after_all)
    }

    fn expired(&self) -> OperationError {
        OperationError::SessionExpired { now_ms: self.newest_begin_ms() }
    }

    fn expire(&mut self, now_ms: u64, except: Option<ClientId>) {
        let mut overdue: Vec<_> = self
            .sessions
            .iter()
            .map(|session| {
                let due_ms = session.last_active_ms + session.window_ms + SESSION_GRACE_MS;
                (due_ms, session.client, session.last_active_ms)
            })
            .filter(|(due_ms, ..)| due_ms + SESSION_TTL_MS < now_ms)
            .filter(|(_, client, _)| Some(*client) != except)
            .collect();
        overdue.sort();
        overdue.truncate(SESSIONS_EXPIRED_PER_COMMAND_MAX);
        self.forgotten.extend(overdue.iter().map(|(.., used_ms)| *used_ms));
        self.sessions.retain(|session| !overdue.iter().any(|(_, gone, _)| *gone == session.client));
    }

    fn execute(&mut self, operation: &Operation) -> StoredAnswer {
        rules::check(operation)?;
        let mut attempt = Attempt::new(self);
        let answer = match operation {
            Operation::Put(request) => Answer::Put(attempt.put(request)?),
            Operation::DeleteRange(request) => Answer::DeleteRange(attempt.delete(request)?),
            Operation::Txn(request) => Answer::Txn(attempt.txn(request)?),
            Operation::Compact(request) => return self.compact(request.revision),
            Operation::RegisterMember { .. } => Answer::RegisterMember,
            Operation::Access(_) | Operation::Cluster(_) | Operation::ContinueDelete { .. } => {
                unreachable!("none is generated")
            }
        };
        let Attempt { now, wrote, .. } = attempt;
        if wrote {
            self.history.push(now);
        }
        Ok(answer)
    }

    fn compact(&mut self, requested: u64) -> StoredAnswer {
        let current = self.revision();
        if requested <= self.compacted {
            let compact_revision = self.compacted;
            return Err(OperationError::Compacted { requested, compact_revision });
        }
        if requested > current {
            return Err(OperationError::FutureRevision { requested, current });
        }
        self.compacted = requested;
        Ok(Answer::Compact(CompactAnswer { revision: current }))
    }

    pub(crate) fn read_txn(&self, request: &TxnRequest) -> Result<TxnAnswer, OperationError> {
        rules::check(&Operation::Txn(request.clone()))?;
        if !rules::only_reads(request) {
            return Err(OperationError::NotReadOnly);
        }
        Attempt::new(self).txn(request)
    }
}

/// A request on its way, on a copy of the state.
struct Attempt<'a> {
    model: &'a Model,
    now: State,
    wrote: bool,
    /// Bytes it may still answer.
    left: usize,
}

impl<'a> Attempt<'a> {
    fn new(model: &'a Model) -> Self {
        let now = model.state_at(model.revision()).clone();
        Self { model, now, wrote: false, left: TXN_ANSWER_BYTES_MAX }
    }

    fn revision(&self) -> u64 {
        if self.wrote { self.model.revision() + 1 } else { self.model.revision() }
    }

    fn answer_pair(&mut self, pair: KeyValue) -> Result<KeyValue, OperationError> {
        if cost(&pair) > self.left {
            return Err(OperationError::AnswerTooLarge { max: TXN_ANSWER_BYTES_MAX as u64 });
        }
        self.left -= cost(&pair);
        Ok(pair)
    }

    fn put(&mut self, request: &PutRequest) -> Result<PutAnswer, OperationError> {
        let before = self.now.get(&request.key).cloned();
        if (request.ignore_value || request.ignore_lease) && before.is_none() {
            return Err(OperationError::KeyNotFound);
        }
        if request.lease != 0 {
            return Err(OperationError::LeaseNotFound { lease: request.lease });
        }
        let prev_kv = match &before {
            Some(stored) if request.prev_kv => {
                Some(self.answer_pair(pair_of(&request.key, stored))?)
            }
            _ => None,
        };
        self.wrote = true;
        let mut stored = Stored {
            created: self.revision(),
            modified: self.revision(),
            version: 1,
            lease: 0,
            value: request.value.clone(),
        };
        if let Some(before) = before {
            stored.created = before.created;
            stored.version = before.version + 1;
            if request.ignore_value {
                stored.value = before.value;
            }
            if request.ignore_lease {
                stored.lease = before.lease;
            }
        }
        self.now.insert(request.key.clone(), stored);
        Ok(PutAnswer { revision: self.revision(), prev_kv })
    }

    fn delete(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeAnswer, OperationError> {
        let mut prev_kvs = Vec::new();
        let mut deleted = 0;
        for (key, stored) in self.now.clone() {
            if !in_range(&request.range, &key) {
                continue;
            }
            self.now.remove(&key);
            self.wrote = true;
            deleted += 1;
            if request.prev_kv {
                prev_kvs.push(self.answer_pair(pair_of(&key, &stored))?);
            }
        }
        Ok(DeleteRangeAnswer { revision: self.revision(), deleted, prev_kvs })
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<TxnAnswer, OperationError> {
        let before = self.model.state_at(self.model.revision());
        let succeeded = request.compares.iter().all(|compare| reads::holds(before, compare));
        let branch = if succeeded { &request.success } else { &request.failure };
        let mut answers = Vec::new();
        for operation in branch {
            answers.push(match operation {
                TxnOperation::Put(request) => OperationAnswer::Put(self.put(request)?),
                TxnOperation::DeleteRange(request) => {
                    OperationAnswer::DeleteRange(self.delete(request)?)
                }
                TxnOperation::Txn(request) => OperationAnswer::Txn(self.txn(request)?),
                TxnOperation::Range(request) => {
                    let state = match request.revision {
                        0 => &self.now,
                        revision => self.model.readable(revision)?,
                    };
                    let mut answer = reads::read_whole(state, request, self.left)?;
                    self.left -= answer.kvs.iter().map(cost).sum::<usize>();
                    answer.revision = self.revision();
                    OperationAnswer::Range(answer)
                }
            });
        }
        Ok(TxnAnswer { revision: self.revision(), succeeded, answers })
    }
}
