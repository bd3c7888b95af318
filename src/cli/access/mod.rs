//! `user ...`, `role ...`, `key ...` and `whoami`.

mod arguments;
mod show;

pub(super) use arguments::{KeyCommand, RoleCommand, UserCommand};

use serde::Serialize;

use self::arguments::KeyCreateArguments;
use super::arguments::Global;
use super::failure::CommandError;
use super::terminal::Terminal;
use crate::auth::{Credentials, SecretKey};
use crate::client::{Client, Error};
use crate::types::{AccessOperation, Permission};

/// The answer to a change.
#[derive(Debug, Serialize)]
struct DoneJson {
    auth_revision: u64,
}

/// Does what is asked about users.
pub(super) async fn user(
    global: &Global,
    command: UserCommand,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let (operation, done) = match command {
        UserCommand::List => {
            let users = connect(global).await?.users(None).await?;
            show::users(&users, global.json(), terminal)?;
            return Ok(terminal.flush()?);
        }
        UserCommand::Show { name } => {
            let client = connect(global).await?;
            let users = client.users(Some(&name)).await?;
            let user = users.first().ok_or_else(|| nothing_answered(&name))?;
            let keys = client.keys(Some(&name)).await?;
            show::user(user, &keys, global.json(), terminal)?;
            return Ok(terminal.flush()?);
        }
        UserCommand::Add { name } => {
            let done = format!("user {name} was added; give it a role and a key");
            (AccessOperation::AddUser { name }, done)
        }
        UserCommand::Remove { name } => {
            let done = format!("user {name} was removed with its keys");
            (AccessOperation::RemoveUser { name }, done)
        }
        UserCommand::Enable { name } => {
            let done = format!("user {name} is active");
            (AccessOperation::SetUserActive { name, active: true }, done)
        }
        UserCommand::Disable { name } => {
            let done = format!("user {name} is no longer active");
            (AccessOperation::SetUserActive { name, active: false }, done)
        }
        UserCommand::GrantRole { user, role } => {
            let done = format!("user {user} has the role {role}");
            (AccessOperation::GrantRole { user, role }, done)
        }
        UserCommand::RevokeRole { user, role } => {
            let done = format!("user {user} no longer has the role {role}");
            (AccessOperation::RevokeRole { user, role }, done)
        }
    };
    change(global, operation, &done, terminal).await
}

/// Does what is asked about roles.
pub(super) async fn role(
    global: &Global,
    command: RoleCommand,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let (operation, done) = match command {
        RoleCommand::List => {
            let roles = connect(global).await?.roles(None).await?;
            show::role_list(&roles, global.json(), terminal)?;
            return Ok(terminal.flush()?);
        }
        RoleCommand::Show { name } => {
            let roles = connect(global).await?.roles(Some(&name)).await?;
            let role = roles.first().ok_or_else(|| nothing_answered(&name))?;
            show::role(role, global.json(), terminal)?;
            return Ok(terminal.flush()?);
        }
        RoleCommand::Add { name } => {
            let done = format!("role {name} was added; grant it permissions");
            (AccessOperation::AddRole { name }, done)
        }
        RoleCommand::Remove { name } => {
            let done = format!("role {name} was removed");
            (AccessOperation::RemoveRole { name }, done)
        }
        RoleCommand::Grant { role, permission, keys } => {
            let permission = Permission { kind: permission.into(), range: keys.range() };
            let done = format!("role {role} was granted {}", permission.kind.name());
            (AccessOperation::GrantPermission { role, permission }, done)
        }
        RoleCommand::Revoke { role, keys } => {
            let done = format!("the permission of role {role} was revoked");
            (AccessOperation::RevokePermission { role, range: keys.range() }, done)
        }
    };
    change(global, operation, &done, terminal).await
}

/// Does what is asked about keys.
pub(super) async fn key(
    global: &Global,
    command: KeyCommand,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let (operation, done) = match command {
        KeyCommand::Create(arguments) => return create(global, arguments, false, terminal).await,
        KeyCommand::Rotate(arguments) => return create(global, arguments, true, terminal).await,
        KeyCommand::List { user } => {
            let keys = connect(global).await?.keys(user.as_deref()).await?;
            show::keys(&keys, global.json(), terminal)?;
            return Ok(terminal.flush()?);
        }
        KeyCommand::Deactivate { id } => {
            let done = format!("key {id} is no longer accepted");
            (AccessOperation::SetKeyActive { id, active: false }, done)
        }
        KeyCommand::Activate { id } => {
            let done = format!("key {id} is accepted");
            (AccessOperation::SetKeyActive { id, active: true }, done)
        }
        KeyCommand::Remove { id } => {
            let done = format!("key {id} was removed");
            (AccessOperation::RemoveKey { id }, done)
        }
    };
    change(global, operation, &done, terminal).await
}

/// Says who signs.
pub(super) async fn whoami(global: &Global, terminal: &mut Terminal) -> Result<(), CommandError> {
    let who = connect(global).await?.who_am_i().await?;
    show::who(&who, global.json(), terminal)?;
    Ok(terminal.flush()?)
}

async fn connect(global: &Global) -> Result<Client, CommandError> {
    Ok(global.client_for_one()?.connect().await?)
}

async fn change(
    global: &Global,
    operation: AccessOperation,
    done: &str,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let answer = connect(global).await?.change_access(operation).await?;
    if global.json() {
        terminal.json(&DoneJson { auth_revision: answer.auth_revision })?;
    } else {
        terminal.line(done)?;
    }
    Ok(terminal.flush()?)
}

/// Makes a key, beside the one there is when keys are rotated.
async fn create(
    global: &Global,
    arguments: KeyCreateArguments,
    rotate: bool,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let KeyCreateArguments { user, out } = arguments;
    // A secret that could not be written would be lost.
    if let Some(path) = out.as_deref().filter(|path| path.exists()) {
        return Err(CommandError::Usage(format!(
            "{} exists; give --out a file that does not",
            path.display()
        )));
    }
    let client = connect(global).await?;
    let older = if rotate { Some(client.keys(Some(&user)).await?) } else { None };
    if older.as_ref().is_some_and(Vec::is_empty) {
        return Err(CommandError::Usage(format!(
            "user {user} has no key to rotate; use 'chainfire key create {user}'"
        )));
    }
    let key = client.create_key(&user).await?;
    if let Some(path) = &out {
        let credentials = Credentials {
            access_key_id: key.access_key_id.clone(),
            secret_access_key: SecretKey::new(&key.secret_access_key[..]),
            cluster_name: key.cluster_name.clone(),
        };
        credentials.create(path)?;
    }
    show::created(&key, out.as_deref(), older.as_deref(), global.json(), terminal)?;
    Ok(terminal.flush()?)
}

fn nothing_answered(name: &str) -> CommandError {
    Error::Unknown { reason: format!("the node answered nothing about {name}") }.into()
}
