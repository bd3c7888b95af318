//! What clients ask about users, roles and keys, and what they are answered.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AccessAnswer, AccessKey, AccessOperation, Role, User};
use crate::types::RequestId;

/// A change of users, roles or keys, or a question about them. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessRequest {
    /// Change them. Neither `Bootstrap` nor `CreateKey`: secrets are drawn and sealed by a node.
    Change {
        /// The change's name, under which it may be sent again.
        request_id: RequestId,
        /// What to change.
        operation: AccessOperation,
    },
    /// Make a key for a user.
    CreateKey {
        /// As for `Change`. A second attempt makes no second key, and has no secret to answer.
        request_id: RequestId,
        /// Whose it is to be.
        user: String,
    },
    /// The users, or the one named.
    Users(Listing),
    /// The roles, or the one named; the role root is not among them.
    Roles(Listing),
    /// The keys, or those of the user named.
    Keys(Listing),
    /// Who signs.
    WhoAmI,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Only what belongs to this name; none = everything.
    pub of: Option<String>,
    /// Only what comes after this name, the last one of the page before; empty = the first page.
    pub after: String,
}

/// The answer to an [`AccessRequest`]. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessReply {
    /// To `Change`.
    Changed(AccessAnswer),
    /// To `CreateKey`.
    KeyCreated(CreatedKey),
    /// To `Users`, by name.
    Users(AccessPage<User>),
    /// To `Roles`, by name.
    Roles(AccessPage<Role>),
    /// To `Keys`, by id.
    Keys(AccessPage<KeyRecord>),
    /// To `WhoAmI`.
    WhoAmI(WhoAmI),
}

/// Some records of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPage<T> {
    /// The revision of users, roles and keys that it is of.
    pub auth_revision: u64,
    /// The records.
    pub records: Vec<T>,
    /// Whether more come after the last of them.
    pub more: bool,
}

/// An access key without its secret, which no listing has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The public id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// Whether it is accepted, while its user is active.
    pub active: bool,
}

impl From<&AccessKey> for KeyRecord {
    fn from(key: &AccessKey) -> Self {
        Self { id: key.id.clone(), user: key.user.clone(), active: key.active }
    }
}

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The user.
    pub user: String,
    /// The key.
    pub access_key_id: String,
    /// The user's roles.
    pub roles: BTreeSet<String>,
}

/// A new key with its secret, which is answered this once. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The revision of users, roles and keys with it.
    pub auth_revision: u64,
    /// Whose it is.
    pub user: String,
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// The cluster it is good for.
    pub cluster_name: String,
}

impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { auth_revision, user, access_key_id, .. } = self;
        f.debug_struct("CreatedKey")
            .field("auth_revision", auth_revision)
            .field("user", user)
            .field("access_key_id", access_key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_not_printed() {
        let key = CreatedKey {
            auth_revision: 1,
            user: "ann".into(),
            access_key_id: "CF0A".into(),
            secret_access_key: "s3cr3t".into(),
            cluster_name: "c".into(),
        };
        let printed = format!("{:?}", AccessReply::KeyCreated(key));
        assert!(printed.contains("CF0A") && !printed.contains("s3cr3t"), "{printed}");
    }

    #[test]
    fn requests_and_replies_are_encoded_as_pinned() {
        let hex =
            |bytes: Vec<u8>| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        let request_id = RequestId {
            client: crate::types::ClientId(1),
            sequence: 2,
            lowest_unanswered: 2,
            begun_ms: 3,
            window_ms: 4,
        };
        let listing = Listing { of: Some("u".into()), after: "a".into() };
        let operation = AccessOperation::AddUser { name: "u".into() };
        let user = "u".to_owned();
        for (request, pinned) in [
            (AccessRequest::Change { request_id, operation }, "000102020304010175"),
            (AccessRequest::CreateKey { request_id, user }, "0101020203040175"),
            (AccessRequest::Users(listing.clone()), "020101750161"),
            (AccessRequest::Roles(listing.clone()), "030101750161"),
            (AccessRequest::Keys(listing), "040101750161"),
            (AccessRequest::WhoAmI, "05"),
        ] {
            let bytes = postcard::to_stdvec(&request).expect("encodable");
            assert_eq!(hex(bytes), pinned, "{request:?}");
        }
        let record = KeyRecord { id: "K".into(), user: "u".into(), active: true };
        let page = AccessPage { auth_revision: 300, records: vec![record], more: true };
        let whoami = WhoAmI {
            user: "u".into(),
            access_key_id: "K".into(),
            roles: BTreeSet::from(["r".to_owned()]),
        };
        for (reply, pinned) in [
            (AccessReply::Keys(page), "04ac0201014b01750101"),
            (AccessReply::WhoAmI(whoami), "050175014b010172"),
        ] {
            let bytes = postcard::to_stdvec(&reply).expect("encodable");
            assert_eq!(hex(bytes), pinned, "{reply:?}");
        }
    }
}
