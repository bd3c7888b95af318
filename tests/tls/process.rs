//! A node as a process, with certificates.

use std::fs;
use std::process::Stdio;

use chainfire::config::{NodeConfig, TlsConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::certificates::{Authority, section};
use super::nodes::{config, free_addresses};
use super::{eventually, soon};

async fn metrics(config: &NodeConfig) -> String {
    let mut stream = TcpStream::connect(config.listen_http).await.expect("listening");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_hangup_reads_the_certificates_again_and_ends_nothing() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let client = Some(section(&authority.issue("node", &["127.0.0.1"]), None));
    let tls = TlsConfig { client, ..TlsConfig::default() };
    let mut config = config(&files.path().join("data"), tls);
    [config.listen_client, config.listen_peer, config.listen_http] = free_addresses();
    let path = files.path().join("node.toml");
    fs::write(&path, toml::to_string(&config).expect("serialisable")).expect("written");
    let mut node = Command::new(env!("CARGO_BIN_EXE_chainfire"))
        .args(["serve", "--config"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(node.stdout.take().expect("it is piped")).lines();
    let ready = soon(lines.next_line()).await.expect("text").expect("a line");
    assert!(ready.starts_with("ready"), "{ready}");

    let pid = node.id().expect("it runs").to_string();
    let sent = soon(Command::new("kill").args(["-HUP", &pid]).status()).await;
    assert!(sent.expect("kill is there").success());
    let reloaded = "chainfire_tls_reloads_total{listener=\"client\",outcome=\"ok\"} 1\n";
    eventually("the certificate is read again", async || metrics(&config).await.contains(reloaded))
        .await;
    let sent = soon(Command::new("kill").args(["-TERM", &pid]).status()).await;
    assert!(sent.expect("kill is there").success());
    assert!(soon(node.wait()).await.expect("it ends").success());
}
