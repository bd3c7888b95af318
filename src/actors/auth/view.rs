//! What requests read of users, roles and keys: one immutable value.
//!
//! # What must stay true
//! - A view never changes. Whoever holds one for longer than a request holds on to what was.
//! - What a set of roles grants is merged when it is first asked for, once for all who have just
//!   these roles: a request costs a search, and a change of ten thousand users no merging.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::auth::NODE_KEY_ID;
use crate::types::{AccessKey, AccessTables, Grants, Principal, User};

/// What users may do who have the same roles; merged when first asked for.
type SharedGrants = Arc<OnceLock<Grants>>;

/// Users, roles and keys at one revision.
#[derive(Clone, Debug, Default)]
pub struct AuthView {
    tables: Arc<AccessTables>,
    /// By the names of active users.
    grants: Arc<HashMap<String, SharedGrants>>,
}

impl AuthView {
    /// The view of `tables`.
    pub(super) fn new(tables: Arc<AccessTables>) -> Self {
        let mut by_roles: HashMap<_, SharedGrants> = HashMap::new();
        let active = tables.users.values().filter(|user| user.active);
        let grants = active
            .map(|user| (user.name.clone(), Arc::clone(by_roles.entry(&user.roles).or_default())));
        let grants = Arc::new(grants.collect());
        Self { tables, grants }
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

    /// What a user may do; none when it is not active.
    pub fn grants(&self, user: &str) -> Option<&Grants> {
        let record = self.tables.users.get(user)?;
        let grants = self.grants.get(user)?;
        Some(grants.get_or_init(|| Grants::of_roles(&self.tables, &record.roles)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::types::AccessEdit;
    use crate::types::access::ROOT;

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
            let roles = BTreeSet::from([ROOT.to_owned()]);
            let edits = [
                AccessEdit::SetUser(User { name, roles, active: user_active }),
                AccessEdit::SetKey(key),
            ];
            let view = AuthView::new(Arc::new(AccessTables::default().edited(1, &edits)));
            assert_eq!(view.active_key("K").is_some(), user_active && key_active);
            assert_eq!(view.grants("ann").is_some_and(Grants::is_everything), user_active);
            assert!(view.grants("bob").is_none());
            assert!(view.active_key("other").is_none());
        }
    }
}
