//! What may be asked of users, roles and keys, and why it is refused.

use serde::{Deserialize, Serialize};

use super::{AccessKey, Permission};
use crate::types::KeyRange;

/// A change of users, roles or keys, in the log. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessOperation {
    /// The cluster begins: the user root, its role and this key, unless there is any user.
    Bootstrap(AccessKey),
    /// A user without roles and keys.
    AddUser {
        /// Its name.
        name: String,
    },
    /// A user goes, with its keys.
    RemoveUser {
        /// Its name.
        name: String,
    },
    /// A user's keys are accepted, or no longer.
    SetUserActive {
        /// Its name.
        name: String,
        /// Whether they are accepted.
        active: bool,
    },
    /// A user gets a role.
    GrantRole {
        /// The user.
        user: String,
        /// The role, which exists.
        role: String,
    },
    /// A user loses a role.
    RevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A role without permissions.
    AddRole {
        /// Its name.
        name: String,
    },
    /// A role goes; its users lose it.
    RemoveRole {
        /// Its name.
        name: String,
    },
    /// A role gets a permission; one it had for the same range is replaced.
    GrantPermission {
        /// The role.
        role: String,
        /// What it grants.
        permission: Permission,
    },
    /// A role loses the permission for exactly this range.
    RevokePermission {
        /// The role.
        role: String,
        /// The range.
        range: KeyRange,
    },
    /// A user gets a key, whose id is new.
    CreateKey(AccessKey),
    /// A key is accepted, or no longer.
    SetKeyActive {
        /// The key.
        id: String,
        /// Whether it is accepted.
        active: bool,
    },
    /// A key goes.
    RemoveKey {
        /// The key.
        id: String,
    },
}

/// The answer to a change of users, roles or keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessAnswer {
    /// The revision of users, roles and keys after the change.
    pub auth_revision: u64,
    /// The key that was made; empty when none was. The same for a retry, whatever id that brought.
    pub key_id: String,
}

/// Why users, roles or keys were not changed. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AccessError {
    /// No such user.
    #[error("user {name} does not exist; see `user list`")]
    UserNotFound {
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("user {name} exists")]
    UserExists {
        /// The name.
        name: String,
    },
    /// No such role.
    #[error("role {name} does not exist; see `role list`")]
    RoleNotFound {
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("role {name} exists")]
    RoleExists {
        /// The name.
        name: String,
    },
    /// The role root is what it is.
    #[error("the role root grants everything and cannot be changed or removed")]
    RootRole,
    /// The user has not this role.
    #[error("user {user} does not have the role {role}")]
    RoleNotGranted {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// The role has no permission for exactly this range.
    #[error("role {role} has no permission for exactly this range; see `role show`")]
    PermissionNotGranted {
        /// The role.
        role: String,
    },
    /// No such key.
    #[error("key {id} does not exist; see `key list`")]
    KeyNotFound {
        /// The id.
        id: String,
    },
    /// The id is taken.
    #[error("key {id} exists; make another")]
    KeyExists {
        /// The id.
        id: String,
    },
    /// A user has as many keys as it may.
    #[error("user {user} has {max} keys, as many as it may; remove one first")]
    TooManyKeys {
        /// The user.
        user: String,
        /// The limit.
        max: u64,
    },
    /// Nobody could manage users any more.
    #[error(
        "nobody would be left who can manage users; give another active user with an active key the role root first"
    )]
    LastAdministrator,
    /// A limit on users, roles or permissions.
    #[error("there are {max} {what}, as many as there may be; remove some first")]
    TooMany {
        /// What there are too many of.
        what: String,
        /// The limit.
        max: u64,
    },
    /// A malformed name, id, range or secret.
    #[error("invalid {what}")]
    Invalid {
        /// What is malformed, and how it should be.
        what: String,
    },
}
