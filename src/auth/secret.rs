//! A secret access key: never printed, wiped when dropped.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// The secret half of an access key, as text.
#[derive(Clone)]
pub struct SecretKey(SecretString);

impl SecretKey {
    /// Takes the text of a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for deriving keys and for key files.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", SecretKey::new("wJalrXUtnFEMI")), "SecretKey(..)");
    }
}
