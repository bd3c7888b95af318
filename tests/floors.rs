//! Imports only go down the floors that `src/lib.rs` lists.
//!
//! Reads every source file as tokens (comments and strings left out), finds each path that starts
//! at `crate::` or climbs out of its room by `super::`, and asks whether the room the file is in
//! may know the room the path leads to. A room that is on no floor is an error, so that a new room
//! is given its place here and in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor. `rpc::server` is a room apart from the rest of `rpc`.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["types", "clock", "failpoint"]),
    (1, &["machine", "auth", "consensus", "config", "telemetry"]),
    (2, &["storage", "rpc"]),
    (3, &["actors"]),
    (4, &["rpc::server", "http"]),
    (5, &["node", "client"]),
    (6, &["cli", "main"]),
];

/// What the side room sees; of `rpc` only these parts.
const CLIENT_SEES: &[&str] = &["types", "clock", "auth"];
const CLIENT_SEES_OF_RPC: &[&str] = &["api", "transport"];

/// Where a path leads: its first two segments after the crate's root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    first: String,
    second: Option<String>,
}

impl Target {
    fn room(&self) -> &str {
        match (self.first.as_str(), self.second.as_deref()) {
            ("rpc", Some("server")) => "rpc::server",
            (first, _) => first,
        }
    }
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// What is wrong with a path in a file of room `from`, if anything.
fn objection(from: &str, target: &Target) -> Option<String> {
    let to = target.room();
    let (Some(from_floor), Some(to_floor)) = (floor(from), floor(to)) else {
        return Some(format!("`{from}` or `{to}` is on no floor"));
    };
    if from == to {
        return None;
    }
    if from == "client" {
        let part = target.second.as_deref().unwrap_or_default();
        let seen = CLIENT_SEES.contains(&to) || to == "rpc" && CLIENT_SEES_OF_RPC.contains(&part);
        return (!seen).then(|| format!("`client` may not see `{to}::{part}`"));
    }
    // Nodes do not use the client; only what stands above both does.
    (to_floor >= from_floor || to == "client" && from != "cli")
        .then(|| format!("`{from}` (floor {from_floor}) may not import `{to}` (floor {to_floor})"))
}

/// A piece of source text after the line it starts on.
type Token = (usize, String);

/// The identifiers and punctuation of a source text, each with its line.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(character) = rest.chars().next() {
        let length = token_length(rest, character);
        let (token, after) = rest.split_at(length);
        let is_code = character.is_alphabetic() || "_:{},*;$".contains(character);
        if is_code && !is_raw_string(token) {
            tokens.push((line, token.to_owned()));
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

fn is_raw_string(token: &str) -> bool {
    token.contains('"')
}

/// How many bytes of `rest` are its first token.
fn token_length(rest: &str, first: char) -> usize {
    let until = |end: &str, from: usize| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return until("\n", 2);
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    for prefix in ["r", "br"] {
        let hashes = rest.strip_prefix(prefix).map(|r| r.len() - r.trim_start_matches('#').len());
        if let Some(hashes) = hashes
            && rest[prefix.len() + hashes..].starts_with('"')
        {
            let end = format!("\"{}", "#".repeat(hashes));
            return until(&end, prefix.len() + hashes + 1);
        }
    }
    match first {
        '"' => string_length(rest),
        '\'' => character_length(rest),
        ':' if rest.starts_with("::") => 2,
        _ if first.is_alphanumeric() || first == '_' => {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
        }
        _ => first.len_utf8(),
    }
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal whole; of a lifetime only its tick.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[2..]
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '\'')
            .map_or(rest.len(), |(at, _)| 2 + at + 1),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// Every path of a file that leads to the crate's root and on, with its line. `depth` is how many
/// modules deep the file itself is. A path that climbs to the root by `super` is an error, as
/// `Err` of its line.
fn targets(text: &str, depth: usize) -> Vec<Result<(usize, Target), usize>> {
    let tokens = tokens(text);
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut found = Vec::new();
    // For each open brace, whether it is the body of a module.
    let mut braces = Vec::new();
    for at in 0..tokens.len() {
        let starts_path = at == 0 || token(at - 1) != "::";
        match token(at) {
            "{" => braces.push(at >= 2 && token(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            "crate" if starts_path && token(at + 1) == "::" => {
                let line = tokens[at].0;
                let leads_to = first_two(&tokens[at + 2..]);
                found.extend(leads_to.into_iter().map(|target| Ok((line, target))));
            }
            "super" if starts_path => {
                let climbs = (0..).take_while(|n| token(at + 2 * n) == "super").count();
                let inline = braces.iter().filter(|is_module| **is_module).count();
                if climbs >= depth + inline {
                    found.push(Err(tokens[at].0));
                }
            }
            _ => {}
        }
    }
    found
}

/// The first two segments of each path of a `use` tree, whose root was cut off.
fn first_two(tokens: &[Token]) -> Vec<Target> {
    let firsts = heads(tokens);
    let pairs = firsts.iter().flat_map(|(first, after)| {
        let seconds = match after {
            Some(after) => heads(after).into_iter().map(|(second, _)| Some(second)).collect(),
            None => vec![None],
        };
        seconds.into_iter().map(|second| Target { first: first.clone(), second })
    });
    pairs.collect()
}

/// The first segment of each branch of a `use` tree, with what follows its `::`.
fn heads(tokens: &[Token]) -> Vec<(String, Option<&[Token]>)> {
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let head = |at: usize| {
        let after = (token(at + 1) == "::").then(|| &tokens[at + 2..]);
        (token(at).to_owned(), after)
    };
    if token(0) != "{" {
        return vec![head(0)];
    }
    let mut found = Vec::new();
    let mut open = 0;
    for at in 0..tokens.len() {
        match token(at) {
            "{" => open += 1,
            "}" if open == 1 => break,
            "}" => open -= 1,
            _ if open == 1 && matches!(token(at - 1), "{" | ",") && token(at) != "," => {
                found.push(head(at));
            }
            _ => {}
        }
    }
    found
}

/// The room of a source file and how many modules deep the file is; none for the crate's root.
fn place(relative: &Path) -> Option<(String, usize)> {
    let mut modules: Vec<String> =
        relative.with_extension("").iter().map(|part| part.to_string_lossy().into()).collect();
    if modules.last().is_some_and(|last| last == "mod") {
        modules.pop();
    }
    let target = Target { first: modules.first()?.clone(), second: modules.get(1).cloned() };
    (target.first != "lib").then(|| (target.room().to_owned(), modules.len()))
}

fn source_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable source directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with one file.
fn objections(relative: &Path, text: &str) -> Vec<String> {
    let Some((room, depth)) = place(relative) else { return Vec::new() };
    let complaints = targets(text, depth).into_iter().filter_map(|path| match path {
        Ok((line, target)) => Some((line, objection(&room, &target)?)),
        Err(line) => Some((line, "`super` climbs out of the room; write `crate::`".to_owned())),
    });
    complaints.map(|(line, what)| format!("{}:{line}: {what}", relative.display())).collect()
}

#[test]
fn imports_only_go_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable source file");
        all.extend(objections(file.strip_prefix(&root).expect("under the root"), &text));
    }
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

#[test]
fn every_room_is_on_the_floor_that_the_crate_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = fs::read_to_string(root).expect("a readable source file");
    for (number, rooms) in FLOORS {
        let start = format!("//! floor {number} ");
        let line = text.lines().find(|line| line.starts_with(&start)).expect("the floor's line");
        for room in rooms.iter().filter(|room| **room != "client") {
            assert!(line.contains(room), "`{room}` is not in {line:?}");
        }
    }
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")) {
        assert!(floor(line.trim_end_matches(';')).is_some(), "`{line}` is on no floor");
    }
}

/// The only file that knows LMDB's handles to the tables of the state: a record is checked there
/// or not read at all.
const STATE_RECORDS: &str = "storage/state/checked.rs";

/// Whether a file reads or writes the state's tables by handles of its own.
fn reads_unchecked(relative: &Path, text: &str) -> bool {
    let is_of_the_state =
        relative.starts_with("storage/state") && relative != Path::new(STATE_RECORDS);
    is_of_the_state && tokens(text).iter().any(|(_, token)| token == "Database")
}

#[test]
fn the_records_of_the_state_are_read_and_written_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root.join("storage/state"), &mut files);
    let relative = |file: &PathBuf| file.strip_prefix(&root).expect("under the root").to_owned();
    assert!(files.iter().any(|file| relative(file) == Path::new(STATE_RECORDS)));
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable source file");
        assert!(!reads_unchecked(&relative(&file), &text), "{}", file.display());
    }
    let unchecked = "use heed::Database;";
    assert!(reads_unchecked(Path::new("storage/state/view.rs"), unchecked));
    assert!(!reads_unchecked(Path::new(STATE_RECORDS), unchecked));
}

fn complains(file: &str, line: &str) -> bool {
    !objections(Path::new(file), line).is_empty()
}

#[test]
fn an_import_that_goes_up_or_across_is_found() {
    for (file, line) in [
        ("types/answer.rs", "use crate::machine::apply;"),
        ("machine/apply.rs", "use crate::storage::state::View;"),
        ("machine/apply.rs", "use crate::auth::Policy;"),
        ("storage/log/mod.rs", "use crate::{types::LogId, actors::RaftHandle};"),
        ("storage/mod.rs", "fn f() { crate::node::run() }"),
        ("rpc/transport/mod.rs", "use crate::rpc::{api, server::Door};"),
        (
            "actors/raft/mod.rs",
            "use crate::{\n    rpc::{\n        peer::Lane,\n        server,\n    },\n};",
        ),
        ("http/routes.rs", "use crate::rpc::server::Door;"),
        ("node.rs", "use crate::client::Client;"),
        ("client/mod.rs", "use crate::rpc::peer::Lane;"),
        ("client/mod.rs", "use crate::rpc;"),
        ("client/mod.rs", "use crate::consensus::TypeConfig;"),
        ("machine/apply.rs", "use crate::cellar::Barrel;"),
        ("node.rs", "use super::cli;"),
        ("machine/apply.rs", "mod tests { use super::super::super::storage; }"),
        ("machine/apply.rs", "const QUOTE: char = '\"'; use crate::storage::Log;"),
        ("machine/apply.rs", "const TEXT: &str = r#\"\"\"#; use crate::storage::Log;"),
        ("machine/apply.rs", "fn f<'a>(_: &'a str) {} use crate::storage::Log;"),
    ] {
        assert!(complains(file, line), "{file}: {line}");
    }
}

#[test]
fn an_import_that_goes_down_or_stays_in_the_room_is_allowed() {
    for (file, line) in [
        ("machine/apply.rs", "use crate::types::{Answer, Command};"),
        ("machine/apply.rs", "use crate::machine::StateView;"),
        ("machine/apply.rs", "use super::StateView;"),
        ("machine/apply.rs", "mod tests { use super::super::view; }"),
        ("machine/mod.rs", "mod tests { use super::*; }"),
        ("rpc/peer/mod.rs", "use crate::rpc::{api, transport};"),
        ("rpc/server/mod.rs", "use crate::{actors::RaftHandle, rpc::api::Store};"),
        ("client/mod.rs", "use crate::{rpc::{api::StoreClient, transport}, types::Answer};"),
        ("cli/serve.rs", "use crate::{client::Client, node};"),
        ("machine/apply.rs", "//! See crate::storage::log.\n/* crate::node */"),
        ("machine/apply.rs", "const TEXT: &str = \"use crate::storage::\\\" crate::node::run\";"),
        ("lib.rs", "pub mod node;"),
    ] {
        assert!(!complains(file, line), "{file}: {line}");
    }
}

#[test]
fn the_line_of_a_path_is_told() {
    let text = "// one\nconst TWO: &str = \"\n\";\n\nuse crate::node;\n";
    let complaints = objections(Path::new("types/mod.rs"), text);
    assert_eq!(complaints.len(), 1);
    assert!(complaints[0].starts_with("types/mod.rs:5: "), "{complaints:?}");
}
