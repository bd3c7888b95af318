//! When to build a snapshot, and how much log to keep: pure decisions.
//!
//! The log is the only cheap way to bring a follower up to date, and giving a snapshot to a live
//! follower is the one thing openraft does not do safely under load (its issue 2116). So entries
//! stay until every live follower has them, with a margin behind that, and for as long as a join
//! holds them, up to a cap in bytes at which followers that fall behind, and joins, are given up.
//!
//! # What must stay true
//! - Never above the last snapshot: entries before it must be replaceable by it.
//! - Never above what the state has on its own disk: after a crash those entries are applied again.

/// What the decision rests on. Indexes are of the last entry that ...
#[derive(Clone, Debug, Default)]
pub(super) struct RetentionInput {
    /// ... the last snapshot holds.
    pub(super) snapshot: Option<u64>,
    /// ... the state has on its disk.
    pub(super) durable: Option<u64>,
    /// ... was purged.
    pub(super) purged: Option<u64>,
    /// ... each follower is known to have; empty unless this node leads.
    pub(super) followers: Vec<Option<u64>>,
    /// ... a join needs before every later one; none when nobody joins.
    pub(super) held: Option<u64>,
    /// The last entry in the log.
    pub(super) last: Option<u64>,
    /// Bytes the entries take.
    pub(super) log_bytes: u64,
    /// Bytes at which followers are given up.
    pub(super) log_bytes_max: u64,
    /// Bytes the state takes: about what a snapshot costs to write.
    pub(super) state_bytes: u64,
    /// Entries after which a snapshot is due, if it is worth its cost.
    pub(super) snapshot_every_entries: u64,
    /// The last entry the state has applied.
    pub(super) applied: Option<u64>,
    /// Entries kept behind everybody's need, so that a follower that was away for a moment finds
    /// them.
    pub(super) kept_entries: u64,
}

/// Whether to build a snapshot now.
///
/// A snapshot writes the whole state, so one is due only when the log since the last one has grown
/// as large as the state: that keeps what snapshots write below what clients wrote, whatever the
/// size of the state. A log at half its cap does not wait for that when the last snapshot alone
/// stands in the way of purging it; one that comes near its cap has one not much older, so that it
/// can be purged at once when it is there.
pub(super) fn is_snapshot_due(input: &RetentionInput) -> bool {
    let Some(applied) = input.applied else { return false };
    let since = applied.saturating_sub(input.snapshot.unwrap_or(0));
    if since < input.snapshot_every_entries {
        return false;
    }
    let bytes_since = since.saturating_mul(entry_bytes(input));
    let (half, quarter) = (input.log_bytes_max / 2, input.log_bytes_max / 4);
    bytes_since >= input.state_bytes
        || input.log_bytes >= half && unneeded(input) > input.snapshot
        || input.log_bytes >= half + quarter && bytes_since >= quarter
}

/// The index up to which to purge (inclusive), or none when there is nothing worth purging.
pub(super) fn purge_up_to(input: &RetentionInput) -> Option<u64> {
    let mut up_to = unneeded(input)?.min(input.snapshot?);
    if input.log_bytes <= input.log_bytes_max {
        up_to = up_to.checked_sub(input.kept_entries)?;
    }
    match input.purged {
        Some(purged) if up_to <= purged => None,
        _ => Some(up_to),
    }
}

/// The last entry that nobody lacks: not the state on its disk, and below the cap no follower and no
/// join. Above it, the last one that has to go.
fn unneeded(input: &RetentionInput) -> Option<u64> {
    let mut up_to = input.durable?;
    if input.log_bytes > input.log_bytes_max {
        return Some(up_to.min(over_the_cap(input)?));
    }
    for follower in &input.followers {
        up_to = up_to.min((*follower)?);
    }
    if let Some(held) = input.held {
        up_to = up_to.min(held.saturating_add(input.kept_entries));
    }
    Some(up_to)
}

/// What to give up to come back to three quarters of the cap, by the average size of an entry.
fn over_the_cap(input: &RetentionInput) -> Option<u64> {
    let first = input.purged.map_or(0, |purged| purged + 1);
    let entries = input.last?.checked_sub(first)? + 1;
    let excess = input.log_bytes.saturating_sub(input.log_bytes_max / 4 * 3);
    Some(first + (excess / entry_bytes(input)).min(entries - 1))
}

/// The average size of an entry in the log, at least 1.
fn entry_bytes(input: &RetentionInput) -> u64 {
    let first = input.purged.map_or(0, |purged| purged + 1);
    let entries = input.last.map_or(0, |last| (last + 1).saturating_sub(first));
    (input.log_bytes / entries.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ample() -> RetentionInput {
        RetentionInput {
            snapshot: Some(100_000),
            durable: Some(100_000),
            purged: None,
            followers: vec![Some(100_000), Some(100_000)],
            held: None,
            last: Some(120_000),
            log_bytes: 1_000,
            log_bytes_max: 1_000_000,
            state_bytes: 100,
            snapshot_every_entries: 20_000,
            applied: Some(120_000),
            kept_entries: 10_000,
        }
    }

    #[test]
    fn a_margin_stays_behind_the_slowest_need() {
        assert_eq!(purge_up_to(&ample()), Some(100_000 - 10_000));
        let slow = RetentionInput { followers: vec![Some(50_000)], ..ample() };
        assert_eq!(purge_up_to(&slow), Some(50_000 - 10_000));
        let held = RetentionInput { held: Some(20_000), ..ample() };
        assert_eq!(purge_up_to(&held), Some(20_000), "a join has what follows its snapshot");
        let lagging_state = RetentionInput { durable: Some(30_000), ..ample() };
        assert_eq!(purge_up_to(&lagging_state), Some(30_000 - 10_000));
    }

    #[test]
    fn a_snapshot_is_due_when_the_log_has_outgrown_the_state() {
        // 20,000 entries since the last one, of 10 bytes each.
        let grown = RetentionInput { log_bytes: 1_200_010, log_bytes_max: 1 << 40, ..ample() };
        assert!(is_snapshot_due(&grown));
        assert!(!is_snapshot_due(&RetentionInput { applied: Some(119_999), ..grown.clone() }));
        let large_state = RetentionInput { state_bytes: 1_000_000, ..grown.clone() };
        assert!(!is_snapshot_due(&large_state), "it would write more than was written");
        let near_the_cap =
            RetentionInput { log_bytes_max: 2_000_000, durable: Some(119_000), ..large_state };
        assert!(!is_snapshot_due(&near_the_cap), "the followers stand in the way");
        let near_the_cap = RetentionInput { followers: vec![Some(119_000)], ..near_the_cap };
        assert!(is_snapshot_due(&near_the_cap));
        let held = RetentionInput { held: Some(80_000), ..near_the_cap.clone() };
        assert!(!is_snapshot_due(&held), "a join stands in the way");
        let over_the_cap = RetentionInput { log_bytes_max: 1_000_000, ..held.clone() };
        assert!(!is_snapshot_due(&over_the_cap), "the one there is lets go enough");
        let old = RetentionInput { snapshot: Some(1_000), ..over_the_cap };
        assert!(is_snapshot_due(&old));
        let nearly = RetentionInput { log_bytes_max: 1_500_000, ..held };
        assert!(!is_snapshot_due(&nearly), "the last one is recent");
        assert!(is_snapshot_due(&RetentionInput { snapshot: Some(70_000), ..nearly }));
        assert!(!is_snapshot_due(&RetentionInput { applied: None, ..grown }));
    }

    #[test]
    fn nothing_goes_without_a_snapshot_or_a_durable_state_or_a_followers_word() {
        assert_eq!(purge_up_to(&RetentionInput { snapshot: None, ..ample() }), None);
        assert_eq!(purge_up_to(&RetentionInput { durable: None, ..ample() }), None);
        assert_eq!(purge_up_to(&RetentionInput { followers: vec![None], ..ample() }), None);
        assert_eq!(purge_up_to(&RetentionInput { purged: Some(95_000), ..ample() }), None);
    }

    #[test]
    fn above_the_cap_a_dead_follower_is_given_up_but_never_the_durable_state() {
        let full = RetentionInput { followers: vec![Some(10)], log_bytes: 2_000_000, ..ample() };
        let up_to = purge_up_to(&full).expect("something must go");
        assert!(up_to > 10 && up_to <= 100_000, "{up_to}");
        let held = RetentionInput { held: Some(10), ..full.clone() };
        assert_eq!(purge_up_to(&held), Some(up_to), "and so is a join, which starts over");
        let undurable = RetentionInput { durable: Some(5), ..full };
        assert_eq!(purge_up_to(&undurable), Some(5));
    }
}
