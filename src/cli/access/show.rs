//! Users, roles and keys as they are written.

use serde::Serialize;

use crate::cli::bytes::Base64;
use crate::cli::cluster::table;
use crate::cli::failure::CommandError;
use crate::cli::terminal::Terminal;
use crate::types::access::KeySpan;
use crate::types::{CreatedKey, KeyRecord, Permission, Role, User, WhoAmI};

/// One user of `user list`.
#[derive(Debug, Serialize)]
pub(super) struct UserJson<'a> {
    name: &'a str,
    active: bool,
    roles: Vec<&'a str>,
}

impl<'a> From<&'a User> for UserJson<'a> {
    fn from(user: &'a User) -> Self {
        let roles = user.roles.iter().map(String::as_str).collect();
        Self { name: &user.name, active: user.active, roles }
    }
}

/// `user show`.
#[derive(Debug, Serialize)]
struct UserWithKeysJson<'a> {
    #[serde(flatten)]
    user: UserJson<'a>,
    keys: Vec<KeyJson<'a>>,
}

/// One role.
#[derive(Debug, Serialize)]
pub(super) struct RoleJson<'a> {
    name: &'a str,
    permissions: Vec<PermissionJson>,
}

#[derive(Debug, Serialize)]
struct PermissionJson {
    permission: &'static str,
    key: Base64,
    range_end: Base64,
}

impl<'a> From<&'a Role> for RoleJson<'a> {
    fn from(role: &'a Role) -> Self {
        let permissions = role.permissions.iter().map(|permission| PermissionJson {
            permission: permission.kind.name(),
            key: Base64(permission.range.key.clone()),
            range_end: Base64(permission.range.range_end.clone()),
        });
        Self { name: &role.name, permissions: permissions.collect() }
    }
}

/// One key.
#[derive(Debug, Serialize)]
pub(super) struct KeyJson<'a> {
    id: &'a str,
    user: &'a str,
    active: bool,
}

impl<'a> From<&'a KeyRecord> for KeyJson<'a> {
    fn from(key: &'a KeyRecord) -> Self {
        Self { id: &key.id, user: &key.user, active: key.active }
    }
}

/// A new key. Without the secret when that went into a file.
#[derive(Debug, Serialize)]
struct CreatedJson<'a> {
    access_key_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_access_key: Option<&'a str>,
    cluster_name: &'a str,
    user: &'a str,
    /// The keys that the user had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    older_keys: Option<Vec<&'a str>>,
}

#[derive(Debug, Serialize)]
struct WhoAmIJson<'a> {
    user: &'a str,
    access_key_id: &'a str,
    roles: Vec<&'a str>,
}

fn state(active: bool) -> &'static str {
    if active { "active" } else { "inactive" }
}

fn roles(user: &User) -> String {
    user.roles.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// `user list`.
pub(super) fn users(
    users: &[User],
    json: bool,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    if json {
        return Ok(terminal.json(&users.iter().map(UserJson::from).collect::<Vec<_>>())?);
    }
    let mut table = table(&["name", "state", "roles"]);
    for user in users {
        table.add_row(vec![user.name.clone(), state(user.active).to_owned(), roles(user)]);
    }
    Ok(terminal.line(table.to_string())?)
}

/// `user show`.
pub(super) fn user(
    user: &User,
    keys: &[KeyRecord],
    json: bool,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    if json {
        let keys = keys.iter().map(KeyJson::from).collect();
        return Ok(terminal.json(&UserWithKeysJson { user: user.into(), keys })?);
    }
    terminal.line(format!("user {} is {}", user.name, state(user.active)))?;
    terminal.line(format!("roles: {}", roles(user)))?;
    for key in keys {
        terminal.line(format!("key {} is {}", key.id, state(key.active)))?;
    }
    Ok(())
}

/// `role list`.
pub(super) fn role_list(
    roles: &[Role],
    json: bool,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    if json {
        return Ok(terminal.json(&roles.iter().map(RoleJson::from).collect::<Vec<_>>())?);
    }
    let mut table = table(&["name", "permissions"]);
    for role in roles {
        table.add_row(vec![role.name.clone(), role.permissions.len().to_string()]);
    }
    Ok(terminal.line(table.to_string())?)
}

/// `role show`.
pub(super) fn role(role: &Role, json: bool, terminal: &mut Terminal) -> Result<(), CommandError> {
    if json {
        return Ok(terminal.json(&RoleJson::from(role))?);
    }
    terminal.line(format!("role {}", role.name))?;
    for Permission { kind, range } in &role.permissions {
        terminal.line(format!("{} {}", kind.name(), KeySpan::from(range)))?;
    }
    Ok(())
}

/// `key list`.
pub(super) fn keys(
    keys: &[KeyRecord],
    json: bool,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    if json {
        return Ok(terminal.json(&keys.iter().map(KeyJson::from).collect::<Vec<_>>())?);
    }
    let mut table = table(&["id", "user", "state"]);
    for key in keys {
        table.add_row(vec![key.id.clone(), key.user.clone(), state(key.active).to_owned()]);
    }
    Ok(terminal.line(table.to_string())?)
}

/// `whoami`.
pub(super) fn who(who: &WhoAmI, json: bool, terminal: &mut Terminal) -> Result<(), CommandError> {
    let WhoAmI { user, access_key_id, roles } = who;
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    if json {
        return Ok(terminal.json(&WhoAmIJson { user, access_key_id, roles })?);
    }
    terminal.line(format!("user {user}, key {access_key_id}, roles: {}", roles.join(" ")))?;
    Ok(())
}

/// `key create`, and with the keys there were before `key rotate`. The secret is shown unless it
/// lies in `file`.
pub(super) fn created(
    key: &CreatedKey,
    file: Option<&std::path::Path>,
    older: Option<&[KeyRecord]>,
    json: bool,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    if json {
        let older_keys = older.map(|keys| keys.iter().map(|key| key.id.as_str()).collect());
        return Ok(terminal.json(&CreatedJson {
            access_key_id: &key.access_key_id,
            secret_access_key: file.is_none().then_some(key.secret_access_key.as_str()),
            cluster_name: &key.cluster_name,
            user: &key.user,
            older_keys,
        })?);
    }
    match file {
        Some(path) => terminal.line(format!(
            "{}: key {} of {}",
            path.display(),
            key.access_key_id,
            key.user
        ))?,
        None => {
            // As a credentials file has it, so that it can be redirected into one.
            terminal.line(format!("access_key_id = {:?}", key.access_key_id))?;
            terminal.line(format!("secret_access_key = {:?}", key.secret_access_key))?;
            terminal.line(format!("cluster_name = {:?}", key.cluster_name))?;
        }
    }
    for old in older.unwrap_or_default() {
        terminal.line(format!(
            "# once everybody uses the new key: chainfire key deactivate {id}, later chainfire key \
             remove {id}",
            id = old.id
        ))?;
    }
    Ok(())
}
