//! What happened: every operation of every client, with its times.

mod names;

pub use names::Names;

/// An interned key.
pub type Key = u32;
/// An interned value: each is written by one operation only.
pub type Value = u32;
/// The return of an operation that never returned: it may take effect at any later time.
pub const OPEN: u64 = u64::MAX;
/// The process behind a pinned read is not known: it says nothing of order.
pub const NO_PROCESS: u32 = u32::MAX;

/// One version of a key as somebody saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Seen {
    pub value: Value,
    pub mod_revision: u64,
    /// 0 = not known.
    pub version: u64,
    pub create_revision: u64,
}

/// A key and what it was; none = it did not exist.
pub type Observation = (Key, Option<Seen>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    /// Timed out: applied or not, now or later.
    Unknown,
    /// Refused: never applied.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Linearizable,
    Serializable,
    Historic,
    Write,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Workload {
    Register,
    Set,
    Bank,
    Skew,
}

/// One operation. Times are nanoseconds since the run began.
#[derive(Clone, Debug)]
pub struct Op {
    pub client: u32,
    /// The slot that the client speaks to, when it speaks to one only.
    pub pin: Option<usize>,
    /// Which process of the pinned slot answered.
    pub process: u32,
    pub workload: Workload,
    pub kind: Kind,
    pub call: u64,
    pub ret: u64,
    pub outcome: Outcome,
    /// A write's own revision; what a read was read at.
    pub revision: u64,
    /// Whether the compares held.
    pub held: bool,
    /// Keys and the mod revision that each must have.
    pub compares: Vec<(Key, u64)>,
    pub puts: Vec<(Key, Value)>,
    pub deletes: Vec<Key>,
    /// State at `revision`.
    pub observed: Vec<Observation>,
    /// State just before the write.
    pub before: Vec<Observation>,
    /// Why it failed.
    pub note: Option<String>,
}

impl Op {
    /// An operation that begins at `call`; whoever made it says the rest.
    pub fn new(client: u32, workload: Workload, kind: Kind, call: u64) -> Self {
        Self {
            client,
            pin: None,
            process: 0,
            workload,
            kind,
            call,
            ret: OPEN,
            outcome: Outcome::Unknown,
            revision: 0,
            held: true,
            compares: vec![],
            puts: vec![],
            deletes: vec![],
            observed: vec![],
            before: vec![],
            note: None,
        }
    }

    /// Whether it surely changed something.
    pub fn changed(&self) -> bool {
        let deleted = !self.deletes.is_empty() && self.before.iter().any(|(_, s)| s.is_some());
        self.outcome == Outcome::Ok
            && self.kind == Kind::Write
            && self.held
            && (!self.puts.is_empty() || deleted)
    }

    /// One line for a person.
    pub fn describe(&self, names: &Names) -> String {
        let pairs = |list: &[Observation]| {
            let one = |(key, seen): &Observation| {
                let seen = seen.map_or("none".into(), |s| {
                    format!("#{}@{}v{}", s.value, s.mod_revision, s.version)
                });
                format!("{}={seen}", names.key_name(*key))
            };
            list.iter().map(one).collect::<Vec<_>>().join(",")
        };
        let ret = match self.ret {
            OPEN => "open".to_owned(),
            ret => format!("{:.4}", ret as f64 / 1e9),
        };
        let named = |list: &[(Key, u64)]| -> Vec<String> {
            list.iter().map(|(key, n)| format!("{}:{n}", names.key_name(*key))).collect()
        };
        let puts: Vec<(Key, u64)> = self.puts.iter().map(|(k, v)| (*k, u64::from(*v))).collect();
        let deletes: Vec<String> = self.deletes.iter().map(|k| names.key_name(*k)).collect();
        format!(
            "[{:.4}..{ret} client {} pin {:?} {:?} {:?} {:?} revision {} held {} compares {:?} \
             puts {:?} deletes {deletes:?} observed ({}) before ({}) {}]",
            self.call as f64 / 1e9,
            self.client,
            self.pin,
            self.workload,
            self.kind,
            self.outcome,
            self.revision,
            self.held,
            named(&self.compares),
            named(&puts),
            pairs(&self.observed),
            pairs(&self.before),
            self.note.as_deref().unwrap_or_default()
        )
    }
}
