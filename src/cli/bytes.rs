//! Keys and values between the terminal, base64 and bytes.

use std::ffi::OsString;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes of an argument, as they were typed.
pub(super) fn from_argument(argument: OsString) -> Bytes {
    argument.into_encoded_bytes().into()
}

/// An argument of these bytes. On systems whose arguments are text, bytes that are not text fail.
pub(super) fn to_argument(bytes: Vec<u8>) -> Result<OsString, String> {
    #[cfg(unix)]
    return Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes));
    #[cfg(not(unix))]
    return String::from_utf8(bytes).map(OsString::from).map_err(|error| error.to_string());
}

/// Bytes that are base64 (RFC 4648, with padding) in JSON.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Base64(pub(super) Bytes);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(|bytes| Self(bytes.into())).map_err(|error| {
            D::Error::custom(format!("not base64 ({error}); encode keys and values in base64"))
        })
    }
}
