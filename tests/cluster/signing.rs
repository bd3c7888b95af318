//! Who has no key, or another one, comes to nothing, at every port and in every part.

use std::process::Output;

use chainfire::auth::{ClusterKey, Credentials, SecretKey};
use chainfire::client::Client;

use crate::harness::{Cluster, Node, PATIENCE, chainfire, root_credentials};

async fn refusal(cluster: &Cluster, credentials: Option<&Credentials>) -> String {
    let builder = Client::builder().endpoints([cluster.nodes[0].client.to_string()]);
    let builder = match credentials {
        Some(credentials) => builder.credentials(credentials),
        None => builder,
    };
    builder.timeout(PATIENCE).connect().await.expect_err("not let in").to_string()
}

fn line(output: &Output) -> String {
    assert!(!output.status.success());
    let line = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_secret_of_a_key_is_let_in() {
    let cluster = Cluster::start(1);
    let unsigned = refusal(&cluster, None).await;
    assert!(unsigned.contains("--credentials"), "{unsigned}");

    let root = root_credentials();
    let secret = SecretKey::new("0".repeat(60));
    let wrong = Credentials { secret_access_key: secret.clone(), ..root.clone() };
    let unknown = Credentials {
        access_key_id: "CF000000000000000000".to_owned(),
        secret_access_key: secret,
        ..root.clone()
    };
    let wrong = refusal(&cluster, Some(&wrong)).await;
    assert!(wrong.contains("SignatureDoesNotMatch"), "{wrong}");
    assert_eq!(
        refusal(&cluster, Some(&unknown)).await,
        wrong,
        "nobody learns which keys there are"
    );

    let elsewhere = Credentials { cluster_name: "elsewhere".to_owned(), ..root };
    let elsewhere = refusal(&cluster, Some(&elsewhere)).await;
    assert!(elsewhere.contains("elsewhere") && elsewhere.contains("scenarios"), "{elsewhere}");

    cluster.client().put("key", "value").await.expect("root is served");
    let endpoint = cluster.nodes[0].client.to_string();
    let none = chainfire(&["--endpoints", &endpoint, "--credentials", "none", "get", "key"]);
    assert!(line(&none).contains("--credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_another_cluster_key_does_not_join() {
    let cluster = Cluster::start(1);
    let other = cluster.directory().join("other-key.toml");
    ClusterKey::generate("scenarios", &mut rand::rng()).create(&other).expect("made");
    let mut stranger = Node::new("n2", cluster.directory());
    stranger.set_join(&cluster.endpoints());
    stranger.set_cluster_key(&other);
    stranger.start();
    let said = crate::harness::eventually("the member refuses it", async || {
        stranger
            .log()
            .lines()
            .find(|line| line.contains("WARN") && line.contains("SignatureDoesNotMatch"))
            .map(str::to_owned)
    })
    .await;
    assert!(said.contains("does not let the node join"), "{said}");
    let members = cluster.client().members().await.expect("answered");
    assert_eq!(members.len(), 1, "{members:?}");
    cluster.client().put("key", "value").await.expect("nobody else notices");
}

#[test]
fn a_node_is_not_started_without_its_keys() {
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].kill();
    let other = cluster.directory().join("other-key.toml");
    ClusterKey::generate("scenarios", &mut rand::rng()).create(&other).expect("made");
    let node = &mut cluster.nodes[0];
    node.set_cluster_key(&other);
    node.start();
    assert_eq!(node.wait_exit().code(), Some(16));
    assert!(node.log().contains("another cluster key"), "{}", node.log());

    let member = chainfire(&["serve", "--initial-cluster", "default=127.0.0.1:4602"]);
    let said = line(&member);
    assert!(said.contains("chainfire keygen"), "{said}");
    assert_eq!(member.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_authentication_says_so_and_takes_no_signed_client_for_granted() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].set_insecure();
    cluster.start_all();
    assert!(cluster.nodes[0].log().contains("INSECURE"), "{}", cluster.nodes[0].log());
    let endpoint = cluster.nodes[0].client.to_string();
    let put =
        chainfire(&["--endpoints", &endpoint, "--credentials", "none", "put", "key", "value"]);
    assert!(put.status.success(), "{put:?}");
    let signed = refusal(&cluster, Some(&root_credentials())).await;
    assert!(signed.contains("--insecure-no-auth"), "{signed}");
}
