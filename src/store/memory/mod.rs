//! The embedded store: sessions in the memory of this process.

mod owners;
mod shard;
mod shared;

use std::{
    fmt,
    sync::{Arc, Once},
};

use self::{
    owners::{OwnerKey, Place},
    shard::{Size, Slot, SlotKey},
    shared::{SHARDS, Shared},
};
use super::{
    AtHand, ByPrincipal, Found, Kept, Layout, Owner, Record, Store, StoreError, StoreErrorKind, Tag, When,
    Which, Written,
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
/// **Expired sessions** are gone at their time for every caller. Their memory is freed by the calls that follow,
/// one shard of 64 at a time: there is no background task, so nothing to start, to shut down, or to die.
///
/// **When it is full** (see [`max_entries`](Self::max_entries) and [`max_bytes`](Self::max_bytes)), expired
/// sessions are swept first. If that gives no room, *new* sessions and updates that grow are refused with
/// [`StoreErrorKind::Full`]; updates that do not grow, rotations, and logouts go on. A live session is never
/// thrown out to make room: who floods the site with new sessions must not log its visitors out.
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
        let now = self.now(None);
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

    /// One try at a write: `None` if there is no room for it.
    fn try_set(&self, key: &StoreKey, record: Kept, when: When, now: Timestamp) -> Option<Written> {
        let (whole, (index, key, layout)) = (key, locate(key));
        let mut shard = self.shared.write(index);
        let there = shard.slot(&key);
        let leaving = there.map(Slot::size).unwrap_or_default();
        if let Some(answer) = verdict(there.filter(|slot| slot.is_live(now)), record.tag(), when, layout) {
            if answer == Written::Gone {
                self.shared.bury(&mut shard, &key, now);
            }
            return Some(answer);
        }
        if record.expires_at <= now {
            self.shared.subtract(shard.remove(&key, &self.shared.owners));
            return Some(Written::Done);
        }
        if !self.shared.reserve(Size::of(&record), leaving, self.limits) {
            return None;
        }
        let owned = shard.owned(&key, whole, &record);
        self.shared.subtract(shard.insert(key, (record, owned), &self.shared.owners, now));
        Some(Written::Done)
    }

    /// One try at a rotation, both shards locked: `None` if there is no room for it.
    fn try_rotate(
        &self,
        (old, when): (&StoreKey, When),
        new: &StoreKey,
        record: Kept,
        now: Timestamp,
    ) -> Option<Written> {
        let whole = new;
        let ((old_index, old, layout), (new_index, new, _)) = (locate(old), locate(new));
        let mut shards = self.shared.write_both(old_index, new_index);
        if let Some(taken) = shards.target().live(&new, now) {
            let again = layout == Layout::Native && taken.tag() == record.tag();
            return Some(if again { Written::Done } else { Written::Conflict(None) });
        }
        // An own write would stand under `new`: here is nothing to recognise.
        if let Some(refused) = verdict(shards.source().live(&old, now), record.tag(), when, Layout::Plain) {
            if refused == Written::Gone {
                self.shared.bury(shards.source(), &old, now);
            }
            return Some(refused);
        }
        if record.expires_at <= now {
            self.shared.subtract(shards.source().remove(&old, &self.shared.owners));
            return Some(Written::Done);
        }
        let leaving = shards.source().size_of(&old) + shards.target().size_of(&new);
        if !self.shared.reserve(Size::of(&record), leaving, self.limits) {
            return None;
        }
        let owned = shards.target().owned(&new, whole, &record);
        // First the new one, so that its owner's index is at no time without it. What leaves has been counted above.
        let swept = shards.target().insert(new, (record, owned), &self.shared.owners, now);
        if (old_index, old) != (new_index, new) {
            shards.source().remove(&old, &self.shared.owners);
        }
        self.shared.subtract(swept);
        Some(Written::Done)
    }

    /// Makes a write, and if there is no room for it, sweeps shard after shard until there is. Lets other
    /// tasks run in between: no request waits for the sweep of the whole store but the one that needs it.
    async fn make(
        &self,
        size: Size,
        now: Timestamp,
        mut attempt: impl FnMut() -> Option<Written> + Send,
    ) -> Result<Written, StoreError> {
        if let Some(answer) = attempt() {
            return Ok(answer);
        }
        for shard in 0..SHARDS {
            loop {
                let swept = self.shared.sweep(shard, now);
                if swept.size.entries > 0 {
                    if let Some(answer) = attempt() {
                        return Ok(answer);
                    }
                    tokio::task::yield_now().await;
                }
                if swept.all {
                    break;
                }
            }
        }
        Err(self.no_room(size))
    }

    fn no_room(&self, size: Size) -> StoreError {
        if size.bytes > self.limits.bytes {
            let reason = "it takes more than all the memory that `MemoryStore::max_bytes` allows";
            return StoreError::new(StoreErrorKind::TooLarge, reason);
        }
        let reason = "`MemoryStore` holds as many live sessions as its `max_entries` and `max_bytes` allow; \
                      raise them, or let sessions live shorter";
        StoreError::new(StoreErrorKind::Full, reason)
    }

    /// The owner's sessions; none if one of them was moved, ended or given away between two looks.
    fn try_find(&self, by: OwnerKey, now: Timestamp) -> Option<Vec<Found>> {
        let mut found = Vec::new();
        for Place(shard, key) in self.shared.owners.places(by) {
            let shard = self.shared.read(shard.into());
            shard.owned_by(&key, by)?;
            found.extend(shard.live(&key, now).and_then(Slot::found));
        }
        Some(found)
    }

    /// Ends those of the owner's sessions that are meant and adds the live ones up. Whether that was all: not if one of
    /// them was moved, ended or given away between two looks.
    fn try_end(&self, by: OwnerKey, which: Which, now: Timestamp, ended: &mut u64) -> bool {
        let mut all = true;
        for Place(shard, key) in self.shared.owners.places(by) {
            let mut shard = self.shared.write(shard.into());
            let Some(owned) = shard.owned_by(&key, by) else {
                all = false;
                continue;
            };
            if which.means(&owned.digest) {
                *ended += u64::from(shard.live(&key, now).is_some());
                self.shared.subtract(shard.remove(&key, &self.shared.owners));
            }
        }
        all
    }

    /// The time, and a moment of housekeeping if that is due. `told`: the time, if the machine's clock has just said it.
    fn now(&self, told: Option<Timestamp>) -> Timestamp {
        let now = match (&self.clock, told) {
            (SharedClock::System, Some(now)) => now,
            (clock, _) => clock.now(),
        };
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

/// The contract's table: the answer that needs no write, or `None` for a write to be made.
fn verdict(live: Option<&Slot>, tag: Tag, when: When, layout: Layout) -> Option<Written> {
    match (live, when) {
        (Some(live), _) if live.tag() == tag && layout == Layout::Native => Some(Written::Done),
        (None, When::Absent) | (Some(_), When::Present) => None,
        (Some(live), When::Tagged(old)) if live.tag() == old => None,
        (None, When::Present | When::Tagged(_)) => Some(Written::Gone),
        (Some(live), When::Absent | When::Tagged(_)) => Some(Written::Conflict(Some(live.record()))),
    }
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
