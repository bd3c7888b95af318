//! What a data directory has claimed of its node's identity: the file `CLAIM`.
//!
//! An envelope around `Claims` in postcard. Written before a claim is proposed, so that whatever
//! becomes of the proposal, a start after a crash continues it; and again when the claim is taken.
//!
//! What must stay true:
//! - A nonce is on the disk before anybody hears of it, and each start draws its own: of two copies
//!   of one directory each claims another.
//! - The file is never behind the state beside it. One that is was put back, and is refused.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StorageError, durable_file, envelope};
use crate::types::{CLAIMS_CONTINUED_MAX, Claim, StartClaim};

/// The newest version of the file this release reads, and the one it writes.
const CLAIM_VERSION: u8 = 1;

/// The file's name.
pub(super) const CLAIM: &str = "CLAIM";

/// The starts that this directory knows of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    /// The last claim known to be taken; none before the first.
    taken: Option<Claim>,
    /// The nonces of the starts since, the last one at the end: any of them may have been taken.
    since: Vec<u64>,
}

impl Claims {
    /// Takes in what the state says was taken last. Whether it is part of the same chain.
    fn learn(&mut self, known: Option<Claim>) -> bool {
        let Some(known) = known else { return true };
        if self.since.contains(&known.nonce) {
            *self = Self { taken: Some(known), since: Vec::new() };
            return true;
        }
        // The state may be behind the file by what was not flushed at a crash.
        self.taken.is_some_and(|taken| taken == known || known.counter < taken.counter)
    }

    /// Adds a start. The last one goes on under its own nonce when there are many that nobody
    /// answered: one more copy could then pass for it, and no node is shut out.
    fn start(&mut self, nonce: u64) -> StartClaim {
        if self.since.len() + 1 < CLAIMS_CONTINUED_MAX {
            self.since.push(nonce);
        }
        let nonce = self.since.last().copied().unwrap_or(nonce);
        let before = self.taken.map(|taken| taken.nonce);
        let before = before.into_iter().chain(self.since.iter().copied());
        let mut continues = [0; CLAIMS_CONTINUED_MAX];
        for (place, before) in continues.iter_mut().zip(before.filter(|it| *it != nonce)) {
            *place = before;
        }
        StartClaim { counter: self.taken.map_or(0, |taken| taken.counter) + 1, nonce, continues }
    }
}

/// What a start claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartedClaim {
    /// The claim.
    pub claim: StartClaim,
    /// Whether its nonce was drawn for this start, and says when it was taken after it.
    pub is_fresh: bool,
}

/// Claims the identity of the directory at `path` for this start; `known` is what the state beside
/// it says was taken last, `nonce` drawn at random. On the disk when this returns. Blocks.
///
/// # Errors
/// The file is damaged, or behind the state.
pub(super) fn claim(
    path: &Path,
    known: Option<Claim>,
    nonce: u64,
) -> Result<StartedClaim, StorageError> {
    let path = path.join(CLAIM);
    let mut claims = match durable_file::read(&path)? {
        Some(bytes) => read(&path, &bytes)?,
        None if known.is_none() => Claims::default(),
        None => return Err(StorageError::Missing { path }),
    };
    if !claims.learn(known) {
        return Err(StorageError::PutBack { path });
    }
    let nonce = nonce.max(1);
    let claim = claims.start(nonce);
    durable_file::replace(&path, &envelope::seal(CLAIM_VERSION, &claims))?;
    Ok(StartedClaim { claim, is_fresh: claim.nonce == nonce })
}

/// Forgets what was claimed. Blocks.
pub(super) fn forget(path: &Path) -> Result<(), StorageError> {
    let path = path.join(CLAIM);
    match std::fs::remove_file(&path) {
        Ok(()) => durable_file::sync_parent(&path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StorageError::io("remove", &path, source)),
    }
}

/// Notes that the claim was taken. On the disk when this returns. Blocks.
pub(super) fn taken(path: &Path, claim: Claim) -> Result<(), StorageError> {
    let claims = Claims { taken: Some(claim), since: Vec::new() };
    durable_file::replace(&path.join(CLAIM), &envelope::seal(CLAIM_VERSION, &claims))
}

fn read(path: &Path, bytes: &[u8]) -> Result<Claims, StorageError> {
    envelope::unseal(CLAIM_VERSION, bytes)
        .map_err(|error| StorageError::envelope("the claim", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Claim = Claim { counter: 1, nonce: 10 };

    /// What a start of the directory at `path` claims.
    fn start(path: &Path, known: Option<Claim>, nonce: u64) -> StartClaim {
        claim(path, known, nonce).unwrap().claim
    }

    fn before(claim: &StartClaim) -> Vec<u64> {
        claim.continues.iter().copied().filter(|nonce| *nonce != 0).collect()
    }

    #[test]
    fn each_start_continues_the_last_claim_taken_and_every_start_since() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let first = start(path, None, 10);
        assert_eq!((first.counter, first.nonce, before(&first)), (1, 10, vec![]));
        taken(path, FIRST).unwrap();
        let second = start(path, Some(FIRST), 20);
        assert_eq!((second.counter, second.nonce, before(&second)), (2, 20, vec![10]));
        let third = start(path, Some(FIRST), 30);
        assert_eq!((third.counter, third.nonce, before(&third)), (2, 30, vec![10, 20]));
        // The second was taken after all, and the state knows.
        let fourth = start(path, Some(Claim { counter: 2, nonce: 20 }), 40);
        assert_eq!((fourth.counter, fourth.nonce, before(&fourth)), (3, 40, vec![20]));
    }

    #[test]
    fn a_state_that_lags_is_no_fault_and_one_that_is_ahead_is() {
        let directory = tempfile::tempdir().unwrap();
        taken(directory.path(), Claim { counter: 5, nonce: 50 }).unwrap();
        claim(directory.path(), Some(Claim { counter: 4, nonce: 40 }), 60).unwrap();
        claim(directory.path(), None, 61).unwrap();
        for (counter, nonce) in [(5, 51), (6, 70)] {
            let refused = claim(directory.path(), Some(Claim { counter, nonce }), 62).unwrap_err();
            assert!(matches!(refused, StorageError::PutBack { .. }), "{refused}");
        }
    }

    #[test]
    fn a_file_that_is_gone_or_damaged_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let gone = claim(directory.path(), Some(FIRST), 20).unwrap_err().to_string();
        assert!(gone.contains("CLAIM is missing"), "{gone}");
        taken(directory.path(), FIRST).unwrap();
        let path = directory.path().join(CLAIM);
        let mut bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[5..], [1, 1, 10, 0], "pinned");
        bytes[6] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let damaged = claim(directory.path(), Some(FIRST), 20).unwrap_err().to_string();
        assert!(damaged.starts_with("the claim in "), "{damaged}");
    }

    #[test]
    fn starts_that_nobody_answers_are_bounded_and_never_shut_out() {
        let directory = tempfile::tempdir().unwrap();
        taken(directory.path(), FIRST).unwrap();
        let starts: Vec<StartClaim> =
            (20..40).map(|nonce| start(directory.path(), Some(FIRST), nonce)).collect();
        let last = starts.last().unwrap();
        assert_eq!(last.nonce, 26, "the last one that had room");
        assert_eq!(before(last), [10, 20, 21, 22, 23, 24, 25]);
        assert!(!claim(directory.path(), Some(FIRST), 50).unwrap().is_fresh);
    }
}
