//! A client's key, and where it is found.
//!
//! ```toml
//! # root-credentials.toml, mode 0600
//! access_key_id = "CF..."
//! secret_access_key = "..."
//! cluster_name = "chainfire"
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rand::CryptoRng;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::private_file::{self, KeyFileError};
use super::{SecretKey, Signer, hex};

/// The name of a cluster that was given none.
pub const DEFAULT_CLUSTER_NAME: &str = "chainfire";

/// The file of the root user's key.
pub const ROOT_CREDENTIALS_FILE: &str = "root-credentials.toml";

/// Names the file with the credentials.
pub const CREDENTIALS_VARIABLE: &str = "CHAINFIRE_CREDENTIALS";
/// The access key id, beside [`SECRET_VARIABLE`].
pub const ACCESS_KEY_ID_VARIABLE: &str = "CHAINFIRE_ACCESS_KEY_ID";
/// The secret.
pub const SECRET_VARIABLE: &str = "CHAINFIRE_SECRET_ACCESS_KEY";
/// The cluster's name, beside the two; `chainfire` when not set.
pub const CLUSTER_NAME_VARIABLE: &str = "CHAINFIRE_CLUSTER_NAME";

/// Where a node started with no flag leaves its root user's key.
const DATA_DIR: &str = "chainfire-data";

/// Random bytes of a secret.
const SECRET_BYTES: usize = 30;

/// A key with its secret and its cluster. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: SecretKey,
    /// The cluster it is good for.
    pub cluster_name: String,
}

/// Why a client has no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Nowhere.
    #[error(
        "no credentials: give --credentials FILE, or set {CREDENTIALS_VARIABLE}, or \
         {ACCESS_KEY_ID_VARIABLE} and {SECRET_VARIABLE}"
    )]
    NotFound,
    /// One of the two variables alone.
    #[error("set both {ACCESS_KEY_ID_VARIABLE} and {SECRET_VARIABLE}, or neither")]
    HalfSet,
    /// A variable that is no text.
    #[error("{variable} is not text")]
    NotText {
        /// Which.
        variable: &'static str,
    },
    /// A file that cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    #[serde(default = "default_cluster_name")]
    cluster_name: String,
}

fn default_cluster_name() -> String {
    DEFAULT_CLUSTER_NAME.to_owned()
}

impl Credentials {
    /// A new key: an id, and 30 random bytes as its secret.
    pub fn generate(cluster_name: &str, rng: &mut impl CryptoRng) -> Self {
        let (mut id, mut secret) = ([0; 9], Zeroizing::new([0; SECRET_BYTES]));
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut secret[..]);
        Self {
            access_key_id: format!("CF{}", hex::encode(&id).to_ascii_uppercase()),
            secret_access_key: SecretKey::new(hex::encode(&secret[..])),
            cluster_name: cluster_name.to_owned(),
        }
    }

    /// Signs with this key for a service of its cluster.
    pub fn signer(&self, service: &str) -> Signer {
        Signer::new(
            &self.access_key_id[..],
            self.secret_access_key.clone(),
            &self.cluster_name[..],
            service,
        )
    }

    /// Reads a credentials file.
    ///
    /// # Errors
    /// When it is missing, can be read by others, or is not one.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let text = private_file::read(path)?;
        // What the parser says would quote the line, and with it the secret.
        let malformed = |reason| KeyFileError::Malformed { path: path.to_owned(), reason };
        let file: File = toml::from_str(&text).map_err(|_| {
            malformed("not a credentials file: it needs access_key_id and secret_access_key")
        })?;
        if file.access_key_id.is_empty() || file.secret_access_key.is_empty() {
            return Err(malformed("access_key_id or secret_access_key is empty"));
        }
        Ok(Self {
            access_key_id: file.access_key_id,
            secret_access_key: SecretKey::new(&file.secret_access_key[..]),
            cluster_name: file.cluster_name,
        })
    }

    /// Makes a credentials file.
    ///
    /// # Errors
    /// When there is one already, or the disk refuses.
    pub fn create(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = Zeroizing::new(format!(
            "# A key of the cluster {:?}. Whoever can read this file can use it.\n\
             access_key_id = {:?}\nsecret_access_key = {:?}\ncluster_name = {:?}\n",
            self.cluster_name,
            self.access_key_id,
            self.secret_access_key.expose(),
            self.cluster_name
        ));
        private_file::create(path, &text)
    }

    /// Finds a client's credentials where this process should look for them: as
    /// [`find`](Self::find) with its environment and no file named.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn from_environment() -> Result<Self, CredentialsError> {
        Self::find(None, |name| std::env::var_os(name))
    }

    /// Finds a client's credentials: in the file that was named, in the environment, in the data
    /// directory under this one, in the user's configuration directory; in this order. What is
    /// found and cannot be used is an error: nothing further is tried.
    ///
    /// # Errors
    /// [`CredentialsError::NotFound`] when there are none.
    pub fn find(
        named: Option<&Path>,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CredentialsError> {
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        let named =
            named.map(Path::to_owned).or_else(|| variable(CREDENTIALS_VARIABLE).map(PathBuf::from));
        if let Some(path) = named {
            return Ok(Self::load(&path)?);
        }
        let text = |name| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(CredentialsError::NotText { variable: name }),
        };
        match (text(ACCESS_KEY_ID_VARIABLE)?, text(SECRET_VARIABLE)?) {
            (Some(access_key_id), Some(secret)) => {
                return Ok(Self {
                    access_key_id,
                    secret_access_key: SecretKey::new(secret),
                    cluster_name: text(CLUSTER_NAME_VARIABLE)?.unwrap_or_else(default_cluster_name),
                });
            }
            (None, None) => {}
            _ => return Err(CredentialsError::HalfSet),
        }
        let configuration = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
        let places = [
            Some(Path::new(DATA_DIR).join(ROOT_CREDENTIALS_FILE)),
            configuration.map(|directory| directory.join("chainfire/credentials.toml")),
        ];
        for place in places.into_iter().flatten() {
            match Self::load(&place) {
                Err(error) if error.is_missing() => {}
                outcome => return Ok(outcome?),
            }
        }
        Err(CredentialsError::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;

    use super::*;

    fn generated(name: &str) -> Credentials {
        Credentials::generate(name, &mut rand::rng())
    }

    #[test]
    fn a_generated_key_has_thirty_random_bytes_and_comes_back_from_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        let (one, other) = (generated("prod \"1\""), generated("prod"));
        assert_ne!(one.access_key_id, other.access_key_id);
        assert_eq!(one.secret_access_key.expose().len(), 2 * SECRET_BYTES);
        one.create(&path).unwrap();
        let back = Credentials::load(&path).unwrap();
        assert_eq!(back.access_key_id, one.access_key_id);
        assert_eq!(back.secret_access_key.expose(), one.secret_access_key.expose());
        assert_eq!(back.cluster_name, "prod \"1\"");
        assert!(!format!("{back:?}").contains(back.secret_access_key.expose()));
    }

    #[test]
    fn an_error_never_quotes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        for text in [
            "secret_access_key = \"s3cr3t",
            "access_key_id = 3\nsecret_access_key = 's3cr3t'",
            "s3cr3t",
            "access_key_id=''\nsecret_access_key='s3cr3t'",
        ] {
            let _ = fs::remove_file(&path);
            private_file::create(&path, text).unwrap();
            let error = Credentials::load(&path).unwrap_err().to_string();
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn credentials_are_looked_for_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let file = |name: &str| {
            let credentials = generated("c");
            credentials.create(&place(name)).unwrap();
            credentials.access_key_id
        };
        let (named, in_variable) = (file("named"), file("variable"));
        fs::create_dir(place("chainfire")).unwrap();
        let in_configuration = file("chainfire/credentials.toml");
        let mut set: HashMap<&str, OsString> = HashMap::from([
            (CREDENTIALS_VARIABLE, place("variable").into()),
            (ACCESS_KEY_ID_VARIABLE, "CFENV".into()),
            (SECRET_VARIABLE, "secret".into()),
            ("XDG_CONFIG_HOME", directory.path().into()),
        ]);
        let named_file = place("named");
        let find = |path: Option<&Path>, set: &HashMap<&str, OsString>| {
            Credentials::find(path, |name| set.get(name).cloned()).map(|c| c.access_key_id)
        };
        assert_eq!(find(Some(&named_file), &set).unwrap(), named);
        assert_eq!(find(None, &set).unwrap(), in_variable);
        set.remove(CREDENTIALS_VARIABLE);
        assert_eq!(find(None, &set).unwrap(), "CFENV");
        set.remove(SECRET_VARIABLE);
        assert!(matches!(find(None, &set), Err(CredentialsError::HalfSet)));
        set.remove(ACCESS_KEY_ID_VARIABLE);
        assert_eq!(find(None, &set).unwrap(), in_configuration);
        set.clear();
        assert!(matches!(find(None, &set), Err(CredentialsError::NotFound)));
        set.insert(CREDENTIALS_VARIABLE, place("missing").into());
        assert!(matches!(find(None, &set), Err(CredentialsError::File(_))));
    }
}
