//! Everything the state knows of users, roles and keys, in memory.
//!
//! A value of this type never changes once it is shared: a change makes the next one, which shares
//! the records that did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AccessKey, ROOT, Role, User};

/// Users, roles and keys at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessTables {
    /// Counts the changes; 0 before the first.
    pub revision: u64,
    /// The users by name.
    pub users: BTreeMap<String, Arc<User>>,
    /// The roles by name. The role [`ROOT`] is not among them: it grants everything.
    pub roles: BTreeMap<String, Arc<Role>>,
    /// The keys by id.
    pub keys: BTreeMap<String, Arc<AccessKey>>,
}

/// One record that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessEdit {
    /// A user is set.
    SetUser(User),
    /// A user is gone.
    RemoveUser(String),
    /// A role is set.
    SetRole(Role),
    /// A role is gone.
    RemoveRole(String),
    /// A key is set.
    SetKey(AccessKey),
    /// A key is gone.
    RemoveKey(String),
}

impl AccessTables {
    /// The tables after `edits`, at `revision`.
    pub fn edited(&self, revision: u64, edits: &[AccessEdit]) -> Self {
        let mut next = self.clone();
        next.revision = revision;
        for edit in edits.iter().cloned() {
            match edit {
                AccessEdit::SetUser(user) => {
                    next.users.insert(user.name.clone(), Arc::new(user));
                }
                AccessEdit::RemoveUser(name) => drop(next.users.remove(&name)),
                AccessEdit::SetRole(role) => {
                    next.roles.insert(role.name.clone(), Arc::new(role));
                }
                AccessEdit::RemoveRole(name) => drop(next.roles.remove(&name)),
                AccessEdit::SetKey(key) => {
                    next.keys.insert(key.id.clone(), Arc::new(key));
                }
                AccessEdit::RemoveKey(id) => drop(next.keys.remove(&id)),
            }
        }
        next
    }

    /// A user's keys.
    pub fn keys_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a Arc<AccessKey>> {
        self.keys.values().filter(move |key| key.user == user)
    }

    /// Whether somebody can manage users: an active user with the role root and an active key.
    pub fn has_administrator(&self) -> bool {
        self.keys.values().filter(|key| key.active).any(|key| {
            let user = self.users.get(&key.user);
            user.is_some_and(|user| user.active && user.roles.contains(ROOT))
        })
    }
}
