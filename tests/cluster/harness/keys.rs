//! The keys that every node and client of the scenarios has.
//!
//! They are always the same, so that test processes which run side by side agree on the files.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chainfire::auth::cluster_key::CLUSTER_KEY_FILE;
use chainfire::auth::credentials::ROOT_CREDENTIALS_FILE;
use chainfire::auth::{ClusterKey, Credentials, KeyFileError};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Draws the keys.
const SEED: u64 = 0xC4A1;

static FILES: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster-keys");
    std::fs::create_dir_all(&directory).expect("a writable directory");
    let files = (directory.join(CLUSTER_KEY_FILE), directory.join(ROOT_CREDENTIALS_FILE));
    let key = ClusterKey::generate("scenarios", &mut StdRng::seed_from_u64(SEED));
    for made in [key.create(&files.0), key.root_credentials().create(&files.1)] {
        match made {
            // Another test process was faster.
            Ok(()) | Err(KeyFileError::Exists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    files
});

/// The file that every node is started with.
pub fn cluster_key_file() -> &'static Path {
    &FILES.0
}

/// The file of the user root's key.
pub fn root_credentials_file() -> &'static Path {
    &FILES.1
}

/// The user root's key.
pub fn root_credentials() -> Credentials {
    Credentials::load(root_credentials_file()).expect("the harness made it")
}
