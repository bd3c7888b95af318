//! Certificates made for a test.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chainfire::client::{IdentityFiles, TlsClient, TlsClientFiles};
use chainfire::config::TlsSection;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// A CA, and the directory in which it lays its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub directory: PathBuf,
    /// Its certificate.
    pub ca: PathBuf,
}

impl Authority {
    /// A new CA, with its file `NAME-ca.pem` in `directory`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is no wrong name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let ca = directory.join(format!("{name}-ca.pem"));
        fs::write(&ca, issuer.pem()).expect("a writable directory");
        Self { issuer, directory: directory.to_owned(), ca }
    }

    /// A certificate for `names`, good for either side, in `FILE.pem` and `FILE.key`; over those
    /// that are there.
    pub fn issue(&self, file: &str, names: &[&str]) -> IdentityFiles {
        self.issue_until(file, names, 2090)
    }

    /// The same, valid until the first of January of `year`.
    pub fn issue_until(&self, file: &str, names: &[&str], year: i32) -> IdentityFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = IdentityFiles {
            certificate: self.directory.join(format!("{file}.pem")),
            key: self.directory.join(format!("{file}.key")),
        };
        fs::write(&files.certificate, certificate.pem()).expect("a writable directory");
        write_private(&files.key, &key.serialize_pem());
        files
    }

    /// A client that trusts this CA and has no certificate.
    pub fn client(&self) -> TlsClient {
        TlsClient::load(TlsClientFiles { ca: self.ca.clone(), identity: None }).expect("loaded")
    }

    /// A client that trusts this CA and shows a certificate.
    pub fn client_with(&self, identity: IdentityFiles) -> TlsClient {
        let files = TlsClientFiles { ca: self.ca.clone(), identity: Some(identity) };
        TlsClient::load(files).expect("loaded")
    }
}

/// A file that only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a writable directory");
}

/// The section of a listener.
pub fn section(identity: &IdentityFiles, ca: Option<&Path>) -> TlsSection {
    TlsSection {
        certificate: identity.certificate.clone(),
        key: identity.key.clone(),
        ca: ca.map(Path::to_owned),
    }
}
