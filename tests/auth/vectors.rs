//! AWS's signing test suite, as the crate `aws-sigv4` ships it: 38 requests, each signed by header
//! and by query.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chainfire::auth::canonical::{CanonicalRequest, canonical_path, canonical_query};
use chainfire::auth::encode::percent_decode;
use chainfire::auth::signing_key::{sha256, string_to_sign};
use chainfire::auth::{AmzDate, Scope, SecretKey, SigningKey, hex};
use serde_json::Value;

/// Two directories have no context and test another service's double encoding.
const WITHOUT_CONTEXT: [&str; 2] = ["double-encode-path", "double-url-encode"];

/// What is in one directory.
struct Vector {
    directory: PathBuf,
    context: Value,
    request: Request,
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn suite() -> PathBuf {
    // Of this platform alone: what others need was never downloaded here.
    let version = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", host])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "aws-sigv4").unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("aws-signing-test-suite/v4")
}

fn read(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    // A line that starts with a space continues the one before.
    let mut lines: Vec<String> = Vec::new();
    for line in head.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    let (method, target) = lines[0].split_once(' ').unwrap();
    let headers = lines[1..].iter().filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.to_owned())
    });
    Request {
        method: method.to_owned(),
        target: target.strip_suffix(" HTTP/1.1").unwrap().to_owned(),
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

fn vectors() -> Vec<Vector> {
    let directories = fs::read_dir(suite()).unwrap().map(|entry| entry.unwrap().path());
    let with_context = directories
        .filter(|path| !WITHOUT_CONTEXT.contains(&path.file_name().unwrap().to_str().unwrap()));
    let mut vectors: Vec<Vector> = with_context
        .map(|directory| Vector {
            context: serde_json::from_slice(&fs::read(directory.join("context.json")).unwrap())
                .unwrap(),
            request: read(&fs::read_to_string(directory.join("request.txt")).unwrap()),
            directory,
        })
        .collect();
    vectors.sort_by(|one, other| one.directory.cmp(&other.directory));
    vectors
}

/// What other services do to a path before they encode it, and ours does not.
fn normalised(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let ends_open = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let slash = if ends_open && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

impl Vector {
    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap()
    }

    fn text(&self, field: &str) -> &str {
        self.context[field].as_str().unwrap()
    }

    fn date(&self) -> AmzDate {
        let plain = self.text("timestamp").replace(['-', ':'], "");
        AmzDate::parse(plain.as_bytes()).unwrap()
    }

    /// The token, when it is signed.
    fn token(&self) -> Option<&str> {
        let omitted = self.context["omit_session_token"].as_bool().unwrap_or(false);
        self.context["credentials"]["token"].as_str().filter(|_| !omitted)
    }

    fn check(&self, form: &str) {
        let scope = Scope::new(self.date(), self.text("region"), self.text("service"));
        let request = &self.request;
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let payload = hex::encode(&sha256(request.body.as_bytes()));
        let mut headers = request.headers.clone();
        let decoded = |text: &str| percent_decode(text.as_bytes()).unwrap();
        let mut pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        if form == "header" {
            headers.push(("X-Amz-Date".to_owned(), self.date().to_string()));
            let token = self.token().map(|token| ("X-Amz-Security-Token".to_owned(), token.into()));
            headers.extend(token);
            if self.context["sign_body"] == true {
                headers.push(("x-amz-content-sha256".to_owned(), payload.clone()));
            }
        }
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        names.dedup();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if form == "query" {
            let id = self.context["credentials"]["access_key_id"].as_str().unwrap();
            let expires = self.context["expiration_in_seconds"].to_string();
            let (credential, date) = (format!("{id}/{scope}"), self.date().to_string());
            for (name, value) in [
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", &credential),
                ("X-Amz-Date", &date),
                ("X-Amz-SignedHeaders", &names.join(";")),
                ("X-Amz-Expires", &expires),
            ]
            .into_iter()
            .chain(self.token().map(|token| ("X-Amz-Security-Token", token)))
            {
                pairs.push((name.into(), value.into()));
            }
        }
        let is_normalised = self.context["normalize"] == true;
        let path = if is_normalised { normalised(path) } else { path.to_owned() };
        let lines: Vec<_> = headers.iter().map(|(n, v)| (&n[..], v.as_bytes())).collect();
        let canonical = CanonicalRequest {
            method: &request.method,
            path: &canonical_path(&path).unwrap(),
            query: &canonical_query(pairs.iter().map(|(name, value)| (&name[..], &value[..]))),
            headers: &lines,
            signed: &names,
            payload: &payload,
        }
        .to_bytes();
        let at = format!("{} {form}", self.directory.display());
        let expected = self.file(&format!("{form}-canonical-request.txt"));
        assert_eq!(String::from_utf8(canonical.clone()).unwrap(), expected, "{at}");
        let text = string_to_sign(self.date(), &scope, &canonical);
        let expected = self.file(&format!("{form}-string-to-sign.txt"));
        assert_eq!(String::from_utf8(text.clone()).unwrap(), expected, "{at}");
        let secret = self.context["credentials"]["secret_access_key"].as_str().unwrap();
        let signature = SigningKey::derive(&SecretKey::new(secret), &scope).sign(&[&text]);
        assert_eq!(signature.to_string(), self.file(&format!("{form}-signature.txt")), "{at}");
    }
}

#[test]
fn the_76_published_vectors() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 38, "the suite has another number of vectors");
    for vector in &vectors {
        vector.check("header");
        vector.check("query");
    }
}
