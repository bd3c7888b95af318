//! What a user's roles grant together.
//!
//! etcd's rule: a request for a range is allowed when the union of the granted ranges covers it.
//! The ranges are merged once, so that a request finds its one interval by a binary search and
//! costs no allocation.
//!
//! # What must stay true
//! - Intervals are sorted, and neither overlap nor touch: what the union covers lies in one of them.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::policy::{Asked, KeySpan, Need, visit_needs};
use super::{AccessTables, PermissionKind, ROOT, Role};
use crate::types::KeyRange;

/// What may be done, by one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The role [`ROOT`]: nothing is denied.
    everything: bool,
    read: Intervals,
    write: Intervals,
}

impl Grants {
    /// What `roles` grant. A role that does not exist grants nothing.
    pub fn of_roles(tables: &AccessTables, roles: &BTreeSet<String>) -> Self {
        if roles.contains(ROOT) {
            return Self { everything: true, ..Self::default() };
        }
        let granted: Vec<&Role> =
            roles.iter().filter_map(|role| tables.roles.get(role)).map(|role| &**role).collect();
        let merged = |covers: fn(PermissionKind) -> bool| {
            let permissions = granted.iter().flat_map(|role| &role.permissions);
            Intervals::merged(permissions.filter(|it| covers(it.kind)).map(|it| &it.range))
        };
        Self {
            everything: false,
            read: merged(PermissionKind::reads),
            write: merged(PermissionKind::writes),
        }
    }

    /// What a user may do at this moment, if it may sign at all: it is active, and so is one of
    /// its keys.
    pub fn of_user(tables: &AccessTables, name: &str) -> Option<Self> {
        let user = tables.users.get(name).filter(|user| user.active)?;
        let signs = tables.keys_of(name).any(|key| key.active);
        signs.then(|| Self::of_roles(tables, &user.roles))
    }

    /// Whether nothing is denied.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether everything that is asked for is granted.
    ///
    /// # Errors
    /// The first need that is not met.
    pub fn check<'a>(&self, asked: Asked<'a>) -> Result<(), Need<'a>> {
        if self.everything {
            return Ok(());
        }
        visit_needs(asked, &mut |need| if self.meet(need) { Ok(()) } else { Err(need) })
    }

    fn meet(&self, need: Need<'_>) -> bool {
        self.everything
            || match need {
                Need::Read(keys) => self.read.cover(keys),
                Need::Write(keys) => self.write.cover(keys),
                Need::Administer => false,
            }
    }
}

/// The keys from `start` to before `end`; to the last when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    start: Bytes,
    end: Option<Bytes>,
}

impl Interval {
    fn of(range: &KeyRange) -> Option<Self> {
        if range.is_empty() {
            return None;
        }
        let end = if range.is_single() {
            // Between a key and itself with a zero byte there is no other.
            let mut end = BytesMut::with_capacity(range.key.len() + 1);
            end.put_slice(&range.key);
            end.put_u8(0);
            Some(end.freeze())
        } else {
            (!KeySpan::from(range).is_to_the_end()).then(|| range.range_end.clone())
        };
        Some(Self { start: range.key.clone(), end })
    }

    fn reaches(&self, start: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| start <= &end[..])
    }

    fn extend(&mut self, end: Option<Bytes>) {
        self.end = match (self.end.take(), end) {
            (Some(one), Some(other)) => Some(one.max(other)),
            _ => None,
        };
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Intervals(Vec<Interval>);

impl Intervals {
    fn merged<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Self {
        let mut intervals: Vec<Interval> = ranges.filter_map(Interval::of).collect();
        intervals.sort_unstable_by(|one, other| one.start.cmp(&other.start));
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for next in intervals {
            match merged.last_mut().filter(|last| last.reaches(&next.start)) {
                Some(last) => last.extend(next.end),
                None => merged.push(next),
            }
        }
        merged.shrink_to_fit();
        Self(merged)
    }

    /// Whether every key of `keys` is in. Of a range without keys its first one counts.
    fn cover(&self, keys: KeySpan<'_>) -> bool {
        let after = self.0.partition_point(|interval| &interval.start[..] <= keys.key);
        let Some(interval) = after.checked_sub(1).map(|at| &self.0[at]) else { return false };
        let Some(end) = &interval.end else { return true };
        let first_is_in = keys.key < &end[..];
        let rest_is_in = keys.is_single() || !keys.is_to_the_end() && keys.range_end <= &end[..];
        first_is_in && rest_is_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AccessEdit, AccessKey, Permission, User};

    fn intervals(ranges: &[KeyRange]) -> Intervals {
        Intervals::merged(ranges.iter())
    }

    fn covers(ranges: &[KeyRange], keys: &KeyRange) -> bool {
        intervals(ranges).cover(keys.into())
    }

    #[test]
    fn a_range_is_covered_by_the_union_of_what_is_granted() {
        let between = |start: &'static str, end: &'static str| KeyRange::between(start, end);
        let halves = [between("m", "z"), between("a", "m")];
        assert!(covers(&halves, &between("a", "z")));
        assert!(covers(&halves, &between("b", "n")));
        assert!(!covers(&halves, &between("a", "z\0")));
        assert!(!covers(&halves, &KeyRange::from("a")));
        assert!(!covers(&halves, &KeyRange::single("z")));
        let gap = [between("a", "l"), between("m", "z")];
        assert!(!covers(&gap, &between("a", "z")));
        assert!(covers(&gap, &KeyRange::single("k")) && !covers(&gap, &KeyRange::single("l")));
        let with_the_missing_key = [between("a", "l"), KeyRange::single("l"), between("l\0", "z")];
        assert!(covers(&with_the_missing_key, &between("a", "z")));
        assert_eq!(intervals(&with_the_missing_key).0.len(), 1);
    }

    #[test]
    fn an_open_end_covers_every_end() {
        let open = [KeyRange::from("m"), KeyRange::between("a", "b")];
        assert!(covers(&open, &KeyRange::from("m")) && covers(&open, &KeyRange::between("n", "x")));
        assert!(!covers(&open, &KeyRange::from("l")) && !covers(&open, &KeyRange::all()));
        assert!(covers(&[KeyRange::all()], &KeyRange::all()));
        assert!(covers(&[KeyRange::prefix("")], &KeyRange::prefix(&b"\xff"[..])));
    }

    #[test]
    fn a_range_without_keys_needs_its_first_one_and_grants_none() {
        let empty = KeyRange::between("b", "a");
        assert!(!covers(&[], &empty) && covers(&[KeyRange::single("b")], &empty));
        for keys in [&KeyRange::single("b"), &empty] {
            assert!(!covers(std::slice::from_ref(&empty), keys));
        }
    }

    #[test]
    fn nothing_is_granted_to_who_cannot_sign() {
        for (user_active, key_active) in [(true, true), (true, false), (false, true)] {
            let (name, roles) = ("ann".to_owned(), BTreeSet::from(["r".to_owned()]));
            let key = AccessKey {
                id: "K".to_owned(),
                user: name.clone(),
                version: 1,
                active: key_active,
                sealed_secret: Bytes::from_static(b"sealed"),
            };
            let permissions =
                vec![Permission { kind: PermissionKind::Read, range: KeyRange::all() }];
            let edits = [
                AccessEdit::SetUser(User { name, roles, active: user_active }),
                AccessEdit::SetKey(key),
                AccessEdit::SetRole(Role { name: "r".to_owned(), permissions }),
            ];
            let tables = AccessTables::default().edited(1, &edits);
            let grants = Grants::of_user(&tables, "ann");
            assert_eq!(grants.is_some(), user_active && key_active);
            let keys = KeyRange::all();
            let read = grants.is_some_and(|it| it.meet(Need::Read((&keys).into())));
            assert_eq!(read, user_active && key_active);
            assert!(Grants::of_user(&tables, "bob").is_none());
        }
    }
}
