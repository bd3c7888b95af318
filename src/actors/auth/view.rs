//! What requests read of users, roles and keys: one immutable value.
//!
//! # What must stay true
//! - A view never changes. Whoever holds one for longer than a request holds on to what was.

use std::sync::Arc;

use crate::auth::NODE_KEY_ID;
use crate::types::access::ROOT;
use crate::types::{AccessKey, AccessTables, Principal, Role, User};

/// Users, roles and keys at one revision.
#[derive(Clone, Debug, Default)]
pub struct AuthView {
    tables: Arc<AccessTables>,
}

impl AuthView {
    /// The view of `tables`.
    pub(super) fn new(tables: Arc<AccessTables>) -> Self {
        Self { tables }
    }

    /// Counts the changes; 0 before the first. Travels with a command that was authorised here.
    pub fn revision(&self) -> u64 {
        self.tables.revision
    }

    /// Everything there is.
    pub fn tables(&self) -> &Arc<AccessTables> {
        &self.tables
    }

    /// An access key with its user, if both are active: with no other may a request be signed.
    pub fn active_key(&self, id: &str) -> Option<(&Arc<AccessKey>, &Arc<User>)> {
        let key = self.tables.keys.get(id).filter(|key| key.active)?;
        let user = self.tables.users.get(&key.user).filter(|user| user.active)?;
        Some((key, user))
    }

    /// Whether an access key is active and still that user's. The key of machines that join always
    /// is.
    pub fn is_active(&self, id: &str, principal: &Principal) -> bool {
        if id == NODE_KEY_ID {
            return principal.is_joining_node();
        }
        self.active_key(id).is_some_and(|(_, user)| user.name == principal.0)
    }

    /// Whether a user is active and has the role root, which grants everything.
    pub fn is_root(&self, user: &str) -> bool {
        let user = self.tables.users.get(user).filter(|user| user.active);
        user.is_some_and(|user| user.roles.contains(ROOT))
    }

    /// The roles of a user that is active, but for root, which is in none of them.
    pub fn roles_of(&self, user: &str) -> impl Iterator<Item = &Arc<Role>> {
        let user = self.tables.users.get(user).filter(|user| user.active);
        user.into_iter().flat_map(|user| &user.roles).filter_map(|role| self.tables.roles.get(role))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::types::AccessEdit;

    #[test]
    fn a_key_counts_only_while_it_and_its_user_are_active() {
        for (user_active, key_active) in [(true, true), (true, false), (false, true)] {
            let name = "ann".to_owned();
            let key = AccessKey {
                id: "K".to_owned(),
                user: name.clone(),
                version: 1,
                active: key_active,
                sealed_secret: bytes::Bytes::from_static(b"sealed"),
            };
            let roles = BTreeSet::from(["r".to_owned()]);
            let edits = [
                AccessEdit::SetUser(User { name, roles, active: user_active }),
                AccessEdit::SetKey(key),
                AccessEdit::SetRole(Role { name: "r".to_owned(), permissions: Vec::new() }),
            ];
            let view = AuthView::new(Arc::new(AccessTables::default().edited(1, &edits)));
            assert_eq!(view.active_key("K").is_some(), user_active && key_active);
            assert_eq!(view.roles_of("ann").count(), usize::from(user_active));
            assert!(view.active_key("other").is_none());
        }
    }
}
