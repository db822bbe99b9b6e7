//! The embedded store: sessions in the memory of this process.

mod attempt;
mod owners;
mod shard;
mod shared;

use std::{
    fmt,
    sync::{Arc, Once},
};

use self::{
    owners::OwnerKey,
    shard::{Size, Slot, SlotKey},
    shared::{SHARDS, Shared},
};
use super::{
    AtHand, ByPrincipal, Found, Kept, Layout, Owner, Record, Store, StoreError, When, Which, Written,
};
use crate::{
    clock::{Clock, SharedClock, Timestamp},
    error::see,
    id::StoreKey,
};

static TOLD: Once = Once::new();

/// Sessions in the memory of this process: for quick starts, tests, and sites that run as one process.
///
/// A handle is cheap to clone, and all clones are one store.
///
/// ```
/// use axum_generic_session::MemoryStore;
///
/// let sessions = MemoryStore::new().max_entries(100_000).max_bytes(64 << 20);
/// assert!(sessions.is_empty());
/// ```
///
/// **What it holds ends with the process**: a restart logs everybody out, and a second process knows nothing of
/// the first one's visitors. A release build says so once, as a warning with the target
/// `axum_generic_session::store::memory`; where that is understood, filter the target out.
///
/// **Expired sessions** are gone at their time for every caller; on Linux a read, which goes by the kernel's last
/// tick, may find one for some milliseconds more (a tick is 1 to 10). Their memory is freed by the calls that follow,
/// one shard of 64 at a time: there is no background task, so nothing to start, to shut down, or to die.
///
/// **When it is full** (see [`max_entries`](Self::max_entries) and [`max_bytes`](Self::max_bytes)), expired
/// sessions are swept first. If that gives no room, *new* sessions and updates that grow are refused with
/// [`StoreErrorKind::Full`](super::StoreErrorKind::Full); updates that do not grow, rotations, and logouts go
/// on. A live session is never thrown out to make room: who floods the site with new sessions must not log its
/// visitors out.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    clock: SharedClock,
    limits: Size,
}

impl MemoryStore {
    /// An empty store, bounded only by the machine.
    #[must_use]
    pub fn new() -> Self {
        if cfg!(not(debug_assertions)) {
            TOLD.call_once(|| {
                tracing::warn!(
                    "MemoryStore: sessions end with this process and are not shared with another one; \
                     use a store with an engine of its own to survive restarts or to run several processes{}",
                    see!("stores", "memory")
                );
            });
        }
        Self {
            shared: Arc::default(),
            clock: SharedClock::System,
            limits: Size { entries: usize::MAX, bytes: usize::MAX },
        }
    }

    /// At most this many sessions. Applies to this handle and to clones made of it later, as all settings do.
    #[must_use]
    pub const fn max_entries(mut self, sessions: usize) -> Self {
        self.limits.entries = sessions;
        self
    }

    /// At most about this much memory, in bytes; counted as by [`bytes`](Self::bytes).
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Reads the time from `clock`: for tests that do not want to wait.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::of(clock);
        self
    }

    /// How many sessions are in memory, those included that have expired and not been swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.size().entries
    }

    /// Whether there is no session in memory at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory the sessions take, in bytes: for each its data and 200 bytes that the store itself
    /// needs, and where it has a principal that and 160 more (measured with a million sessions).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shared.size().bytes
    }

    /// `copy`: what is wanted of the session that is there.
    fn read<R>(&self, key: &StoreKey, copy: impl FnOnce(&Slot) -> R) -> Option<R> {
        let now = self.tend(self.clock.about_now());
        let (index, key, _) = locate(key);
        let shard = self.shared.read(index);
        let slot = shard.slot(&key)?;
        if slot.is_live(now) {
            return Some(copy(slot));
        }
        drop(shard);
        self.bury(index, &key, now);
        None
    }

    #[cold]
    fn bury(&self, index: usize, key: &SlotKey, now: Timestamp) {
        self.shared.bury(&mut self.shared.write(index), key, now);
    }

    fn extend(&self, key: &StoreKey, expires_at: Timestamp, now: Timestamp) -> bool {
        let (index, key, _) = locate(key);
        let mut shard = self.shared.write(index);
        let alive = shard.extend(&key, expires_at, now);
        if !alive {
            self.shared.bury(&mut shard, &key, now);
        }
        alive
    }

    /// The time, and a moment of housekeeping if that is due. `told`: the time, if the machine's clock has just said it.
    fn now(&self, told: Option<Timestamp>) -> Timestamp {
        let now = match (&self.clock, told) {
            (SharedClock::System, Some(now)) => now,
            (clock, _) => clock.now(),
        };
        self.tend(now)
    }

    fn tend(&self, now: Timestamp) -> Timestamp {
        self.shared.tend(now);
        now
    }
}

/// Where a key lives: the shard by one part of its fingerprint, the place in it by another. Half of it is
/// kept; 128 bits of SHA-256 are as unlikely to meet twice as the ids themselves.
fn locate(key: &StoreKey) -> (usize, SlotKey, Layout) {
    let [first, second, third, _] = key.fingerprint();
    (third as usize % SHARDS, SlotKey(first, second), key.layout())
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

// Which engines there are is a matter of features: without this the compiler lists them where a store is missing.
#[diagnostic::do_not_recommend]
impl Store for MemoryStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        Ok(self.read(key, Slot::record))
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        let (now, own) = (self.now(None), record.noted(key.layout()));
        self.make(Size::of(&own), now, || self.try_set(key, own.clone(), when, now)).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        Ok(self.extend(key, expires_at, self.now(None)))
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.now(None);
        let (shard, key, _) = locate(key);
        let removed = self.shared.write(shard).remove(&key, &self.shared.owners);
        self.shared.subtract(removed);
        Ok(())
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        let (now, own) = (self.now(None), record.noted(new.layout()));
        self.make(Size::of(&own), now, || self.try_rotate((old, when), new, own.clone(), now)).await
    }

    fn at_hand(&self) -> Option<&dyn AtHand> {
        Some(self)
    }

    fn held(&self) -> Option<usize> {
        Some(self.len())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

impl AtHand for MemoryStore {
    fn get(&self, key: &StoreKey) -> Option<Kept> {
        self.read(key, Slot::kept)
    }

    // Room for it may have to be made, which other tasks need not wait for.
    fn set(&self, key: &StoreKey, record: Kept, when: When, told: Option<Timestamp>) -> Option<Written> {
        self.try_set(key, record, when, self.now(told))
    }

    fn touch(&self, key: &StoreKey, expires_at: Timestamp, told: Option<Timestamp>) -> bool {
        self.extend(key, expires_at, self.now(told))
    }
}

#[diagnostic::do_not_recommend]
impl ByPrincipal for MemoryStore {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        let (by, now) = (OwnerKey::of(owner), self.now(None));
        loop {
            if let Some(found) = self.try_find(by, now) {
                return Ok(found);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        let (by, now) = (OwnerKey::of(owner), self.now(None));
        let mut ended = 0;
        while !self.try_end(by, which, now, &mut ended) && !matches!(which, Which::Only(_)) {
            tokio::task::yield_now().await;
        }
        Ok(ended)
    }
}
