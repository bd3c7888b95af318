//! Who may do what, on real nodes.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use chainfire::auth::{CLIENT_SERVICE, Credentials, SecretKey};
use chainfire::client::{Client, Condition, Error, Failure, Step, Txn};
use chainfire::rpc::api::WriteRequest;
use chainfire::rpc::transport::{ConnectOptions, call_context, connect_store};
use chainfire::types::access::ROOT;
use chainfire::types::{
    AccessError, AccessKey, AccessOperation, AccessReply, AccessRequest, Answer, ClientId,
    KeyRange, Operation, OperationError, Permission, PermissionKind, PutRequest, RequestError,
    RequestId,
};

use crate::harness::{
    Cluster, Load, PATIENCE, chainfire, eventually, root_credentials, root_credentials_file,
};

fn client_as(cluster: &Cluster, credentials: &Credentials, timeout: Duration) -> Client {
    let client = Client::builder()
        .endpoints(cluster.endpoints().split(','))
        .credentials(credentials)
        .timeout(timeout)
        .build();
    client.expect("the address is an address")
}

fn root(cluster: &Cluster) -> Client {
    client_as(cluster, &root_credentials(), PATIENCE)
}

async fn new_key(root: &Client, user: &str) -> Credentials {
    let key = root.create_key(user).await.expect("it is made");
    Credentials {
        access_key_id: key.access_key_id,
        secret_access_key: SecretKey::new(key.secret_access_key),
        cluster_name: key.cluster_name,
    }
}

async fn change(client: &Client, operation: AccessOperation) {
    client.change_access(operation).await.expect("it is changed");
}

/// A user with a role of its own name, which grants reading and writing under its name.
async fn add_user(root: &Client, user: &str) -> Credentials {
    let (name, role) = (user.to_owned(), user.to_owned());
    change(root, AccessOperation::AddUser { name }).await;
    change(root, AccessOperation::AddRole { name: role.clone() }).await;
    let range = KeyRange::prefix(format!("{user}/"));
    let permission = Permission { kind: PermissionKind::ReadWrite, range };
    change(root, AccessOperation::GrantPermission { role: role.clone(), permission }).await;
    change(root, AccessOperation::GrantRole { user: user.to_owned(), role }).await;
    new_key(root, user).await
}

fn is_denied<T: std::fmt::Debug>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Failed(Failure::PermissionDenied { .. })))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_its_roles_grant_and_nothing_else() {
    let cluster = Cluster::of_one();
    let root = root(&cluster);
    root.put("secret", "s3cr3t").await.expect("root may do everything");
    let ann = client_as(&cluster, &add_user(&root, "ann").await, PATIENCE);

    ann.put("ann/1", "v").await.expect("her own");
    assert!(ann.get("ann/1").await.expect("her own").is_some());
    assert_eq!(ann.prefix("ann/").await.expect("her own").count, 1);
    ann.delete("ann/2").await.expect("her own");
    assert!(is_denied(&ann.put("secret", "x").await));
    assert!(is_denied(&ann.get("secret").await));
    assert!(is_denied(&ann.prefix("").count_only().await));
    assert!(is_denied(&ann.delete("secret").await));
    assert!(is_denied(&ann.compact(1).await));
    let peek = Txn::new()
        .when([Condition::value("secret").equals("s3cr3t")])
        .then([Step::put("ann/1", "yes")]);
    assert!(is_denied(&ann.txn(peek).await));
    let branch = Txn::new().or_else([Step::get("secret")]);
    assert!(is_denied(&ann.txn(branch).await));
    assert!(is_denied(&ann.users(None).await) && is_denied(&ann.create_key("ann").await));

    ann.status().await.expect("whoever has a key may ask");
    ann.members().await.expect("whoever has a key may ask");
    let who = ann.who_am_i().await.expect("whoever has a key may ask");
    assert_eq!((who.user.as_str(), who.roles.contains("ann")), ("ann", true));
    let text = root.get("secret").await.expect("root reads").expect("it is there").value;
    assert_eq!(text, "s3cr3t");
    let log = eventually("the refusals are in the audit log", async || {
        let log = std::fs::read_to_string(cluster.nodes[0].data_dir.join("audit.log")).ok()?;
        (log.matches("\"reason\":\"not_permitted\"").count() >= 9).then_some(log)
    });
    let log = log.await;
    assert!(log.contains("\"action\":\"put\"") && log.contains("\"decision\":\"allowed\""));
    assert!(!log.contains("s3cr3t"), "no value is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_deactivated_stops_at_once_also_where_it_is_in_use() {
    let cluster = Cluster::of_one();
    let root = root(&cluster);
    let credentials = add_user(&root, "ann").await;
    let ann = client_as(&cluster, &credentials, Duration::from_secs(2));
    ann.put("ann/1", "v").await.expect("her own");
    let id = credentials.access_key_id.clone();
    change(&root, AccessOperation::SetKeyActive { id: id.clone(), active: false }).await;
    eventually("the open connection is closed", async || {
        cluster.nodes[0].log().contains("its key is no longer accepted").then_some(())
    })
    .await;
    let refused = ann.get("ann/1").await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    change(&root, AccessOperation::SetKeyActive { id, active: true }).await;
    eventually("the key is accepted again", async || ann.get("ann/1").await.ok()).await;
    // A role that is taken away counts from the next request on, on the same connection.
    let (user, role) = ("ann".to_owned(), "ann".to_owned());
    change(&root, AccessOperation::RevokeRole { user, role }).await;
    eventually("nothing is granted any more", async || {
        is_denied(&ann.get("ann/1").await).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_deactivated_stops_on_every_node() {
    let cluster = Cluster::start(3);
    let root = root(&cluster);
    let credentials = add_user(&root, "ann").await;
    cluster.wait_converged().await;
    for node in &cluster.nodes {
        let at = Client::builder().endpoints([node.client.to_string()]).credentials(&credentials);
        let ann = at.follow_leader(false).timeout(PATIENCE).build().expect("an address");
        eventually("every node knows the key", async || ann.get("ann/1").await.ok()).await;
        tokio::spawn(async move { while ann.get("ann/1").await.is_ok() {} });
    }
    let id = credentials.access_key_id;
    change(&root, AccessOperation::SetKeyActive { id, active: false }).await;
    for node in &cluster.nodes {
        eventually("the connections to every node are closed", async || {
            node.log().contains("its key is no longer accepted").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_under_load_without_a_failure() {
    let cluster = Cluster::of_one();
    let root = root(&cluster);
    let old = add_user(&root, "ann").await;
    let load = Load::start(&client_as(&cluster, &old, PATIENCE), "ann/old", 8);
    load.wait_for_more(50).await;
    let new = new_key(&root, "ann").await;
    let third = root.create_key("ann").await;
    let refused = third.as_ref().err().and_then(Error::operation);
    let too_many = matches!(refused, Some(OperationError::Access(AccessError::TooManyKeys { .. })));
    assert!(too_many, "two keys at most");
    let next = Load::start(&client_as(&cluster, &new, PATIENCE), "ann/new", 8);
    next.wait_for_more(50).await;
    let written = load.finish().await;
    assert_eq!((written.failed.len(), written.unknown.len()), (0, 0), "{:?}", written.failed);
    let id = old.access_key_id.clone();
    change(&root, AccessOperation::SetKeyActive { id: id.clone(), active: false }).await;
    next.wait_for_more(50).await;
    change(&root, AccessOperation::RemoveKey { id }).await;
    next.wait_for_more(50).await;
    let written = next.finish().await;
    assert_eq!((written.failed.len(), written.unknown.len()), (0, 0), "{:?}", written.failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn root_can_be_disabled_once_there_is_another_administrator() {
    let cluster = Cluster::of_one();
    let root = root(&cluster);
    let disable = AccessOperation::SetUserActive { name: ROOT.to_owned(), active: false };
    let refused = root.change_access(disable.clone()).await.expect_err("nobody would be left");
    assert_eq!(refused.operation(), Some(&AccessError::LastAdministrator.into()));
    change(&root, AccessOperation::AddUser { name: "ann".into() }).await;
    let (user, role) = ("ann".to_owned(), ROOT.to_owned());
    change(&root, AccessOperation::GrantRole { user, role }).await;
    let ann = client_as(&cluster, &new_key(&root, "ann").await, PATIENCE);
    change(&ann, disable).await;
    let refused = ann.change_access(AccessOperation::RemoveUser { name: "ann".into() }).await;
    let refused = refused.expect_err("nobody would be left");
    assert_eq!(refused.operation(), Some(&AccessError::LastAdministrator.into()));
    ann.put("k", "v").await.expect("an administrator may do everything");
}

#[test]
fn users_roles_and_keys_are_managed_from_the_command_line() {
    let cluster = Cluster::of_one();
    let (endpoints, root) = (cluster.endpoints(), root_credentials_file());
    let file = cluster.directory().join("ann.toml");
    let (root, file_text) = (root.to_str().expect("text"), file.to_str().expect("text"));
    let run = |credentials: &str, arguments: &[&str]| {
        let global = ["--endpoints", &endpoints, "--credentials", credentials];
        let output = chainfire(&[&global[..], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), error)
    };
    let done = |arguments: &[&str]| {
        let (code, text, error) = run(root, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
        text
    };
    done(&["user", "add", "ann"]);
    done(&["role", "add", "web"]);
    done(&["role", "grant", "web", "readwrite", "web/", "--prefix"]);
    done(&["role", "grant", "web", "read", "a", "c"]);
    done(&["user", "grant-role", "ann", "web"]);
    done(&["key", "create", "ann", "--out", file_text]);
    let mode = file.metadata().expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, _, error) = run(file_text, &["put", "web/1", "v"]);
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = run(file_text, &["put", "a", "v"]);
    assert!(code == Some(1) && error.contains("user ann may not write \"a\""), "{error}");
    let (_, whoami, _) = run(file_text, &["whoami", "-o", "json"]);
    assert!(whoami.contains("\"user\":\"ann\"") && whoami.contains("[\"web\"]"), "{whoami}");
    assert!(done(&["role", "show", "web"]).contains("read [\"a\", \"c\")"));
    assert!(done(&["user", "show", "ann", "-o", "json"]).contains("\"active\":true"));
    let rotated = done(&["key", "rotate", "ann"]);
    assert!(rotated.contains("secret_access_key = ") && rotated.contains("key deactivate CF"));
    let keys = done(&["key", "list", "ann"]);
    assert_eq!(keys.matches("active").count(), 2, "{keys}");
    done(&["role", "revoke", "web", "a", "c"]);
    done(&["user", "disable", "ann"]);
    let (code, _, error) = run(file_text, &["--timeout", "1s", "get", "web/1"]);
    assert_eq!(code, Some(1), "{error}");
    done(&["user", "remove", "ann"]);
    done(&["role", "remove", "web"]);
    let (code, _, error) = run(root, &["user", "show", "ann"]);
    assert!(code == Some(1) && error.contains("user ann does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_asked_for_twice_is_made_once_and_told_once() {
    let cluster = Cluster::of_one();
    let root = root(&cluster);
    change(&root, AccessOperation::AddUser { name: "ann".into() }).await;
    let signer = Some(Arc::new(root_credentials().signer(CLIENT_SERVICE)));
    let options = ConnectOptions { credentials: signer, ..ConnectOptions::default() };
    let connection = connect_store(&cluster.endpoints(), &options).await.expect("let in");
    let ask = async |request| {
        let answer = connection.client.access(call_context(PATIENCE), request).await;
        answer.expect("the node answers")
    };
    let request_id = first_of_client_7();
    let create = AccessRequest::CreateKey { request_id, user: "ann".into() };
    let Ok(AccessReply::KeyCreated(key)) = ask(create.clone()).await else { panic!("no key") };
    let again = ask(create).await.expect_err("the secret is told once").to_string();
    let advice = format!("key remove {}", key.access_key_id);
    assert!(again.contains(&advice) && !again.contains(&key.secret_access_key), "{again}");
    assert_eq!(root.keys(Some("ann")).await.expect("root may").len(), 1);

    // Nobody seals a secret for the cluster, or goes round the call.
    let key = AccessKey {
        id: "CF00".into(),
        user: "ann".into(),
        version: 1,
        active: true,
        sealed_secret: "sealed".into(),
    };
    let request_id = RequestId { sequence: 2, ..request_id };
    let operation = AccessOperation::CreateKey(key);
    let sealed = AccessRequest::Change { request_id, operation: operation.clone() };
    assert!(matches!(ask(sealed).await, Err(RequestError::Invalid { .. })));
    let write = WriteRequest { request_id, operation: Operation::Access(operation) };
    let answer = connection.client.write(call_context(PATIENCE), write).await;
    assert!(matches!(answer.expect("the node answers"), Err(RequestError::Invalid { .. })));
}

fn first_of_client_7() -> RequestId {
    let client = ClientId(7);
    RequestId { client, sequence: 1, lowest_unanswered: 1, begun_ms: 0, window_ms: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_given_the_answer_to_another_users_write() {
    let cluster = Cluster::of_one();
    let root = root(&cluster);
    let ann = add_user(&root, "ann").await;
    root.put("secret", "s3cr3t").await.expect("root may do everything");
    let request_id = first_of_client_7();
    let put = |key: &'static str| WriteRequest {
        request_id,
        operation: Operation::Put(PutRequest {
            key: key.into(),
            prev_kv: true,
            ..PutRequest::default()
        }),
    };
    let mut previous = Vec::new();
    let roots = root_credentials();
    for (credentials, key) in [(&roots, "secret"), (&roots, "secret"), (&ann, "ann/1")] {
        let credentials = Some(Arc::new(credentials.signer(CLIENT_SERVICE)));
        let options = ConnectOptions { credentials, ..ConnectOptions::default() };
        let connection = connect_store(&cluster.endpoints(), &options).await.expect("let in");
        let answer = connection.client.write(call_context(PATIENCE), put(key)).await;
        let Ok(Ok(Answer::Put(answer))) = answer else { panic!("{answer:?}") };
        previous.push(answer.prev_kv.map(|pair| pair.value));
    }
    // Root's retry is answered as the first time; under the same name ann's is another write.
    assert_eq!(previous, [Some("s3cr3t".into()), Some("s3cr3t".into()), None]);
}
