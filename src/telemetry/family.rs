//! One metric with labels: a handle for each combination of values, made when first used.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

/// Handles of one metric, by the values of its labels.
pub(super) struct Family<K, H> {
    handles: RwLock<HashMap<K, H>>,
}

impl<K: Eq + Hash, H: Clone> Family<K, H> {
    pub(super) fn new() -> Self {
        Self { handles: RwLock::new(HashMap::new()) }
    }

    /// The handle for these values; `make` registers it the first time.
    pub(super) fn get<Q>(&self, values: &Q, make: impl FnOnce() -> H) -> H
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // A map of handles is whole whenever the lock is free, also after a panic.
        let known = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = known.get(values) {
            return handle.clone();
        }
        drop(known);
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        handles.entry(values.to_owned()).or_insert_with(make).clone()
    }
}
