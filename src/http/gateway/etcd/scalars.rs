//! How bytes, numbers, enumerations and structures are written.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
                let decoded = STANDARD.decode(text).map_err(|_| E::custom("this is not base64"))?;
                Ok(Blob(decoded.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<Blob, E> {
                Ok(Blob::default())
            }
        }
        deserializer.deserialize_any(Base64)
    }
}

/// A 64-bit number: a string, or a number in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Number<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<T> Number<T>
where
    T: Default + PartialEq,
{
    /// Whether it is left out of answers.
    pub(super) fn is_default(&self) -> bool {
        self.0 == T::default()
    }
}

impl<'de, T> Deserialize<'de> for Number<T>
where
    T: Default + FromStr + TryFrom<i64> + TryFrom<u64>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNumber(PhantomData))
    }
}

struct AnyNumber<T>(PhantomData<T>);

impl<T> Visitor<'_> for AnyNumber<T>
where
    T: Default + FromStr + TryFrom<i64> + TryFrom<u64>,
{
    type Value = Number<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, as a number or a string, not below its least")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number<T>, E> {
        T::try_from(number).map(Number).map_err(|_| E::custom("this number is too large"))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number<T>, E> {
        T::try_from(number).map(Number).map_err(|_| E::custom("this number may not be negative"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number<T>, E> {
        // The standard library takes a sign that JSON does not.
        let number = text.parse().ok().filter(|_| !text.starts_with('+'));
        number.map(Number).ok_or_else(|| E::custom("this string is not such a number"))
    }

    fn visit_unit<E: Error>(self) -> Result<Number<T>, E> {
        Ok(Number::default())
    }
}

/// A structure that is written as an object alone; serde takes a list of its fields as well.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyObject(PhantomData))
    }
}

struct AnyObject<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyObject<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// An enumeration: its names, in the order of their numbers.
pub(super) trait Names: Copy + Default + 'static {
    const NAMES: &'static [(&'static str, Self)];
}

/// A value of an enumeration, by its name or its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Named<T>(pub(super) T);

impl<'de, T: Names> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyName(PhantomData))
    }
}

struct AnyName<T>(PhantomData<T>);

impl<T: Names> Visitor<'_> for AnyName<T> {
    type Value = Named<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of ")?;
        for (at, (name, _)) in T::NAMES.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Named<T>, E> {
        let named = usize::try_from(number).ok().and_then(|at| T::NAMES.get(at));
        let unexpected = serde::de::Unexpected::Unsigned(number);
        named.map(|(_, value)| Named(*value)).ok_or_else(|| E::invalid_value(unexpected, &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Named<T>, E> {
        let named = T::NAMES.iter().find(|(name, _)| *name == text);
        let unexpected = serde::de::Unexpected::Str(text);
        named.map(|(_, value)| Named(*value)).ok_or_else(|| E::invalid_value(unexpected, &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Named<T>, E> {
        Ok(Named::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_number_or_a_string() {
        for (text, expected) in [
            ("7", Some(7)),
            ("\"7\"", Some(7)),
            ("null", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("\"18446744073709551615\"", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("\"-1\"", None),
            ("\"+1\"", None),
            ("\"\"", None),
            ("1.5", None),
            ("1e3", None),
            ("true", None),
            ("[]", None),
        ] {
            let read = serde_json::from_str::<Number<u64>>(text);
            assert_eq!(read.ok().map(|number| number.0), expected, "{text}");
        }
        let negative = serde_json::from_str::<Number<i64>>("\"-9223372036854775808\"");
        assert_eq!(negative.expect("a number").0, i64::MIN);
        assert_eq!(serde_json::to_string(&Number(7_u64)).expect("text"), "\"7\"");
    }

    #[test]
    fn bytes_are_base64_in_its_one_form() {
        for (text, expected) in [
            ("\"a2V5\"", Some(&b"key"[..])),
            ("\"/+8=\"", Some(b"\xff\xef")),
            ("\"\"", Some(b"")),
            ("null", Some(b"")),
            ("\"_-8=\"", None),
            ("\"/+8\"", None),
            ("\"a2V5\\n\"", None),
            ("7", None),
        ] {
            let read = serde_json::from_str::<Blob>(text);
            assert_eq!(read.ok().map(|blob| blob.0).as_deref(), expected, "{text}");
        }
    }
}
