//! Where a node has the cluster's keys from.
//!
//! A node that founds its cluster alone and was told of no key file makes both files in its data
//! directory: that of the cluster, and that of its first user. Both are on the disk before the
//! directory is one, so a crash in between leaves keys that the next start goes on with.

use std::path::Path;

use super::StartError;
use crate::auth::ClusterKey;
use crate::auth::cluster_key::CLUSTER_KEY_FILE;
use crate::auth::credentials::{DEFAULT_CLUSTER_NAME, ROOT_CREDENTIALS_FILE};
use crate::config::NodeConfig;
use crate::storage::data_dir::{create_directories, is_made};

/// The cluster's keys; none when the node runs without authentication.
pub(super) fn load(config: &NodeConfig) -> Result<Option<ClusterKey>, StartError> {
    if config.auth.insecure_no_auth {
        tracing::warn!(
            "INSECURE: requests are not authenticated, whoever can connect may do everything"
        );
        return Ok(None);
    }
    if let Some(path) = &config.auth.cluster_key {
        return Ok(Some(ClusterKey::load(path)?));
    }
    let path = config.data_dir.join(CLUSTER_KEY_FILE);
    match ClusterKey::load(&path) {
        Err(error) if error.is_missing() => {}
        loaded => {
            let key = loaded?;
            create_root_credentials(&key, &config.data_dir)?;
            return Ok(Some(key));
        }
    }
    if is_made(&config.data_dir) {
        return Err(StartError::NoClusterKey { key: path, data_dir: config.data_dir.clone() });
    }
    create_directories(&config.data_dir)?;
    let key = ClusterKey::generate(DEFAULT_CLUSTER_NAME, &mut rand::rng());
    key.create(&path)?;
    create_root_credentials(&key, &config.data_dir)?;
    let credentials = config.data_dir.join(ROOT_CREDENTIALS_FILE);
    tracing::info!(
        cluster_key = %path.display(),
        credentials = %credentials.display(),
        "made the keys of a new cluster; clients sign with the credentials (--credentials)"
    );
    Ok(Some(key))
}

/// The file of root's first key, unless the directory is a node's already: then it was made, and
/// whoever removed it did so on purpose.
fn create_root_credentials(key: &ClusterKey, data_dir: &Path) -> Result<(), StartError> {
    let path = data_dir.join(ROOT_CREDENTIALS_FILE);
    if is_made(data_dir) || path.exists() {
        return Ok(());
    }
    Ok(key.root_credentials().create(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Credentials;

    fn config(data_dir: &Path) -> NodeConfig {
        NodeConfig { data_dir: data_dir.to_owned(), ..NodeConfig::default() }
    }

    #[test]
    fn a_single_node_makes_its_keys_once_and_goes_on_after_a_crash_in_between() {
        let parent = tempfile::tempdir().expect("a directory");
        let config = config(&parent.path().join("data"));
        let made = load(&config).expect("made").expect("authenticated");
        let credentials = config.data_dir.join(ROOT_CREDENTIALS_FILE);
        let root = Credentials::load(&credentials).expect("made as well");
        assert_eq!(root.access_key_id, made.root_credentials().access_key_id);
        std::fs::remove_file(&credentials).expect("as if it was not made yet");
        let again = load(&config).expect("loaded").expect("authenticated");
        assert_eq!(again.cluster_id, made.cluster_id);
        let root_again = Credentials::load(&credentials).expect("made again");
        assert_eq!(root_again.access_key_id, root.access_key_id);
    }

    #[test]
    fn a_directory_with_data_and_without_keys_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = config(directory.path());
        std::fs::write(directory.path().join("FORMAT"), "chainfire").expect("written");
        let error = load(&config).expect_err("no keys");
        assert!(matches!(error, StartError::NoClusterKey { .. }), "{error}");
        assert!(!directory.path().join(CLUSTER_KEY_FILE).exists(), "nothing was made");
    }
}
