//! Interned names of keys and values.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{Key, Value};

#[derive(Default)]
struct Keys {
    ids: HashMap<String, Key>,
    names: Vec<String>,
}

/// Every key and value of a run. A value is `id|payload` and is written by one operation only, so
/// that whoever reads it knows who wrote it.
#[derive(Default)]
pub struct Names {
    keys: Mutex<Keys>,
    values: Mutex<Vec<String>>,
}

impl Names {
    pub fn key(&self, name: &str) -> Key {
        let mut keys = self.keys.lock().unwrap();
        if let Some(key) = keys.ids.get(name) {
            return *key;
        }
        let key = keys.names.len() as Key;
        keys.ids.insert(name.into(), key);
        keys.names.push(name.into());
        key
    }

    pub fn key_name(&self, key: Key) -> String {
        self.keys.lock().unwrap().names[key as usize].clone()
    }

    /// A new value, and its text.
    pub fn new_value(&self, payload: &str) -> (Value, String) {
        let mut values = self.values.lock().unwrap();
        if values.is_empty() {
            // 0 is "none".
            values.push(String::new());
        }
        let value = values.len() as Value;
        let text = format!("{value}|{payload}");
        values.push(text.clone());
        (value, text)
    }

    /// The value that was read; an error when nobody wrote it so.
    pub fn parse(&self, bytes: &[u8]) -> Result<Value, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a value that is no text".to_owned())?;
        let id: Value = text
            .split('|')
            .next()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| format!("a value nobody wrote: {text:?}"))?;
        match self.values.lock().unwrap().get(id as usize) {
            Some(written) if written == text => Ok(id),
            other => Err(format!("value {text:?} was written as {other:?}")),
        }
    }

    pub fn payload(&self, value: Value) -> String {
        let values = self.values.lock().unwrap();
        values[value as usize].split_once('|').map_or(String::new(), |(_, p)| p.to_owned())
    }
}
