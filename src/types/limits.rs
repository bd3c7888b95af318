//! The limits everybody agrees on, and how they relate.
//!
//! Limits decided before a command enters the log may differ between versions. Limits marked
//! *replicated* are decided at apply: every member must use the same value, so changing one is a
//! change of the command format version.

/// Longest key, in bytes. LMDB's largest key with `longer-keys` is about 1,980 bytes; ours leaves
/// room for prefixes.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Largest request (all keys, values and compares of one command), in bytes: etcd's 1.5 MiB.
pub const REQUEST_BYTES_MAX: usize = 1_536 * 1_024;

/// Room for the envelope of a request (ids, principal, times) beyond [`REQUEST_BYTES_MAX`].
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1_024;

/// Largest answer to one range request, in bytes of keys and values. A larger range is cut there
/// with `more = true` and read on from the next key at the same revision. At least one pair is
/// always answered.
pub const ANSWER_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// What a pair counts against [`ANSWER_BYTES_MAX`] and [`TXN_ANSWER_BYTES_MAX`] beyond its key and
/// value: the longest encoding of its lengths, revisions, version and lease. *Replicated.*
pub const PAIR_OVERHEAD_BYTES: usize = 48;

/// Most bytes that one transaction may answer (its ranges and previous pairs). *Replicated.*
pub const TXN_ANSWER_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// Most operations in each of compare, then and else of one transaction.
pub const TXN_OPERATIONS_MAX: usize = 128;

/// Deepest nesting of transactions; the outermost is depth 1.
pub const TXN_DEPTH_MAX: usize = 8;

/// Most compares and operations of one transaction with everything nested in it.
pub const TXN_TOTAL_MAX: usize = 4 * 3 * TXN_OPERATIONS_MAX;

/// How long, in replicated milliseconds, a client's answers are kept where there is room, once the
/// client can no longer be retrying. *Replicated.*
pub const SESSION_TTL_MS: u64 = 3_600_000;

/// How long a client goes on retrying one request before it calls the outcome unknown, at most.
/// Within that time a session is not forgotten for want of room. *Replicated.*
pub const RETRY_WINDOW_MS: u64 = 600_000;

/// For how long beyond its client's retries a session is not forgotten for want of room: what the
/// last retry may take on its way, and what the clocks of client and leader differ. *Replicated.*
pub const SESSION_GRACE_MS: u64 = 30_000;

/// Most answers kept for one client: the most writes it may have in flight. *Replicated.*
pub const SESSION_ANSWERS_MAX: usize = 4_096;

/// Most clients whose answers are kept; beyond it a new one takes the place of one that can no
/// longer be retrying, or is refused. *Replicated.*
pub const SESSIONS_MAX: usize = 65_536;

/// Most of them of one user. *Replicated.*
pub const SESSIONS_PER_USER_MAX: usize = 16_384;

/// What an answer that is kept counts beyond its own bytes: its place in memory and on the disk.
/// *Replicated.*
pub const KEPT_ANSWER_OVERHEAD_BYTES: u64 = 128;

/// Most bytes of answers kept for one client. Of an answer that does not fit only the outcome is
/// kept. *Replicated.*
pub const SESSION_ANSWER_BYTES_MAX: u64 = 1_024 * 1_024;

/// Most bytes of answers kept for the clients of one user. *Replicated.*
pub const USER_ANSWER_BYTES_MAX: u64 = 32 * 1_024 * 1_024;

/// Most bytes of answers kept for all clients. *Replicated.*
pub const STORE_ANSWER_BYTES_MAX: u64 = 128 * 1_024 * 1_024;

/// Most signatures of requests that stand alone. *Replicated.*
pub const SIGNATURES_MAX: usize = 524_288;

/// Most of them of one user: 290 a second for as long as each is good for. *Replicated.*
pub const SIGNATURES_PER_USER_MAX: usize = 262_144;

/// Up to so many signatures none is forgotten. *Replicated.*
pub const SIGNATURES_KEPT_FREELY: usize = 4_096;

/// Signatures forgotten by one command, at most. *Replicated.*
pub const SIGNATURES_FORGOTTEN_PER_COMMAND_MAX: usize = 8;

/// For how long beyond its window a signature is kept at least, in replicated milliseconds.
/// *Replicated.*
pub const SIGNATURE_GRACE_MS: u64 = 30_000;

/// The longest window that a signature is kept for: a presigned one is good for seven days at most.
/// *Replicated.*
pub const SIGNATURE_WINDOW_MS_MAX: u64 = 8 * 86_400_000;

/// Most bytes of an answer kept beside a signature, as kept answers count; of a longer one the
/// outcome is kept. *Replicated.*
pub const SIGNATURE_ANSWER_BYTES_MAX: u64 = 256 + KEPT_ANSWER_OVERHEAD_BYTES;

/// When a client is told to come back whose session found no room, in milliseconds.
pub const SESSION_RETRY_AFTER_MS: u64 = 1_000;

/// Sessions expired by one command, at most, so that no single apply stalls. *Replicated.*
pub const SESSIONS_EXPIRED_PER_COMMAND_MAX: usize = 64;

/// Longest node name, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 128;

/// Longest `HOST:PORT`, in bytes: a DNS name of 253 and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;

/// Most joins under way at one time. *Replicated.*
pub const JOINS_OPEN_MAX: usize = 16;

/// Joins that are over and still remembered, for those who ask how they ended. *Replicated.*
pub const JOINS_ENDED_KEPT_MAX: usize = 32;

/// Most keys that one command may visit, in all its compares, ranges, counts and deletes together,
/// nested ones too. A key that was deleted and is not compacted counts as well. *Replicated.*
pub const KEYS_VISITED_MAX: u64 = 65_536;

/// What a value that must be read counts against [`KEYS_VISITED_MAX`]: one for each so many bytes.
/// *Replicated.*
pub const VALUE_BYTES_PER_VISIT: usize = 1_024;

/// What a key that is deleted counts against [`KEYS_VISITED_MAX`] beyond the visit. *Replicated.*
pub const VISITS_PER_DELETED_KEY: u64 = 7;

/// Most keys that a delete visits at once; one of more is staged. *Replicated.*
pub const DELETE_KEYS_AT_ONCE_MAX: u64 = 1_024;

/// Most keys that one step of a staged delete visits. *Replicated.*
pub const DELETE_STEP_KEYS: u64 = 1_024;

/// Most staged deletes at one time. *Replicated.*
pub const DELETES_STAGED_MAX: usize = 16;

const _: () = {
    assert!(DELETE_KEYS_AT_ONCE_MAX * (1 + VISITS_PER_DELETED_KEY) <= KEYS_VISITED_MAX);
    assert!(
        REQUEST_BYTES_MAX.div_ceil(VALUE_BYTES_PER_VISIT) < KEYS_VISITED_MAX as usize,
        "what was put can be compared"
    );
    assert!(RETRY_WINDOW_MS * 2 < SESSION_TTL_MS);
    assert!(SESSIONS_PER_USER_MAX < SESSIONS_MAX, "no one user fills the table");
    assert!(SIGNATURES_PER_USER_MAX < SIGNATURES_MAX, "no one user fills the table");
    assert!(SIGNATURES_KEPT_FREELY < SIGNATURES_PER_USER_MAX);
    assert!(USER_ANSWER_BYTES_MAX < STORE_ANSWER_BYTES_MAX);
    assert!(
        SESSION_ANSWERS_MAX as u64 * KEPT_ANSWER_OVERHEAD_BYTES * 2 <= SESSION_ANSWER_BYTES_MAX,
        "every write that a client may have in flight has room for a small answer"
    );
    assert!(
        SESSIONS_PER_USER_MAX as u64 * KEPT_ANSWER_OVERHEAD_BYTES * 2 <= USER_ANSWER_BYTES_MAX,
        "every session of a user has room for a small answer"
    );
    assert!(SESSIONS_MAX as u64 * KEPT_ANSWER_OVERHEAD_BYTES * 2 <= STORE_ANSWER_BYTES_MAX);
    assert!(KEY_BYTES_MAX < REQUEST_BYTES_MAX);
    assert!(
        REQUEST_BYTES_MAX + PAIR_OVERHEAD_BYTES <= ANSWER_BYTES_MAX,
        "what was put can be read back"
    );
    assert!(
        REQUEST_BYTES_MAX + PAIR_OVERHEAD_BYTES <= TXN_ANSWER_BYTES_MAX,
        "the previous pair of a put can always be answered"
    );
};
