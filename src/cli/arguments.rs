//! What can be typed. Names after etcdctl where it has one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::access::{KeyCommand, RoleCommand, UserCommand};
use super::bench::BenchArguments;
use super::bytes::from_argument;
use super::failure::CommandError;
use super::tls::TlsArguments;
use crate::auth::{Credentials, CredentialsError};
use crate::client::{Client, ClientBuilder, DEFAULT_ENDPOINT};
use crate::types::{KeyRange, SortOrder, SortTarget};

/// A strongly consistent, replicated key-value store.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 outcome unknown.
#[derive(Debug, Parser)]
#[command(name = "chainfire", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// In place of a file of credentials: requests are not signed.
const NO_CREDENTIALS: &str = "none";

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// Client addresses of the cluster's nodes, each HOST:PORT; any of them does
    #[arg(
        long,
        global = true,
        env = "CHAINFIRE_ENDPOINTS",
        value_name = "A,B,C",
        value_delimiter = ',',
        default_value = DEFAULT_ENDPOINT
    )]
    pub(super) endpoints: Vec<String>,
    /// The file with the access key to sign with; 'none' does not sign, for nodes that run
    /// without authentication
    #[arg(long, global = true, env = "CHAINFIRE_CREDENTIALS", value_name = "FILE")]
    pub(super) credentials: Option<PathBuf>,
    #[command(flatten)]
    pub(super) tls: TlsArguments,
    /// How long one request may take, retries included: 500ms, 10s, 2m
    #[arg(long, global = true, default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub(super) timeout: Duration,
    /// How to write the answer
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: OutputFormat,
}

/// How to write an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people: keys and values as the bytes they are
    #[default]
    Text,
    /// For programs: one JSON object, keys and values in base64
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a node
    #[cfg(feature = "server")]
    Serve(Box<super::serve::ServeArguments>),
    /// Make the keys of a new cluster: one file for its nodes, one for its root user
    #[cfg(feature = "server")]
    Keygen(super::keygen::KeygenArguments),
    /// Make a link that reads one key until it expires
    Presign(super::presign::PresignArguments),
    /// Store a value under a key
    Put(PutArguments),
    /// Read a key or a range of keys
    Get(GetArguments),
    /// Delete a key or a range of keys
    Del(DeleteArguments),
    /// Compare, then do one thing or the other, atomically
    Txn(TxnArguments),
    /// Forget the history before a revision
    #[command(alias = "compaction")]
    Compact(CompactArguments),
    /// Write every pair as lines of JSON, all at one revision
    Export(ExportArguments),
    /// Store the pairs of an export
    Import(ImportArguments),
    /// Ask each endpoint how its node is
    Status,
    /// Look at what an operator must act on
    Alarm {
        /// What to do with alarms
        #[command(subcommand)]
        command: AlarmCommand,
    },
    /// Look at the cluster's members, and change who is one
    Member {
        /// What to do with them
        #[command(subcommand)]
        command: MemberCommand,
    },
    /// Look at users, and change who may do what
    User {
        /// What to do with users
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Look at roles, and change what they grant
    Role {
        /// What to do with roles
        #[command(subcommand)]
        command: RoleCommand,
    },
    /// Look at access keys, make and retire them
    Key {
        /// What to do with keys
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Say which user signs, with which key and roles
    Whoami,
    /// Back the whole store up, and make data directories from backups
    #[cfg(feature = "server")]
    Snapshot {
        /// What to do with snapshots
        #[command(subcommand)]
        command: super::snapshot::SnapshotCommand,
    },
    /// Look at the nodes that join
    Join {
        /// What to do
        #[command(subcommand)]
        command: JoinCommand,
    },
    /// Give leadership to another voter
    MoveLeader {
        /// The voter's id or name; left out, the one with the longest log
        to: Option<String>,
    },
    /// Measure operations a second and their latency
    Bench(BenchArguments),
    /// Write a completion script for a shell
    Completion {
        /// Which shell
        shell: Shell,
    },
}

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(super) enum MemberCommand {
    /// List the members, and the nodes that join
    List,
    /// Add a node that took a snapshot (serve --bootstrap-from) and waits
    Add {
        /// The node's id, name or peer address
        node: String,
        /// Add it as a learner, which does not vote
        #[arg(long)]
        learner: bool,
    },
    /// Call off the join of a node
    Cancel {
        /// The node's id or name
        node: String,
    },
    /// Make a learner a voter
    Promote(MemberChange),
    /// Make a voter a learner
    Demote(MemberChange),
    /// Make a member leave; a leader hands over first
    Remove(MemberChange),
    /// Make a learner a voter in the place of a member that leaves, in one change
    Replace {
        /// The id or name of the member that leaves
        old: String,
        /// The learner's id or name
        new: String,
        /// Also when too few of the voters afterwards are alive
        #[arg(long)]
        force: bool,
    },
    /// Change where a member is reached
    Update {
        /// The member's id or name
        node: String,
        /// Where the other nodes reach it
        #[arg(long, value_name = "HOST:PORT", required_unless_present = "client_addr")]
        peer_addr: Option<String>,
        /// Where clients reach it
        #[arg(long, value_name = "HOST:PORT")]
        client_addr: Option<String>,
    },
}

/// A change of one member's part.
#[derive(Clone, Debug, Args)]
pub(super) struct MemberChange {
    /// The member's id or name
    pub(super) node: String,
    /// Also when too few of the voters afterwards are alive
    #[arg(long)]
    pub(super) force: bool,
}

/// What to do about alarms.
#[derive(Debug, Subcommand)]
pub(super) enum AlarmCommand {
    /// What is wrong at each endpoint, until it is mended
    List,
}

/// What to do about joins.
#[derive(Debug, Subcommand)]
pub(super) enum JoinCommand {
    /// How far each join is
    Status,
}

/// `put`.
#[derive(Clone, Debug, Args)]
pub(super) struct PutArguments {
    /// The key
    pub(super) key: OsString,
    /// The value; read from standard input when left out. Write `put -- KEY VALUE` when one
    /// begins with a dash
    pub(super) value: Option<OsString>,
    /// Write the previous pair as well
    #[arg(long)]
    pub(super) prev_kv: bool,
    /// Keep the key's value, for instance to detach its lease; the key must exist
    #[arg(long, conflicts_with = "value")]
    pub(super) ignore_value: bool,
    /// Keep the key's lease; the key must exist
    #[arg(long)]
    pub(super) ignore_lease: bool,
}

/// Which keys, for `get` and `del`.
#[derive(Clone, Debug, Args)]
pub(super) struct KeyArguments {
    /// The key
    key: OsString,
    /// The end of a range that starts at KEY, exclusive
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    range_end: Option<OsString>,
    /// Every key that starts with KEY
    #[arg(long)]
    prefix: bool,
    /// Every key that is KEY or comes after it
    #[arg(long, conflicts_with = "prefix")]
    from_key: bool,
}

/// `get`.
#[derive(Clone, Debug, Args)]
pub(super) struct GetArguments {
    #[command(flatten)]
    pub(super) keys: KeyArguments,
    /// Most pairs to answer; 0 = no limit
    #[arg(long, default_value_t = 0, value_name = "PAIRS")]
    pub(super) limit: u64,
    /// Read at this revision; 0 = the current one
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    pub(super) rev: u64,
    /// Order by this
    #[arg(long, value_enum, ignore_case = true, value_name = "FIELD")]
    pub(super) sort_by: Option<SortBy>,
    /// The direction of the order
    #[arg(long, value_enum, ignore_case = true, value_name = "DIRECTION")]
    pub(super) order: Option<Order>,
    /// Leave the values out
    #[arg(long)]
    pub(super) keys_only: bool,
    /// Answer the number of keys alone
    #[arg(long, conflicts_with = "keys_only")]
    pub(super) count_only: bool,
    /// Write the values alone
    #[arg(long, alias = "print-value-only", conflicts_with_all = ["keys_only", "count_only"])]
    pub(super) value_only: bool,
    /// Answer what the asked node knows, without asking the leader; may be stale
    #[arg(long)]
    pub(super) serializable: bool,
    /// Only pairs last changed at this revision or later
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    pub(super) min_mod_rev: u64,
    /// Only pairs last changed at this revision or earlier
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    pub(super) max_mod_rev: u64,
    /// Only pairs created at this revision or later
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    pub(super) min_create_rev: u64,
    /// Only pairs created at this revision or earlier
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    pub(super) max_create_rev: u64,
}

/// `del`.
#[derive(Clone, Debug, Args)]
pub(super) struct DeleteArguments {
    #[command(flatten)]
    pub(super) keys: KeyArguments,
    /// Write the deleted pairs as well
    #[arg(long)]
    pub(super) prev_kv: bool,
}

/// What `txn --help` says beside the options.
const TXN_HELP: &str = r#"Three lists, each ended by an empty line: compares, what to do when all of them hold, what to
do otherwise.

    mod("key") > "0"

    put key "new value"

    get key"#;

/// `txn`: read from standard input, in etcdctl's syntax.
#[derive(Clone, Debug, Args)]
#[command(after_help = TXN_HELP)]
pub(super) struct TxnArguments {
    /// Ask for each list
    #[arg(short, long)]
    pub(super) interactive: bool,
}

/// `compact`.
#[derive(Clone, Debug, Args)]
pub(super) struct CompactArguments {
    /// The oldest revision to keep
    pub(super) revision: u64,
}

/// `export`.
#[derive(Clone, Debug, Args)]
pub(super) struct ExportArguments {
    /// Where to write; standard output when left out. The file appears when it is complete
    pub(super) file: Option<PathBuf>,
    /// Only keys that start with this
    #[arg(long, default_value = "")]
    pub(super) prefix: OsString,
    /// Export this revision; 0 = the current one
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    pub(super) rev: u64,
    /// Export what the asked node knows, without asking the leader
    #[arg(long)]
    pub(super) serializable: bool,
}

/// `import`.
#[derive(Clone, Debug, Args)]
pub(super) struct ImportArguments {
    /// Where to read; standard input when left out. Lines of JSON with `key` and `value` in base64
    pub(super) file: Option<PathBuf>,
    /// Writes in flight at one time
    #[arg(long, default_value_t = 256, value_name = "WRITES",
        value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(super) in_flight: u16,
}

/// The fields of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SortBy {
    /// The key
    Key,
    /// The number of puts since creation
    Version,
    /// The revision of creation
    Create,
    /// The revision of the last change
    #[value(alias = "mod")]
    Modify,
    /// The value
    Value,
}

/// The directions of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// Smallest first
    #[value(alias = "ascending")]
    Ascend,
    /// Largest first
    #[value(alias = "descending")]
    Descend,
}

impl Global {
    /// A client as the arguments say.
    pub(super) fn client(&self) -> Result<ClientBuilder, CommandError> {
        let named = self.endpoints.iter().map(|endpoint| endpoint.trim());
        let builder = Client::builder()
            .endpoints(named.filter(|endpoint| !endpoint.is_empty()))
            .timeout(self.timeout)
            .connect_timeout(self.timeout.min(Duration::from_secs(2)));
        let builder = match self.tls.client()? {
            Some(tls) => builder.tls(tls),
            None => builder,
        };
        Ok(match self.find_credentials()? {
            Some(credentials) => builder.credentials(&credentials),
            None => builder,
        })
    }

    /// What to sign with; none when there is nothing, or nothing is wanted: then only a node that
    /// runs without authentication lets us in, and every other says what it wants.
    fn find_credentials(&self) -> Result<Option<Credentials>, CredentialsError> {
        if self.credentials.as_deref() == Some(Path::new(NO_CREDENTIALS)) {
            return Ok(None);
        }
        match Credentials::find(self.credentials.as_deref(), |name| std::env::var_os(name)) {
            Err(CredentialsError::NotFound) => Ok(None),
            found => found.map(Some),
        }
    }

    /// A client for one request: whoever answers first will do.
    pub(super) fn client_for_one(&self) -> Result<ClientBuilder, CommandError> {
        Ok(self.client()?.follow_leader(false))
    }

    /// Whether to answer in JSON.
    pub(super) fn json(&self) -> bool {
        self.output == OutputFormat::Json
    }
}

impl KeyArguments {
    /// The range they name.
    pub(super) fn range(self) -> KeyRange {
        let key = from_argument(self.key);
        match self.range_end {
            Some(end) => KeyRange::between(key, from_argument(end)),
            None if self.prefix => KeyRange::prefix(key),
            None if self.from_key && key.is_empty() => KeyRange::all(),
            None if self.from_key => KeyRange::from(key),
            None => KeyRange::single(key),
        }
    }
}

impl GetArguments {
    /// The order asked for; none = by key, ascending.
    pub(super) fn sort(&self) -> Option<(SortTarget, SortOrder)> {
        if self.sort_by.is_none() && self.order.is_none() {
            return None;
        }
        let target = match self.sort_by.unwrap_or(SortBy::Key) {
            SortBy::Key => SortTarget::Key,
            SortBy::Version => SortTarget::Version,
            SortBy::Create => SortTarget::CreateRevision,
            SortBy::Modify => SortTarget::ModRevision,
            SortBy::Value => SortTarget::Value,
        };
        let order = match self.order.unwrap_or(Order::Ascend) {
            Order::Ascend => SortOrder::Ascending,
            Order::Descend => SortOrder::Descending,
        };
        Some((target, order)).filter(|sort| *sort != (SortTarget::Key, SortOrder::Ascending))
    }
}

/// Reads `500ms`, `10s`, `2m`, `1h`, or a bare number of seconds. Not zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let milliseconds = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_ms));
    match milliseconds {
        Some(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err("write a number above 0 and a unit: 500ms, 10s, 2m".to_owned()),
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
