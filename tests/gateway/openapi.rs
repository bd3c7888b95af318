//! The description is true: it names every route and no other, and its examples work.

use std::collections::BTreeSet;

use chainfire::http;
use chainfire::http::gateway::{OPENAPI, ROUTES};
use serde_json::Value;

use crate::support::Server;

fn description() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

#[test]
fn it_names_every_route_and_method_and_no_other() {
    let description = description();
    let paths = description["paths"].as_object().expect("paths");
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let routed: BTreeSet<_> = http::routes()
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(described, routed);
}

/// Whether a value is of a schema, as far as ours say anything.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').expect("within the description");
        let schema = root.pointer(pointer).unwrap_or_else(|| panic!("no {reference}"));
        return check(root, schema, value, place);
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let found = match value {
        Value::String(_) => "string",
        Value::Number(_) => "integer",
        Value::Bool(_) => "boolean",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "null",
    };
    assert!(types.contains(&found), "{place} is {found}, not {types:?}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{place} is {value}");
    }
    for (at, element) in value.as_array().into_iter().flatten().enumerate() {
        check(root, &schema["items"], element, &format!("{place}[{at}]"));
    }
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().expect("a name")), "{place} has no {name}");
    }
    for (name, value) in object {
        let schema = &schema["properties"][name];
        assert!(!schema.is_null(), "{place}.{name} is not described");
        check(root, schema, value, &format!("{place}.{name}"));
    }
}

/// The target of an operation with the examples of its parameters, and its example of a body.
fn example(path: &str, operation: &Value) -> (String, Vec<u8>) {
    let mut target = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, example) = (&parameter["name"], &parameter["example"]);
        let (Some(name), Some(example)) = (name.as_str(), example.as_str()) else { continue };
        match parameter["in"].as_str() {
            Some("path") => target = target.replace(&format!("{{{name}}}"), example),
            Some("query") => target = format!("{target}?{name}={}", example.replace('/', "%2F")),
            _ => panic!("an example in {parameter}"),
        }
    }
    let contents = operation["requestBody"]["content"].as_object();
    let body = contents.and_then(|contents| contents.values().next()).map(|c| &c["example"]);
    let body = match body {
        None => Vec::new(),
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(Value::Null) => panic!("{path} has no example of a body"),
        Some(json) => json.to_string().into_bytes(),
    };
    (target, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn its_examples_are_answered_as_it_says() {
    let server = Server::start().await;
    let root = description();
    let mut routes = ROUTES.to_vec();
    // What the others read is stored first, and deleted last.
    routes.sort_by_key(|(method, _)| {
        ["PUT", "POST", "GET", "DELETE"].iter().position(|m| m == method)
    });
    for (method, path) in routes {
        let operation = &root["paths"][path][method.to_lowercase()];
        let (target, body) = example(path, operation);
        if let Ok(json) = serde_json::from_slice::<Value>(&body) {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            check(&root, schema, &json, &format!("{path}: the request"));
        }
        let answer = server.ask(method, &target, body).await.done();
        let kind = answer.value("content-type").expect("a type");
        let described = &operation["responses"]["200"]["content"][kind]["schema"];
        assert!(!described.is_null(), "{method} {path} answers {kind}");
        if kind == "application/json" {
            check(&root, described, &answer.json(), &format!("{path}: the answer"));
        }
    }
    let problem = server.send(&server.draft("GET", "/v1/keys/k", "")).await.json();
    check(&root, &root["components"]["schemas"]["Problem"], &problem, "a refusal");
    server.node.shutdown().await;
}
