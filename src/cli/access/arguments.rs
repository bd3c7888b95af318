//! `user`, `role` and `key`, as they are typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::arguments::KeyArguments;
use crate::types::PermissionKind;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UserCommand {
    /// Add a user without roles and keys
    Add {
        /// Its name
        name: String,
    },
    /// List the users
    List,
    /// Show a user with its roles and keys
    Show {
        /// Its name
        name: String,
    },
    /// Remove a user with its keys; its connections are closed
    Remove {
        /// Its name
        name: String,
    },
    /// Accept a user's keys again
    Enable {
        /// Its name
        name: String,
    },
    /// Accept a user's keys no longer; its connections are closed
    Disable {
        /// Its name
        name: String,
    },
    /// Give a user a role
    GrantRole {
        /// The user
        user: String,
        /// The role; 'root' grants everything
        role: String,
    },
    /// Take a role from a user
    RevokeRole {
        /// The user
        user: String,
        /// The role
        role: String,
    },
}

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RoleCommand {
    /// Add a role without permissions
    Add {
        /// Its name
        name: String,
    },
    /// List the roles; the role root, which grants everything, is not among them
    List,
    /// Show a role with its permissions
    Show {
        /// Its name
        name: String,
    },
    /// Remove a role; its users lose it
    Remove {
        /// Its name
        name: String,
    },
    /// Grant a permission on a key or a range of keys; replaces the one for the same range
    Grant {
        /// The role
        role: String,
        /// What may be done
        #[arg(value_enum)]
        permission: PermissionArgument,
        #[command(flatten)]
        keys: KeyArguments,
    },
    /// Revoke the permission for exactly this key or range
    Revoke {
        /// The role
        role: String,
        #[command(flatten)]
        keys: KeyArguments,
    },
}

/// What a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PermissionArgument {
    /// Reading
    Read,
    /// Writing and deleting
    Write,
    /// Both
    #[value(name = "readwrite")]
    ReadWrite,
}

impl From<PermissionArgument> for PermissionKind {
    fn from(argument: PermissionArgument) -> Self {
        match argument {
            PermissionArgument::Read => Self::Read,
            PermissionArgument::Write => Self::Write,
            PermissionArgument::ReadWrite => Self::ReadWrite,
        }
    }
}

/// What to do with access keys.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a key for a user; its secret is shown this once
    Create(KeyCreateArguments),
    /// List the keys, without their secrets
    List {
        /// Only those of this user
        user: Option<String>,
    },
    /// Accept a key no longer; its connections are closed
    Deactivate {
        /// The key's id
        id: String,
    },
    /// Accept a key again
    Activate {
        /// The key's id
        id: String,
    },
    /// Remove a key; its connections are closed
    Remove {
        /// The key's id
        id: String,
    },
    /// Make a second key for a user who has one, and say how to retire the first
    Rotate(KeyCreateArguments),
}

/// `key create` and `key rotate`.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct KeyCreateArguments {
    /// The user
    pub(super) user: String,
    /// Write a credentials file that only its owner can read, in place of showing the secret
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}
