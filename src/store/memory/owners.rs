//! Which sessions belong to whom. Only sessions that have a principal are here.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};

use super::shard::SlotKey;
use crate::{id::StoreKey, store::Owner};

/// A power of two, as many as there may be cores.
const PARTS: usize = 16;

/// An owner in 16 bytes of a digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OwnerKey([u8; 16]);

impl OwnerKey {
    pub(super) fn of(Owner { prefix, principal }: Owner<'_>) -> Self {
        let mut key = [0; 16];
        let digest = Sha256::new().chain_update(principal).chain_update([0]).chain_update(prefix).finalize();
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

/// What a session that belongs to somebody has beside the others.
#[derive(Clone)]
pub(super) struct Owned {
    pub(super) by: OwnerKey,
    /// Of the whole key, from which the shards keep less.
    pub(super) digest: [u8; 32],
    pub(super) principal: Box<str>,
}

impl Owned {
    pub(super) fn new(key: &StoreKey, principal: &str) -> Box<Self> {
        let by = OwnerKey::of(Owner { prefix: key.prefix(), principal });
        Box::new(Self { by, digest: key.digest(), principal: principal.into() })
    }
}

/// Where a session lies: the number of its shard, and the place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) u8, pub(super) SlotKey);

/// The index. Changed only under the lock of the shard that the session is in, and its locks are the last to be
/// taken: who looks here first must look again at what lies in the shard.
#[derive(Default)]
pub(super) struct Owners([Mutex<BTreeSet<(OwnerKey, Place)>>; PARTS]);

impl Owners {
    fn part(&self, by: OwnerKey) -> MutexGuard<'_, BTreeSet<(OwnerKey, Place)>> {
        self.0[usize::from(by.0[0]) % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, by: OwnerKey, place: Place) {
        self.part(by).insert((by, place));
    }

    pub(super) fn remove(&self, by: OwnerKey, place: Place) {
        self.part(by).remove(&(by, place));
    }

    pub(super) fn places(&self, by: OwnerKey) -> Vec<Place> {
        let (first, last) = (Place(u8::MIN, SlotKey(0, 0)), Place(u8::MAX, SlotKey(u64::MAX, u64::MAX)));
        self.part(by).range((by, first)..=(by, last)).map(|(_, place)| *place).collect()
    }
}
