//! Users, roles and access keys, as the replicated state holds them.
//!
//! etcd's model: a user has roles, a role has permissions on ranges of keys, everything not granted
//! is denied. The role [`ROOT`] grants everything. A user's requests are signed with one of its
//! access keys, of which it has at most [`KEYS_PER_USER_MAX`], so that one can take over from the
//! other without a pause. A key's secret is here only sealed: the log, the state and snapshots hold
//! none in the clear.

mod call;
mod grants;
mod operation;
mod policy;
mod tables;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use call::{AccessPage, AccessReply, AccessRequest, CreatedKey, KeyRecord, Listing, WhoAmI};
pub use grants::Grants;
pub use operation::{AccessAnswer, AccessError, AccessOperation};
pub use policy::{Asked, KeySpan, Need, visit_needs};
pub use tables::{AccessEdit, AccessTables};

use super::{KeyRange, Principal};

/// The user that a cluster begins with, and the role that grants everything.
pub const ROOT: &str = "root";

/// Longest name of a user or role, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest id of an access key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 64;
/// Longest sealed secret, in bytes.
pub const SEALED_SECRET_BYTES_MAX: usize = 256;
/// Most keys one user has, active or not. *Replicated.*
pub const KEYS_PER_USER_MAX: usize = 2;
/// Most users. *Replicated.*
pub const USERS_MAX: usize = 10_000;
/// Most roles. *Replicated.*
pub const ROLES_MAX: usize = 1_000;
/// Most roles of one user. *Replicated.*
pub const ROLES_PER_USER_MAX: usize = 64;
/// Most permissions of one role. *Replicated.*
pub const PERMISSIONS_PER_ROLE_MAX: usize = 256;

/// Somebody who may sign requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name; also the principal in commands.
    pub name: String,
    /// Its roles.
    pub roles: BTreeSet<String>,
    /// Whether its keys are accepted.
    pub active: bool,
}

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The name.
    pub name: String,
    /// What it grants; at most one permission for a range.
    pub permissions: Vec<Permission>,
}

/// What may be done with the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// What.
    pub kind: PermissionKind,
    /// With which keys.
    pub range: KeyRange,
}

/// What a permission is for. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PermissionKind {
    /// Reading.
    Read,
    /// Writing and deleting.
    Write,
    /// Both.
    ReadWrite,
}

impl PermissionKind {
    /// Whether it covers reading.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether it covers writing.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }

    /// Its name in commands and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "readwrite",
        }
    }
}

/// A key that requests are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The public id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// Counts the secrets this id has had, from 1; part of what the sealing covers.
    pub version: u64,
    /// Whether it is accepted.
    pub active: bool,
    /// The secret under the cluster's master key; opaque here.
    pub sealed_secret: Bytes,
}

/// Nodes, speaking for the cluster itself. No user can have this name.
const CLUSTER: &str = "@cluster";
/// Whoever asks a node that runs without authentication. No user can have this name.
const ANYONE: &str = "@anyone";
/// A machine that holds the cluster's key file and is no member yet. No user can have this name.
const JOINING_NODE: &str = "@node";

impl Principal {
    /// The cluster itself: what its nodes write on their own behalf.
    pub fn cluster() -> Self {
        Self(CLUSTER.to_owned())
    }

    /// Whoever asks a node that runs without authentication.
    pub fn anyone() -> Self {
        Self(ANYONE.to_owned())
    }

    /// A machine that holds the cluster's key file and is no member yet: it may ask to join, and
    /// nothing else.
    pub fn joining_node() -> Self {
        Self(JOINING_NODE.to_owned())
    }

    /// Whether this is a machine that joins.
    pub fn is_joining_node(&self) -> bool {
        self.0 == JOINING_NODE
    }

    /// Whether this is the cluster or anyone, to whom nothing is denied.
    pub fn is_builtin(&self) -> bool {
        self.0 == CLUSTER || self.0 == ANYONE
    }
}

/// Whether `name` can name a user or a role: letters, digits, `.`, `_` and `-`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether `id` can be an access key's: letters and digits.
pub fn is_key_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= KEY_ID_BYTES_MAX
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_can_be_called_like_a_principal_that_may_do_everything() {
        for principal in [Principal::cluster(), Principal::anyone()] {
            assert!(principal.is_builtin() && !is_name(&principal.0));
        }
        let joining = Principal::joining_node();
        assert!(!joining.is_builtin() && !is_name(&joining.0));
        assert!(!Principal(ROOT.to_owned()).is_builtin() && is_name(ROOT));
    }

    #[test]
    fn names_are_plain() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        for good in ["a", "A-1", "svc.web_2", &longest] {
            assert!(is_name(good), "{good}");
        }
        let longer = "n".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "a b", "a/b", "@a", "ä", "a\n", &longer] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_key_id("CF0A") && !is_key_id("CF/A") && !is_key_id(""));
    }
}
