//! The calls about users, roles and keys.
//!
//! Any node takes them. A new key's secret is drawn and sealed by the node that is asked: what
//! enters the log is sealed, and the answer carries the secret once. A retry of a call whose answer
//! was lost makes no second key, so it has no secret to answer; it says which key to remove.

use std::ops::Bound;

use serde::Serialize;
use tokio::time::Instant;

use super::store_session::{StoreSession, validate_request_id};
use crate::actors::Keyring;
use crate::auth::Credentials;
use crate::machine::StateView;
use crate::types::access::{AccessPage, CreatedKey, KeyRecord, Listing, WhoAmI};
use crate::types::{
    AccessAnswer, AccessError, AccessOperation, AccessReply, AccessRequest, AccessTables, Answer,
    Asked, Operation, OperationError, RequestError, RequestId, User,
};

/// Most bytes of records in one page; one record always goes. The largest is a role with all the
/// permissions it may have, about half of this.
const PAGE_BYTES_MAX: usize = 1_024 * 1_024;

impl StoreSession {
    /// Changes users, roles or keys, or tells of them.
    pub async fn access(
        &self,
        request: AccessRequest,
        deadline: Instant,
    ) -> Result<AccessReply, RequestError> {
        let Some(keyring) = self.backend.auth.keyring() else {
            let reason = "this node runs without authentication (--insecure-no-auth), so it has \
                          no users; start it with a cluster key"
                .to_owned();
            return Err(RequestError::Refused { reason });
        };
        match &request {
            AccessRequest::Change { request_id, operation } => {
                refuse_sealing(operation)?;
                let (asked, operation) = (Asked::Access(&request), operation.clone());
                let answer = self.change(*request_id, operation, asked, deadline).await?;
                Ok(AccessReply::Changed(answer))
            }
            AccessRequest::CreateKey { request_id, user } => {
                let asked = Asked::Access(&request);
                let created = self.create_key(keyring, *request_id, user, asked, deadline).await?;
                Ok(AccessReply::KeyCreated(created))
            }
            AccessRequest::Users(_) | AccessRequest::Roles(_) | AccessRequest::Keys(_) => {
                self.permit(None, Asked::Access(&request))?;
                self.backend.raft.read_barrier(deadline).await?;
                let tables = self.backend.raft.view()?.access();
                Ok(list(&tables, &request)?)
            }
            AccessRequest::WhoAmI => {
                self.permit(None, Asked::Access(&request))?;
                self.backend.raft.read_barrier(deadline).await?;
                let tables = self.backend.raft.view()?.access();
                let user = self.principal().0.clone();
                let roles = tables.users.get(&user).map(|user| user.roles.clone());
                Ok(AccessReply::WhoAmI(WhoAmI {
                    user,
                    access_key_id: self.access_key_id.clone().unwrap_or_default(),
                    roles: roles.unwrap_or_default(),
                }))
            }
        }
    }

    async fn change(
        &self,
        request_id: RequestId,
        operation: AccessOperation,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<AccessAnswer, RequestError> {
        let operation = Operation::Access(operation);
        validate_request_id(&request_id)?;
        match self.propose(Some(request_id), operation, Some(asked), deadline).await? {
            Answer::Access(answer) => Ok(answer),
            // The same request id was given to another write before.
            _ => Err(RequestError::Invalid {
                reason: "the request id is that of a write of another kind".to_owned(),
            }),
        }
    }

    async fn create_key(
        &self,
        keyring: &Keyring,
        request_id: RequestId,
        user: &str,
        asked: Asked<'_>,
        deadline: Instant,
    ) -> Result<CreatedKey, RequestError> {
        let credentials = Credentials::generate(keyring.cluster_name(), &mut rand::rng());
        let key = keyring.seal(&credentials, user, &mut rand::rng());
        let operation = AccessOperation::CreateKey(key);
        let AccessAnswer { auth_revision, key_id } =
            self.change(request_id, operation, asked, deadline).await?;
        if key_id != credentials.access_key_id {
            let reason = format!(
                "an earlier attempt made key {key_id}, and its secret was lost with the answer; \
                 remove it with 'chainfire key remove {key_id}' and make another"
            );
            return Err(RequestError::Refused { reason });
        }
        Ok(CreatedKey {
            auth_revision,
            user: user.to_owned(),
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key.expose().to_owned(),
            cluster_name: credentials.cluster_name,
        })
    }
}

/// Nobody but a node of the cluster seals secrets.
fn refuse_sealing(operation: &AccessOperation) -> Result<(), RequestError> {
    if matches!(operation, AccessOperation::Bootstrap(_) | AccessOperation::CreateKey(_)) {
        let reason = "keys are made by a call of their own, which draws the secret".to_owned();
        return Err(RequestError::Invalid { reason });
    }
    Ok(())
}

/// One page of what `request` lists; what lists nothing answers no record.
fn list(tables: &AccessTables, request: &AccessRequest) -> Result<AccessReply, OperationError> {
    let revision = tables.revision;
    let after = |listing: &Listing| (Bound::Excluded(listing.after.clone()), Bound::Unbounded);
    match request {
        AccessRequest::Roles(listing) => {
            let roles = match &listing.of {
                Some(name) => {
                    let role = tables.roles.get(name);
                    let missing = || AccessError::RoleNotFound { name: name.clone() };
                    vec![role.ok_or_else(missing)?]
                }
                None => tables.roles.range(after(listing)).map(|(_, role)| role).collect(),
            };
            let roles = roles.into_iter().map(|role| (**role).clone());
            Ok(AccessReply::Roles(page(revision, roles)))
        }
        AccessRequest::Keys(listing) => {
            if let Some(user) = &listing.of {
                find_user(tables, user)?;
            }
            let keys = tables.keys.range(after(listing)).map(|(_, key)| key);
            let keys = keys.filter(|key| listing.of.as_ref().is_none_or(|of| key.user == *of));
            Ok(AccessReply::Keys(page(revision, keys.map(|key| KeyRecord::from(&**key)))))
        }
        AccessRequest::Users(listing) => {
            let users = match &listing.of {
                Some(name) => vec![find_user(tables, name)?],
                None => tables.users.range(after(listing)).map(|(_, user)| &**user).collect(),
            };
            Ok(AccessReply::Users(page(revision, users.into_iter().cloned())))
        }
        AccessRequest::Change { .. } | AccessRequest::CreateKey { .. } | AccessRequest::WhoAmI => {
            Ok(AccessReply::Users(page(revision, std::iter::empty())))
        }
    }
}

fn find_user<'a>(tables: &'a AccessTables, name: &str) -> Result<&'a User, AccessError> {
    let user = tables.users.get(name).map(|user| &**user);
    user.ok_or_else(|| AccessError::UserNotFound { name: name.to_owned() })
}

fn page<R: Serialize>(auth_revision: u64, all: impl Iterator<Item = R>) -> AccessPage<R> {
    let (mut records, mut bytes, mut more) = (Vec::new(), 0, false);
    for record in all {
        bytes += postcard::to_stdvec(&record).map_or(0, |encoded| encoded.len());
        if bytes > PAGE_BYTES_MAX && !records.is_empty() {
            more = true;
            break;
        }
        records.push(record);
    }
    AccessPage { auth_revision, records, more }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AccessEdit, AccessKey};

    fn tables(users: usize, name_bytes: usize) -> AccessTables {
        let edits = (0..users).flat_map(|number| {
            let name = format!("{number:0name_bytes$}");
            let key = AccessKey {
                id: format!("K{number}"),
                user: name.clone(),
                version: 1,
                active: true,
                sealed_secret: "5ealed".into(),
            };
            let user = User { name, roles: Default::default(), active: true };
            [AccessEdit::SetUser(user), AccessEdit::SetKey(key)]
        });
        AccessTables::default().edited(7, &edits.collect::<Vec<_>>())
    }

    #[test]
    fn pages_together_are_everybody() {
        let tables = tables(10_000, 120);
        let (mut listing, mut found, mut pages) = (Listing::default(), 0, 0);
        loop {
            let reply = list(&tables, &AccessRequest::Users(listing.clone())).unwrap();
            let AccessReply::Users(page) = reply else { panic!("{reply:?}") };
            (found, pages) = (found + page.records.len(), pages + 1);
            if !page.more {
                break;
            }
            listing.after = page.records.last().unwrap().name.clone();
        }
        assert_eq!((found, pages), (10_000, 2));
    }

    #[test]
    fn a_listing_names_keys_without_their_secrets_and_misses_nobody_silently() {
        let tables = tables(3, 3);
        let of = |name: &str| Listing { of: Some(name.to_owned()), after: String::new() };
        let reply = list(&tables, &AccessRequest::Keys(of("001"))).unwrap();
        let bytes = postcard::to_stdvec(&reply).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"5ealed"), "{reply:?}");
        let AccessReply::Keys(page) = reply else { panic!("keys were asked for") };
        assert_eq!(page.records.len(), 1);
        for request in [AccessRequest::Keys(of("no")), AccessRequest::Users(of("no"))] {
            let refused = list(&tables, &request).unwrap_err();
            assert_eq!(refused, AccessError::UserNotFound { name: "no".into() }.into());
        }
        assert!(list(&tables, &AccessRequest::Roles(of("no"))).is_err());
    }

    #[test]
    fn a_client_cannot_send_a_sealed_key() {
        let key = tables(1, 1).keys["K0"].as_ref().clone();
        for operation in [AccessOperation::Bootstrap(key.clone()), AccessOperation::CreateKey(key)]
        {
            assert!(matches!(refuse_sealing(&operation), Err(RequestError::Invalid { .. })));
        }
    }
}
