//! What a node says of files that it cannot use.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use chainfire::client::IdentityFiles;
use chainfire::rpc::transport::tls::{TlsServer, TlsServerFiles};

use super::certificates::{Authority, write_private};

#[test]
fn every_unfit_file_is_one_line_that_names_it_and_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(directory.path(), "ours");
    let good = authority.issue("good", &["node1"]);
    let other = authority.issue("other", &["node1"]);
    let path = |name: &str| directory.path().join(name);
    let error = |identity: IdentityFiles, client_ca| {
        let loaded = TlsServer::load(TlsServerFiles { identity, client_ca });
        let error = loaded.expect_err("unfit").to_string();
        assert!(!error.contains('\n'), "one line: {error}");
        error
    };
    let with = |certificate: &str, key: &str| {
        let identity = IdentityFiles { certificate: path(certificate), key: path(key) };
        error(identity, None)
    };

    let missing = with("missing.pem", "good.key");
    assert!(missing.contains("missing.pem") && missing.contains("check the path"), "{missing}");
    let missing = with("good.pem", "missing.key");
    assert!(missing.contains("missing.key"), "{missing}");

    write_private(&path("text"), "good morning");
    let text = with("text", "good.key");
    assert!(text.contains("holds no certificate in PEM"), "{text}");
    let text = with("good.pem", "text");
    assert!(text.contains("holds no unencrypted private key in PEM"), "{text}");

    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    write_private(&path("garbage"), garbage);
    let garbage = with("garbage", "good.key");
    assert!(garbage.contains("garbage cannot be used"), "{garbage}");
    let garbage = error(good.clone(), Some(path("garbage")));
    assert!(garbage.contains("garbage cannot be used"), "{garbage}");

    let mixed = IdentityFiles { key: other.key.clone(), ..good.clone() };
    let mixed = error(mixed, None);
    assert!(mixed.contains("is not that of the certificate"), "{mixed}");

    fs::set_permissions(&good.key, fs::Permissions::from_mode(0o644)).expect("ours");
    let open = error(good, None);
    assert!(open.contains("can be read by others") && open.contains("chmod 600"), "{open}");
}
