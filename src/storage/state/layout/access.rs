//! The `access` table: users, roles and keys.
//!
//! ```text
//! key:   [kind: u8][name]      kind 0 revision (no name) | 1 user | 2 role | 3 access key
//! value: envelope of u64 | `User` | `Role` | `AccessKey`
//! ```
//!
//! The secret in a key's record is sealed; no record holds one in the clear.

use std::sync::Arc;

use super::{LayoutError, take};
use crate::storage::envelope;
use crate::types::{AccessEdit, AccessTables};

/// The newest version of the records, and the one written.
const VERSION: u8 = 1;

const REVISION: u8 = 0;
const USER: u8 = 1;
const ROLE: u8 = 2;
const KEY: u8 = 3;

/// A record's key, and its value; no value = the record goes.
pub(crate) type Encoded = (Vec<u8>, Option<Vec<u8>>);

fn record_key(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

/// The record of the tables' revision.
pub(crate) fn encode_revision(revision: u64) -> Encoded {
    (record_key(REVISION, ""), Some(envelope::seal(VERSION, &revision)))
}

/// The record of an edit.
pub(crate) fn encode_edit(edit: &AccessEdit) -> Encoded {
    match edit {
        AccessEdit::SetUser(user) => {
            (record_key(USER, &user.name), Some(envelope::seal(VERSION, user)))
        }
        AccessEdit::RemoveUser(name) => (record_key(USER, name), None),
        AccessEdit::SetRole(role) => {
            (record_key(ROLE, &role.name), Some(envelope::seal(VERSION, role)))
        }
        AccessEdit::RemoveRole(name) => (record_key(ROLE, name), None),
        AccessEdit::SetKey(key) => (record_key(KEY, &key.id), Some(envelope::seal(VERSION, key))),
        AccessEdit::RemoveKey(id) => (record_key(KEY, id), None),
    }
}

/// Adds a record to the tables that are being read.
pub(crate) fn load(tables: &mut AccessTables, key: &[u8], value: &[u8]) -> Result<(), LayoutError> {
    let ([kind], name) = take::<1>(key)?;
    let misplaced = LayoutError::Field { field: "name" };
    let is_named = |found: &str| if found.as_bytes() == name { Ok(()) } else { Err(misplaced) };
    match *kind {
        REVISION => {
            is_named("")?;
            tables.revision = envelope::unseal(VERSION, value)?;
        }
        USER => {
            let user: crate::types::User = envelope::unseal(VERSION, value)?;
            is_named(&user.name)?;
            tables.users.insert(user.name.clone(), Arc::new(user));
        }
        ROLE => {
            let role: crate::types::Role = envelope::unseal(VERSION, value)?;
            is_named(&role.name)?;
            tables.roles.insert(role.name.clone(), Arc::new(role));
        }
        KEY => {
            let key: crate::types::AccessKey = envelope::unseal(VERSION, value)?;
            is_named(&key.id)?;
            tables.keys.insert(key.id.clone(), Arc::new(key));
        }
        _ => return Err(LayoutError::Field { field: "kind" }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::types::{AccessKey, KeyRange, Permission, PermissionKind, Role, User};

    fn edits() -> [AccessEdit; 3] {
        let roles = BTreeSet::from(["r".to_owned()]);
        let range = KeyRange::between("a", "b");
        let permissions = vec![Permission { kind: PermissionKind::ReadWrite, range }];
        let (id, user) = ("K1".to_owned(), "u".to_owned());
        let sealed_secret = bytes::Bytes::from_static(&[9, 8]);
        [
            AccessEdit::SetUser(User { name: "u".to_owned(), roles, active: true }),
            AccessEdit::SetRole(Role { name: "r".to_owned(), permissions }),
            AccessEdit::SetKey(AccessKey { id, user, version: 300, active: false, sealed_secret }),
        ]
    }

    #[test]
    fn the_bytes_are_pinned() {
        let pinned: [(&[u8], &[u8]); 3] = [
            (b"\x01u", b"\x01u\x01\x01r\x01"),
            (b"\x02r", b"\x01r\x01\x02\x01a\x01b"),
            (b"\x03K1", b"\x02K1\x01u\xac\x02\x00\x02\x09\x08"),
        ];
        for (edit, (key, body)) in edits().iter().zip(pinned) {
            let (found, value) = encode_edit(edit);
            let value = value.expect("a record that is set has a value");
            assert_eq!((&found[..], &value[envelope::ENVELOPE_BYTES..]), (key, body), "{edit:?}");
        }
        let (key, value) = encode_revision(300);
        assert_eq!(key, [0]);
        assert_eq!(value.expect("a value")[envelope::ENVELOPE_BYTES..], [0xac, 2]);
    }

    #[test]
    fn what_was_written_is_loaded_and_a_record_in_another_place_is_refused() {
        let mut loaded = AccessTables::default();
        let written = AccessTables::default().edited(7, &edits());
        for (key, value) in edits().iter().map(encode_edit).chain([encode_revision(7)]) {
            let value = value.expect("every record is set");
            load(&mut loaded, &key, &value).expect("readable");
            let elsewhere = [&key[..], b"x"].concat();
            let refused = load(&mut AccessTables::default(), &elsewhere, &value);
            assert_eq!(refused, Err(LayoutError::Field { field: "name" }));
        }
        assert_eq!(loaded, written);
        let refused = load(&mut loaded, &[4], &[]);
        assert_eq!(refused, Err(LayoutError::Field { field: "kind" }));
    }
}
