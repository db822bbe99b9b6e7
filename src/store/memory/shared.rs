//! What all handles of a memory store share: the shards, their locks, the counts, and the sweep.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    owners::Owners,
    shard::{Shard, Size, SlotKey, Swept},
};
use crate::clock::Timestamp;

/// A power of two: the shard is picked by bits of the digest.
pub(super) const SHARDS: usize = 64;
/// How long the sweep rests between two shards, in milliseconds: once around in about a minute.
const SWEEP_EVERY: u64 = 1000;
pub(super) struct Shared {
    shards: Box<[RwLock<Shard>]>,
    pub(super) owners: Owners,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    /// The shard that the sweep comes to next, and when, in milliseconds since 1970.
    sweep_next: AtomicUsize,
    sweep_at: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).zip(0..).map(|(_, number)| RwLock::new(Shard::new(number))).collect(),
            owners: Owners::default(),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            sweep_next: AtomicUsize::new(0),
            sweep_at: AtomicU64::new(0),
        }
    }
}

impl Shared {
    // A panic cannot leave a shard half changed, as no foreign code runs under a lock; so a poisoned lock is
    // as good as new.
    pub(super) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Both shards of a rotation, locked in the order of their numbers: two rotations cannot wait for each
    /// other.
    pub(super) fn write_both(&self, old: usize, new: usize) -> Both<'_> {
        match old.cmp(&new) {
            Equal => Both { old: self.write(old), new: None },
            Less => {
                let old = self.write(old);
                Both { old, new: Some(self.write(new)) }
            }
            Greater => {
                let new = self.write(new);
                Both { old: self.write(old), new: Some(new) }
            }
        }
    }

    pub(super) fn size(&self) -> Size {
        Size { entries: self.entries.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    /// Counts what comes and what leaves, unless the store grew past a limit. Called under the lock of the
    /// shard, before the change itself.
    pub(super) fn reserve(&self, coming: Size, leaving: Size, limits: Size) -> bool {
        if !change(&self.entries, coming.entries, leaving.entries, limits.entries) {
            return false;
        }
        let fits = change(&self.bytes, coming.bytes, leaving.bytes, limits.bytes);
        if !fits {
            change(&self.entries, leaving.entries, coming.entries, usize::MAX);
        }
        fits
    }

    pub(super) fn subtract(&self, size: Size) {
        change(&self.entries, 0, size.entries, usize::MAX);
        change(&self.bytes, 0, size.bytes, usize::MAX);
    }

    /// Takes a session out that has ended.
    pub(super) fn bury(&self, shard: &mut Shard, key: &SlotKey, now: Timestamp) {
        self.subtract(shard.bury(key, &self.owners, now));
    }

    pub(super) fn sweep(&self, shard: usize, now: Timestamp) -> Swept {
        let (swept, dead) = self.write(shard).sweep(&self.owners, now);
        drop(dead);
        self.subtract(swept.size);
        swept
    }

    /// Sweeps one shard if the last sweep is long enough ago; whoever comes first does it.
    pub(super) fn tend(&self, now: Timestamp) {
        let (millis, at) = (now.as_millis(), self.sweep_at.load(Relaxed));
        // A clock that has been set back must not stop the sweep.
        let due = millis >= at || at - millis > SWEEP_EVERY;
        let mine = due && self.sweep_at.compare_exchange(at, millis + SWEEP_EVERY, Relaxed, Relaxed).is_ok();
        if mine {
            self.sweep_one(now);
        }
    }

    /// Sweeps the next shard, as far as one sweep goes.
    #[cold]
    fn sweep_one(&self, now: Timestamp) {
        let shard = self.sweep_next.fetch_add(1, Relaxed) % SHARDS;
        if !self.sweep(shard, now).all {
            self.sweep_next.store(shard, Relaxed);
            self.sweep_at.store(now.as_millis(), Relaxed);
        }
    }
}

/// The locks of a rotation; one, if both keys live in the same shard.
pub(super) struct Both<'a> {
    old: RwLockWriteGuard<'a, Shard>,
    new: Option<RwLockWriteGuard<'a, Shard>>,
}

impl Both<'_> {
    pub(super) fn source(&mut self) -> &mut Shard {
        &mut self.old
    }

    pub(super) fn target(&mut self) -> &mut Shard {
        self.new.as_mut().unwrap_or(&mut self.old)
    }
}

/// Adds and subtracts in one step; refuses to grow past `limit`.
fn change(counter: &AtomicUsize, plus: usize, minus: usize, limit: usize) -> bool {
    match plus.cmp(&minus) {
        // What is not written needs not be fetched from another processor: most updates change neither number.
        Equal => true,
        Less => {
            counter.fetch_sub(minus - plus, Relaxed);
            true
        }
        Greater => {
            let grown = |now: usize| now.checked_add(plus - minus).filter(|now| *now <= limit);
            counter.fetch_update(Relaxed, Relaxed, grown).is_ok()
        }
    }
}
