//! Requests and what is noted of each: every attempt of a client to read or change something.

use std::future::IntoFuture;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chainfire::client::{Condition, Error, Step, Txn};
use chainfire::types::{KeyRange, KeyValue, OperationAnswer, TxnOperation};

use super::Worker;
use crate::arguments::ClientFault;
use crate::history::{Key, Kind, NO_PROCESS, Observation, Op, Outcome, Seen};

/// The shortest time that a read is given.
const READ_TIMEOUT_MIN: Duration = Duration::from_millis(300);

/// How a compare-and-swap ended.
pub struct Swapped {
    pub outcome: Outcome,
    /// Whether it was acknowledged and its compares held.
    pub held: bool,
}

impl Worker {
    fn op(&self, kind: Kind) -> Op {
        let mut op = Op::new(self.id, self.workload, kind, self.world.now());
        op.pin = self.pin;
        op.process = self.world.process(self.pin);
        op
    }

    fn seen(&self, pair: &KeyValue) -> Option<Seen> {
        match self.world.names.parse(&pair.value) {
            Ok(value) => Some(Seen {
                value,
                mod_revision: pair.mod_revision,
                version: pair.version,
                create_revision: pair.create_revision,
            }),
            Err(reason) => {
                self.world.report_broken(format!("{:?}: {reason}", pair.key));
                None
            }
        }
    }

    fn observed(&self, pairs: &[KeyValue], expected: &[Key]) -> Vec<Observation> {
        let mut all: Vec<Observation> = expected.iter().map(|key| (*key, None)).collect();
        for pair in pairs {
            let key = self.world.names.key(&String::from_utf8_lossy(&pair.key));
            let seen = self.seen(pair);
            match all.iter_mut().find(|(k, _)| *k == key) {
                Some(observation) => observation.1 = seen,
                None => all.push((key, seen)),
            }
        }
        all
    }

    /// Notes an operation's end.
    fn finish<T>(&mut self, mut op: Op, result: &Result<T, Error>) -> Outcome {
        let now = self.world.now();
        op.outcome = match result {
            Ok(_) => Outcome::Ok,
            // Applied, and what it returned is lost: less is noted than could be, and nothing wrong.
            Err(Error::Unknown { .. } | Error::Applied { .. }) => Outcome::Unknown,
            Err(Error::Failed(failed)) => {
                op.note = Some(failed.to_string());
                Outcome::Failed
            }
        };
        if op.outcome != Outcome::Unknown {
            op.ret = now;
        }
        if op.outcome == Outcome::Ok && op.kind != Kind::Historic {
            self.world.last_revision.fetch_max(op.revision, Ordering::Relaxed);
        }
        // The process behind a pin may have changed meanwhile: then this says nothing of order.
        if self.world.process(self.pin) != op.process {
            op.process = NO_PROCESS;
        }
        let outcome = op.outcome;
        self.log.push(op);
        outcome
    }

    /// Reads a range at a revision (0 = now); returns what was seen.
    pub async fn read(
        &mut self,
        range: KeyRange,
        expected: &[Key],
        kind: Kind,
        at: u64,
    ) -> Option<Vec<Observation>> {
        let mut client = self.client.clone();
        let mut local = kind == Kind::Serializable;
        let stale = self.world.client_fault == Some(ClientFault::StaleRead);
        if kind == Kind::Linearizable && stale && self.rng.chance(15) {
            local = true;
            client = self.rng.one_of(&self.others).clone();
        }
        let mut op = self.op(kind);
        let mut request = client.range(range).timeout(self.timeout.max(READ_TIMEOUT_MIN));
        if local {
            request = request.serializable();
        }
        if at > 0 {
            request = request.revision(at);
        }
        let result = request.await;
        let mut seen = None;
        if let Ok(answer) = &result {
            op.observed = self.observed(&answer.kvs, expected);
            op.revision = if at > 0 { at } else { answer.revision };
            seen = Some(op.observed.clone());
        }
        self.finish(op, &result);
        seen
    }

    /// Reads keys in a transaction that cannot write.
    pub async fn read_in_transaction(&mut self, keys: &[Key], kind: Kind) {
        let mut op = self.op(kind);
        let txn = Txn::new().then(keys.iter().map(|k| Step::get(self.world.names.key_name(*k))));
        let mut request = self.client.txn(txn).timeout(self.timeout.max(READ_TIMEOUT_MIN));
        if kind == Kind::Serializable {
            request = request.serializable();
        }
        let result = request.await;
        if let Ok(answer) = &result {
            let pairs = ranges(&answer.answers);
            for part in &answer.answers {
                if let OperationAnswer::Range(range) = part
                    && range.revision != answer.revision
                {
                    let (part, whole) = (range.revision, answer.revision);
                    let text = format!("a range at {part} in a transaction at {whole}");
                    self.world.report_broken(text);
                }
            }
            op.observed = self.observed(&pairs, keys);
            op.revision = answer.revision;
        }
        self.finish(op, &result);
    }

    /// Puts; with `previous` it asks what was there.
    pub async fn put(&mut self, key: Key, payload: &str, previous: bool) -> Outcome {
        let (value, text) = self.world.names.new_value(payload);
        let mut op = self.op(Kind::Write);
        op.puts.push((key, value));
        let name = self.world.names.key_name(key);
        let mut request = self.client.put(name.clone(), text.clone()).timeout(self.timeout);
        if previous {
            request = request.prev_kv();
        }
        let result = if self.cancels {
            let patience = Duration::from_micros(self.rng.between(100, 9_000));
            let dropped = || Err(Error::Unknown { reason: "dropped".into() });
            let request = request.into_future();
            tokio::time::timeout(patience, request).await.unwrap_or_else(|_| dropped())
        } else {
            request.await
        };
        let resend = self.world.client_fault == Some(ClientFault::Resend);
        if resend && matches!(result, Err(Error::Unknown { .. })) {
            let _ = self.client.put(name, text).timeout(Duration::from_secs(3)).await;
        }
        if let Ok(answer) = &result {
            op.revision = answer.revision;
            if previous {
                let before = answer.prev_kv.as_ref().and_then(|pair| self.seen(pair));
                op.before.push((key, before));
            }
        }
        self.finish(op, &result)
    }

    pub async fn delete(&mut self, key: Key) -> Outcome {
        let mut op = self.op(Kind::Write);
        op.deletes.push(key);
        let name = self.world.names.key_name(key);
        let result = self.client.delete(name).prev_kv().timeout(self.timeout).await;
        if let Ok(answer) = &result {
            op.revision = answer.revision;
            let before = answer.prev_kvs.first();
            if (answer.deleted == 1) != before.is_some() {
                let text = format!("deleted {} but prev_kvs {before:?}", answer.deleted);
                self.world.report_broken(text);
            }
            op.before.push((key, before.and_then(|pair| self.seen(pair))));
        }
        self.finish(op, &result)
    }

    /// Puts if every key's mod revision is as given; reads `reads` before the puts, or instead.
    pub async fn compare_and_swap(
        &mut self,
        compares: &[(Key, u64)],
        puts: &[(Key, String)],
        reads: &[Key],
    ) -> Swapped {
        let names = &self.world.names;
        let mut op = self.op(Kind::Write);
        let mut writes = vec![];
        for (key, payload) in puts {
            let (value, text) = names.new_value(payload);
            op.puts.push((*key, value));
            writes.push(Step::put(names.key_name(*key), text));
        }
        op.compares = compares.to_vec();
        let conditions = compares
            .iter()
            .map(|(key, revision)| Condition::mod_revision(names.key_name(*key)).equals(*revision));
        let gets: Vec<TxnOperation> =
            reads.iter().map(|key| Step::get(names.key_name(*key))).collect();
        let then = gets.iter().cloned().chain(writes);
        let txn = Txn::new().when(conditions).then(then).or_else(gets.clone());
        let result = self.client.txn(txn).timeout(self.timeout).await;
        let mut held = false;
        if let Ok(answer) = &result {
            op.revision = answer.revision;
            op.held = answer.succeeded;
            held = answer.succeeded;
            let seen = self.observed(&ranges(&answer.answers), reads);
            if held { op.before = seen } else { op.observed = seen }
        }
        Swapped { outcome: self.finish(op, &result), held }
    }
}

/// The pairs of a transaction's reads.
fn ranges(answers: &[OperationAnswer]) -> Vec<KeyValue> {
    let mut pairs = vec![];
    for part in answers {
        if let OperationAnswer::Range(range) = part {
            pairs.extend(range.kvs.clone());
        }
    }
    pairs
}
