//! Clients that lose answers, retry, are overtaken by their own duplicates, and go silent for
//! longer than their sessions last; and one that keeps to no rule at all.

use std::collections::{BTreeMap, VecDeque};

use chainfire::machine::StoredAnswer;
use chainfire::types::limits::{RETRY_WINDOW_MS, SESSION_TTL_MS};
use chainfire::types::{
    ClientId, Command, Operation, OperationError, Principal, RequestId, RequestName,
};

use crate::generator::{Generator, Revisions};

/// How many of the network's late duplicates are kept.
const DUPLICATES_MAX: usize = 16;

/// A client that follows the protocol.
struct Client {
    id: ClientId,
    /// The replicated time it began with.
    begun_ms: u64,
    next_sequence: u64,
    /// Its unanswered writes, each with the time of its first try.
    unanswered: BTreeMap<u64, (Operation, u64)>,
}

impl Client {
    fn new(id: ClientId, begun_ms: u64) -> Self {
        Self { id, begun_ms, next_sequence: 1, unanswered: BTreeMap::new() }
    }

    fn request_id(&self, sequence: u64) -> RequestId {
        let lowest = self.unanswered.keys().next().copied().unwrap_or(self.next_sequence);
        RequestId {
            client: self.id,
            sequence,
            lowest_unanswered: lowest,
            begun_ms: self.begun_ms,
            window_ms: RETRY_WINDOW_MS,
        }
    }
}

/// Everybody who writes, and the replicated clock.
pub(crate) struct Clients {
    clients: Vec<Client>,
    /// What the network may deliver once more, with the time of its first try.
    duplicates: VecDeque<(Command, u64)>,
    now_ms: u64,
}

impl Clients {
    pub(crate) fn new(generator: &mut Generator) -> Self {
        let clients = (0..4).map(|_| Client::new(ClientId(generator.client_id()), 0)).collect();
        Self { clients, duplicates: VecDeque::new(), now_ms: 1 }
    }

    /// The next command that enters the log.
    pub(crate) fn next_command(
        &mut self,
        generator: &mut Generator,
        revisions: Revisions,
    ) -> Command {
        self.now_ms += match generator.chance(4) {
            true => generator.below(SESSION_TTL_MS * 2),
            false => generator.below(3_000),
        };
        match generator.below(100) {
            0..10 => self.late_duplicate(generator, revisions),
            10..25 => {
                let request_id = RequestId {
                    client: ClientId(generator.below(2).into()),
                    sequence: generator.below(12),
                    lowest_unanswered: generator.below(8),
                    begun_ms: self.now_ms + generator.below(3) - 1,
                    window_ms: generator.below(2 * RETRY_WINDOW_MS),
                };
                self.command(Some(request_id), generator.operation(revisions))
            }
            25..32 => self.command(None, generator.operation(revisions)),
            _ => self.of_honest_client(generator, revisions),
        }
    }

    fn late_duplicate(&mut self, generator: &mut Generator, revisions: Revisions) -> Command {
        let oldest_ms = self.now_ms.saturating_sub(RETRY_WINDOW_MS);
        self.duplicates.retain(|(_, sent_ms)| *sent_ms >= oldest_ms);
        if self.duplicates.is_empty() {
            return self.of_honest_client(generator, revisions);
        }
        let index = generator.below(self.duplicates.len() as u64) as usize;
        let (duplicate, _) = self.duplicates[index].clone();
        Command { leader_time_ms: self.now_ms, ..duplicate }
    }

    fn of_honest_client(&mut self, generator: &mut Generator, revisions: Revisions) -> Command {
        let now_ms = self.now_ms;
        let index = generator.below(self.clients.len() as u64) as usize;
        let client = &mut self.clients[index];
        // A client gives up on what it could not send for too long, and calls it unknown.
        client.unanswered.retain(|_, (_, sent_ms)| now_ms - *sent_ms <= RETRY_WINDOW_MS);
        let sequence = match client.unanswered.is_empty() || generator.chance(60) {
            true => {
                let sequence = client.next_sequence;
                client.next_sequence += 1;
                client.unanswered.insert(sequence, (generator.operation(revisions), now_ms));
                sequence
            }
            false => {
                let retried = generator.below(client.unanswered.len() as u64) as usize;
                *client.unanswered.keys().nth(retried).expect("the index is below the length")
            }
        };
        let (operation, sent_ms) = client.unanswered[&sequence].clone();
        let request_id = client.request_id(sequence);
        let command = self.command(Some(request_id), operation);
        self.duplicates.push_back((command.clone(), sent_ms));
        if self.duplicates.len() > DUPLICATES_MAX {
            self.duplicates.pop_front();
        }
        command
    }

    /// An answer that may get lost on its way to the client.
    pub(crate) fn answered(
        &mut self,
        generator: &mut Generator,
        command: &Command,
        answer: &StoredAnswer,
    ) {
        let Some(RequestName::Session(request)) = command.request_id else { return };
        let RequestId { client: id, sequence, .. } = request;
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        if generator.chance(35) || client.unanswered.remove(&sequence).is_none() {
            return;
        }
        if let Err(OperationError::SessionExpired { now_ms }) = answer {
            *client = Client::new(ClientId(generator.client_id()), *now_ms);
        }
    }

    /// What the cluster proposes itself, at this moment.
    pub(crate) fn of_the_cluster(&self, operation: Operation) -> Command {
        self.command(None, operation)
    }

    fn command(&self, request_id: Option<RequestId>, operation: Operation) -> Command {
        Command {
            request_id: request_id.map(RequestName::from),
            principal: Principal::anyone(),
            auth_revision: 3,
            leader_time_ms: self.now_ms,
            operation,
        }
    }

    /// Whether a client follows the protocol, so that each of its writes applies at most once.
    pub(crate) fn is_honest(id: ClientId) -> bool {
        id.0 > 1
    }
}
