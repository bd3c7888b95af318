//! Changes of users, roles and keys.
//!
//! # What must stay true
//! - A user has at most [`KEYS_PER_USER_MAX`] keys.
//! - Once there is somebody who can manage users there always is: a change that would leave nobody
//!   is refused, whichever way it would come about.
//! - Every change raises the revision of the tables by one; a refusal changes nothing.

use std::collections::BTreeSet;

use crate::types::access::{
    KEYS_PER_USER_MAX, PERMISSIONS_PER_ROLE_MAX, ROLES_MAX, ROLES_PER_USER_MAX, ROOT,
    SEALED_SECRET_BYTES_MAX, USERS_MAX, is_key_id, is_name,
};
use crate::types::{
    AccessAnswer, AccessEdit, AccessError, AccessKey, AccessOperation, AccessTables, Role, User,
};

use super::Change;
use super::validate::validate_key_range;

type Edits = Result<Vec<AccessEdit>, AccessError>;

/// The answer to a change of `tables`, and the change; none when everything is as asked already.
pub(super) fn change(
    tables: &AccessTables,
    operation: &AccessOperation,
) -> Result<(AccessAnswer, Option<Change>), AccessError> {
    let edits = edits(tables, operation)?;
    let key_id = match operation {
        AccessOperation::CreateKey(key) => key.id.clone(),
        _ => String::new(),
    };
    if edits.is_empty() {
        return Ok((AccessAnswer { auth_revision: tables.revision, key_id }, None));
    }
    let revision = tables.revision + 1;
    let next = tables.edited(revision, &edits);
    if tables.has_administrator() && !next.has_administrator() {
        return Err(AccessError::LastAdministrator);
    }
    let answer = AccessAnswer { auth_revision: revision, key_id };
    Ok((answer, Some(Change::SetAccess { revision, edits })))
}

/// Checks what can be checked without the tables.
pub(super) fn validate(operation: &AccessOperation) -> Result<(), AccessError> {
    match operation {
        AccessOperation::Bootstrap(key) | AccessOperation::CreateKey(key) => validate_key(key),
        AccessOperation::AddUser { name }
        | AccessOperation::RemoveUser { name }
        | AccessOperation::SetUserActive { name, .. } => validate_name("user", name),
        AccessOperation::GrantRole { user, role } | AccessOperation::RevokeRole { user, role } => {
            validate_name("user", user)?;
            validate_name("role", role)
        }
        AccessOperation::AddRole { name } | AccessOperation::RemoveRole { name } => {
            validate_name("role", name)
        }
        AccessOperation::GrantPermission { role, permission } => {
            validate_name("role", role)?;
            validate_key_range(&permission.range)
                .map_err(|error| AccessError::Invalid { what: format!("range: {error}") })
        }
        AccessOperation::RevokePermission { role, range } => {
            validate_name("role", role)?;
            validate_key_range(range)
                .map_err(|error| AccessError::Invalid { what: format!("range: {error}") })
        }
        AccessOperation::SetKeyActive { id, .. } | AccessOperation::RemoveKey { id } => {
            validate_key_id(id)
        }
    }
}

fn validate_name(what: &str, name: &str) -> Result<(), AccessError> {
    if is_name(name) {
        return Ok(());
    }
    let what = format!("name of a {what}: give 1 to 128 of the characters a-z A-Z 0-9 . _ -");
    Err(AccessError::Invalid { what })
}

fn validate_key_id(id: &str) -> Result<(), AccessError> {
    if is_key_id(id) {
        return Ok(());
    }
    Err(AccessError::Invalid { what: "key id: give 1 to 64 letters and digits".to_owned() })
}

fn validate_key(key: &AccessKey) -> Result<(), AccessError> {
    validate_name("user", &key.user)?;
    validate_key_id(&key.id)?;
    if key.sealed_secret.is_empty() || key.sealed_secret.len() > SEALED_SECRET_BYTES_MAX {
        return Err(AccessError::Invalid { what: "sealed secret".to_owned() });
    }
    Ok(())
}

fn edits(tables: &AccessTables, operation: &AccessOperation) -> Edits {
    match operation {
        AccessOperation::Bootstrap(key) => Ok(bootstrap(tables, key)),
        AccessOperation::AddUser { name } => add_user(tables, name),
        AccessOperation::RemoveUser { name } => remove_user(tables, name),
        AccessOperation::SetUserActive { name, active } => {
            let user = user(tables, name)?;
            Ok(set_user(user, User { active: *active, ..user.clone() }))
        }
        AccessOperation::GrantRole { user, role } => grant_role(tables, user, role),
        AccessOperation::RevokeRole { user: name, role } => {
            let user = user(tables, name)?;
            let mut roles = user.roles.clone();
            if !roles.remove(role) {
                let (user, role) = (name.clone(), role.clone());
                return Err(AccessError::RoleNotGranted { user, role });
            }
            Ok(set_user(user, User { roles, ..user.clone() }))
        }
        AccessOperation::AddRole { name } => add_role(tables, name),
        AccessOperation::RemoveRole { name } => remove_role(tables, name),
        AccessOperation::GrantPermission { role: name, permission } => {
            let mut role = role(tables, name)?.clone();
            role.permissions.retain(|granted| granted.range != permission.range);
            refuse_more(
                "permissions of one role",
                role.permissions.len(),
                PERMISSIONS_PER_ROLE_MAX,
            )?;
            role.permissions.push(permission.clone());
            Ok(vec![AccessEdit::SetRole(role)])
        }
        AccessOperation::RevokePermission { role: name, range } => {
            let mut role = role(tables, name)?.clone();
            let before = role.permissions.len();
            role.permissions.retain(|granted| granted.range != *range);
            if role.permissions.len() == before {
                return Err(AccessError::PermissionNotGranted { role: name.clone() });
            }
            Ok(vec![AccessEdit::SetRole(role)])
        }
        AccessOperation::CreateKey(key) => create_key(tables, key),
        AccessOperation::SetKeyActive { id, active } => {
            let key = key(tables, id)?;
            if key.active == *active {
                return Ok(Vec::new());
            }
            Ok(vec![AccessEdit::SetKey(AccessKey { active: *active, ..key.clone() })])
        }
        AccessOperation::RemoveKey { id } => {
            key(tables, id)?;
            Ok(vec![AccessEdit::RemoveKey(id.clone())])
        }
    }
}

/// Several nodes may ask for it, and again after a restart: only the first does anything.
fn bootstrap(tables: &AccessTables, key: &AccessKey) -> Vec<AccessEdit> {
    if tables.revision > 0 {
        return Vec::new();
    }
    let roles = BTreeSet::from([ROOT.to_owned()]);
    let root = User { name: ROOT.to_owned(), roles, active: true };
    let key = AccessKey { user: ROOT.to_owned(), active: true, ..key.clone() };
    vec![AccessEdit::SetUser(root), AccessEdit::SetKey(key)]
}

fn add_user(tables: &AccessTables, name: &str) -> Edits {
    let name = name.to_owned();
    if tables.users.contains_key(&name) {
        return Err(AccessError::UserExists { name });
    }
    refuse_more("users", tables.users.len(), USERS_MAX)?;
    Ok(vec![AccessEdit::SetUser(User { name, roles: BTreeSet::new(), active: true })])
}

fn remove_user(tables: &AccessTables, name: &str) -> Edits {
    user(tables, name)?;
    let keys = tables.keys_of(name).map(|key| AccessEdit::RemoveKey(key.id.clone()));
    Ok(keys.chain([AccessEdit::RemoveUser(name.to_owned())]).collect())
}

fn grant_role(tables: &AccessTables, name: &str, granted: &str) -> Edits {
    let user = user(tables, name)?;
    if granted != ROOT {
        role(tables, granted)?;
    }
    let mut roles = user.roles.clone();
    if roles.insert(granted.to_owned()) {
        refuse_more("roles of one user", user.roles.len(), ROLES_PER_USER_MAX)?;
    }
    Ok(set_user(user, User { roles, ..user.clone() }))
}

fn add_role(tables: &AccessTables, name: &str) -> Edits {
    let name = name.to_owned();
    if name == ROOT || tables.roles.contains_key(&name) {
        return Err(AccessError::RoleExists { name });
    }
    refuse_more("roles", tables.roles.len(), ROLES_MAX)?;
    Ok(vec![AccessEdit::SetRole(Role { name, permissions: Vec::new() })])
}

fn remove_role(tables: &AccessTables, name: &str) -> Edits {
    role(tables, name)?;
    let users = tables.users.values().filter(|user| user.roles.contains(name)).map(|user| {
        let mut user = User::clone(user);
        user.roles.remove(name);
        AccessEdit::SetUser(user)
    });
    Ok(users.chain([AccessEdit::RemoveRole(name.to_owned())]).collect())
}

fn create_key(tables: &AccessTables, key: &AccessKey) -> Edits {
    user(tables, &key.user)?;
    if tables.keys.contains_key(&key.id) {
        return Err(AccessError::KeyExists { id: key.id.clone() });
    }
    if tables.keys_of(&key.user).count() >= KEYS_PER_USER_MAX {
        let (user, max) = (key.user.clone(), KEYS_PER_USER_MAX as u64);
        return Err(AccessError::TooManyKeys { user, max });
    }
    Ok(vec![AccessEdit::SetKey(key.clone())])
}

fn user<'a>(tables: &'a AccessTables, name: &str) -> Result<&'a User, AccessError> {
    let user = tables.users.get(name).map(|user| &**user);
    user.ok_or_else(|| AccessError::UserNotFound { name: name.to_owned() })
}

fn role<'a>(tables: &'a AccessTables, name: &str) -> Result<&'a Role, AccessError> {
    if name == ROOT {
        return Err(AccessError::RootRole);
    }
    let role = tables.roles.get(name).map(|role| &**role);
    role.ok_or_else(|| AccessError::RoleNotFound { name: name.to_owned() })
}

fn key<'a>(tables: &'a AccessTables, id: &str) -> Result<&'a AccessKey, AccessError> {
    let key = tables.keys.get(id).map(|key| &**key);
    key.ok_or_else(|| AccessError::KeyNotFound { id: id.to_owned() })
}

/// The edit from one user to another; none between equals.
fn set_user(before: &User, after: User) -> Vec<AccessEdit> {
    if *before == after { Vec::new() } else { vec![AccessEdit::SetUser(after)] }
}

/// Refuses one more of something of which there are as many as there may be.
fn refuse_more(what: &str, count: usize, max: usize) -> Result<(), AccessError> {
    if count >= max {
        return Err(AccessError::TooMany { what: what.to_owned(), max: max as u64 });
    }
    Ok(())
}
