//! One key as a path: its value is the body, its modification revision the entity tag.

mod parameters;
mod read;
mod write;

pub(super) use read::{get, list};
pub(super) use write::{delete, put};
