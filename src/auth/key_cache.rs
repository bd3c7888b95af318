//! Where keys come from, and the derived ones that are kept.
//!
//! Deriving a key costs five times what checking a request does, so derived keys are kept by
//! (key id, secret version, day, region, service). An unknown key is derived from a secret that
//! nobody knows and kept as well, so that it takes the time of a known one.
//!
//! What must stay true: what is kept is bounded; a key that was rotated, deactivated or removed
//! has nothing here after [`KeyCache::forget`], and an old version is never used again in any case,
//! since the version is compared.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rand::CryptoRng;

use super::signing_key::{Scope, ScopeParts, SigningKey};
use super::{SecretKey, hex};
use crate::types::Principal;

/// Most access keys whose derived keys are kept. Beyond it all are derived anew.
pub const CACHED_KEYS_MAX: usize = 4_096;

/// Most derived keys of one access key: the days that a presigned URL may be old, two days around
/// midnight, for a few services.
pub const CACHED_SCOPES_MAX: usize = 16;

/// An access key that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Whose it is.
    pub principal: Principal,
    /// Grows with each secret that the id was given.
    pub secret_version: u64,
}

/// The access keys in force: an immutable snapshot.
pub trait KeyLookup {
    /// An active key; none for one that is unknown or inactive.
    fn find(&self, access_key_id: &str) -> Option<KnownKey>;

    /// The secret of an active key; asked only when there is no derived key.
    fn secret(&self, access_key_id: &str) -> Option<SecretKey>;
}

struct Derived {
    secret_version: u64,
    scope: Scope,
    key: SigningKey,
}

impl Derived {
    fn is_for(&self, scope: ScopeParts<'_>) -> bool {
        ScopeParts::from(&self.scope) == scope
    }
}

/// See the module.
pub struct KeyCache {
    derived: RwLock<HashMap<String, Vec<Derived>>>,
    /// What unknown keys are verified with.
    dummy: SecretKey,
}

/// The id under which the dummy's derived keys are kept; no access key has it, as it is empty.
const DUMMY: &str = "";

impl KeyCache {
    /// An empty cache. `dummy` is drawn at random when the node starts.
    pub fn new(dummy: [u8; 32]) -> Self {
        Self { derived: RwLock::default(), dummy: SecretKey::new(hex::encode(&dummy)) }
    }

    /// An empty cache with a dummy drawn from `rng`.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut dummy = [0; 32];
        rng.fill_bytes(&mut dummy);
        Self::new(dummy)
    }

    /// The signing key that a request claims, and whose it is. For a key that is not in force it
    /// is nobody's, and made of a secret that nobody has.
    pub fn signing_key<'a>(
        &self,
        keys: &(impl KeyLookup + ?Sized),
        access_key_id: &str,
        scope: impl Into<ScopeParts<'a>>,
    ) -> (Option<Principal>, SigningKey) {
        let scope = scope.into();
        let known = keys.find(access_key_id);
        let (id, version) =
            known.as_ref().map_or((DUMMY, 0), |known| (access_key_id, known.secret_version));
        if let Some(key) = self.cached(id, version, scope) {
            return (known.map(|known| known.principal), key);
        }
        let secret = known.as_ref().and_then(|_| keys.secret(access_key_id));
        let is_known = secret.is_some();
        let key = SigningKey::derive(secret.as_ref().unwrap_or(&self.dummy), scope);
        if is_known || known.is_none() {
            self.keep(id, version, scope, &key);
        }
        (known.filter(|_| is_known).map(|known| known.principal), key)
    }

    fn cached(&self, id: &str, version: u64, scope: ScopeParts<'_>) -> Option<SigningKey> {
        let derived = self.derived.read().unwrap_or_else(PoisonError::into_inner);
        let of_key = derived.get(id)?;
        let found = of_key.iter().find(|d| d.secret_version == version && d.is_for(scope))?;
        Some(found.key.clone())
    }

    fn keep(&self, id: &str, secret_version: u64, scope: ScopeParts<'_>, key: &SigningKey) {
        let mut derived = self.derived.write().unwrap_or_else(PoisonError::into_inner);
        if derived.len() >= CACHED_KEYS_MAX && !derived.contains_key(id) {
            derived.clear();
        }
        let of_key = derived.entry(id.to_owned()).or_default();
        of_key.retain(|d| d.secret_version == secret_version && !d.is_for(scope));
        if of_key.len() >= CACHED_SCOPES_MAX {
            of_key.remove(0);
        }
        of_key.push(Derived { secret_version, scope: scope.into(), key: key.clone() });
    }

    /// Wipes what was derived from keys that are no longer in force, or have another secret now.
    /// Called whenever the keys in force change.
    pub fn forget(&self, keys: &(impl KeyLookup + ?Sized)) {
        let mut derived = self.derived.write().unwrap_or_else(PoisonError::into_inner);
        derived.retain(|id, of_key| {
            if id == DUMMY {
                return true;
            }
            let version = keys.find(id).map(|known| known.secret_version);
            of_key.retain(|d| Some(d.secret_version) == version);
            !of_key.is_empty()
        });
    }

    /// How many derived keys are kept.
    pub fn len(&self) -> usize {
        let derived = self.derived.read().unwrap_or_else(PoisonError::into_inner);
        derived.values().map(Vec::len).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: KeyLookup + ?Sized> KeyLookup for Arc<T> {
    fn find(&self, access_key_id: &str) -> Option<KnownKey> {
        (**self).find(access_key_id)
    }

    fn secret(&self, access_key_id: &str) -> Option<SecretKey> {
        (**self).secret(access_key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every id up to a number is known, with one version.
    struct Numbered {
        ids: usize,
        version: u64,
    }

    impl KeyLookup for Numbered {
        fn find(&self, id: &str) -> Option<KnownKey> {
            let number: usize = id.parse().ok()?;
            let known = KnownKey { principal: Principal(id.into()), secret_version: self.version };
            (number < self.ids).then_some(known)
        }

        fn secret(&self, id: &str) -> Option<SecretKey> {
            Some(SecretKey::new(format!("{id}-{}", self.version)))
        }
    }

    fn scope(day: usize) -> Scope {
        Scope { day: format!("{day:08}"), region: "r".into(), service: "s".into() }
    }

    #[test]
    fn a_rotated_key_has_another_derived_key_and_the_old_one_is_wiped() {
        let cache = KeyCache::new([7; 32]);
        let (old, new) = (Numbered { ids: 1, version: 1 }, Numbered { ids: 1, version: 2 });
        let (_, before) = cache.signing_key(&old, "0", &scope(1));
        let (_, after) = cache.signing_key(&new, "0", &scope(1));
        assert_ne!(before.sign(&[b"x"]), after.sign(&[b"x"]));
        assert_eq!(cache.len(), 1);
        cache.forget(&new);
        assert_eq!(cache.len(), 1);
        cache.forget(&Numbered { ids: 0, version: 2 });
        assert!(cache.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = KeyCache::new([7; 32]);
        let keys = Numbered { ids: CACHED_KEYS_MAX + 10, version: 1 };
        for id in 0..CACHED_KEYS_MAX + 10 {
            cache.signing_key(&keys, &id.to_string(), &scope(1));
            assert!(cache.len() <= CACHED_KEYS_MAX);
        }
        let cache = KeyCache::new([7; 32]);
        for day in 0..100 {
            cache.signing_key(&keys, "0", &scope(day));
            cache.signing_key(&keys, "unknown", &scope(day));
        }
        assert_eq!(cache.len(), 2 * CACHED_SCOPES_MAX);
        for unknown in 0..100 {
            cache.signing_key(&keys, &format!("unknown-{unknown}"), &scope(99));
        }
        assert_eq!(cache.len(), 2 * CACHED_SCOPES_MAX);
    }

    #[test]
    fn an_unknown_key_is_nobodys() {
        let cache = KeyCache::new([7; 32]);
        let keys = Numbered { ids: 1, version: 1 };
        let (nobody, dummy) = cache.signing_key(&keys, "unknown", &scope(1));
        let (somebody, key) = cache.signing_key(&keys, "0", &scope(1));
        assert_eq!((nobody, somebody), (None, Some(Principal("0".into()))));
        assert_ne!(dummy.sign(&[b"x"]), key.sign(&[b"x"]));
    }
}
