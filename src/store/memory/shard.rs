//! One of the maps that the sessions are spread over, and what stands in it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    ops::Add,
    sync::Arc,
};

use axum::body::Bytes;

use super::owners::{Owned, OwnerKey, Owners, Place};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    object::notes,
    store::{Found, Kept, Record, Tag},
};

/// What a session takes beside its data and its principal, in bytes: its place in a table that is on average
/// half full, notes, and an allocation.
const OVERHEAD: usize = 200;
/// What it takes more if it belongs to somebody: its digest, and its entry in the index.
const OWNED: usize = 160;
/// The most sessions that one sweep frees, so that no lock is held for long.
const SWEEP_LIMIT: usize = 512;
/// Tables smaller than this are never shrunk.
const SMALL: usize = 64;

/// Half of a key's digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotKey(pub(super) u64, pub(super) u64);

impl Hash for SlotKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Eight bytes of a digest are a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// A stored session. Small, since half of the places in a table are empty: what a lookup or a sweep compares
/// lies in the table, the rest behind a pointer.
pub(super) struct Slot {
    expires_at: Timestamp,
    owned: Option<Box<Owned>>,
    /// With notes and the tag behind the text.
    data: Arc<[u8]>,
}

impl Kept {
    pub(super) fn tag(&self) -> Tag {
        notes::tag(&self.data)
    }
}

impl Slot {
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    fn of(record: Kept, owned: Option<Box<Owned>>) -> Self {
        Self { expires_at: record.expires_at, owned, data: record.data }
    }

    /// The record as it is kept.
    pub(super) fn kept(&self) -> Kept {
        let principal = self.owned().map(|owned| owned.principal.clone());
        Kept { expires_at: self.expires_at, principal, data: self.data.clone() }
    }

    pub(super) fn record(&self) -> Record {
        let principal = self.owned().map(|owned| owned.principal.clone());
        let data = Bytes::copy_from_slice(text(&self.data));
        Record { tag: self.tag(), expires_at: self.expires_at, principal, data }
    }

    /// The session as its owner finds it; none if it is nobody's.
    pub(super) fn found(&self) -> Option<Found> {
        Some(Found { digest: self.owned()?.digest, record: self.record() })
    }

    pub(super) fn owned(&self) -> Option<&Owned> {
        self.owned.as_deref()
    }

    pub(super) fn tag(&self) -> Tag {
        notes::tag(&self.data)
    }

    pub(super) fn size(&self) -> Size {
        Size::one(text(&self.data), self.owned().map(|owned| &*owned.principal))
    }
}

/// The text of a record that is kept.
fn text(data: &[u8]) -> &[u8] {
    notes::split(data).0
}

/// Sessions, and the memory that they take in bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Size {
    /// What a record takes here.
    pub(super) fn of(record: &Kept) -> Self {
        Self::one(text(&record.data), record.principal.as_deref())
    }

    fn one(data: &[u8], principal: Option<&str>) -> Self {
        let owned = principal.map_or(0, |principal| principal.len() + OWNED);
        Self { entries: 1, bytes: data.len() + owned + OVERHEAD }
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { entries: self.entries + other.entries, bytes: self.bytes + other.bytes }
    }
}

/// What a sweep has freed.
pub(super) struct Swept {
    pub(super) size: Size,
    /// Nothing expired is left.
    pub(super) all: bool,
}

fn earlier(first: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(first.map_or(other, |first| first.min(other)))
}

pub(super) struct Shard {
    number: u8,
    slots: HashMap<SlotKey, Slot, BuildHasherDefault<AsItIs>>,
    /// No session in here expires before this moment; `None`: there is nothing to sweep.
    earliest: Option<Timestamp>,
    /// How many sessions there has been room for since the table was last shrunk. Itself it does not count the places of
    /// those that were taken out of a full one.
    room: usize,
}

impl Shard {
    pub(super) fn new(number: u8) -> Self {
        Self { number, slots: HashMap::default(), earliest: None, room: 0 }
    }

    pub(super) fn live(&self, key: &SlotKey, now: Timestamp) -> Option<&Slot> {
        self.slot(key).filter(|slot| slot.is_live(now))
    }

    /// What stands under the key, live or not.
    pub(super) fn slot(&self, key: &SlotKey) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// Takes a session out that has ended, before somebody is told so: a clock that is set back must not revive it.
    pub(super) fn bury(&mut self, key: &SlotKey, owners: &Owners, now: Timestamp) -> Size {
        if self.live(key, now).is_some() { Size::default() } else { self.remove(key, owners) }
    }

    /// What is noted of the session under the key, live or not, if it belongs to this owner.
    pub(super) fn owned_by(&self, key: &SlotKey, by: OwnerKey) -> Option<&Owned> {
        self.slots.get(key).and_then(Slot::owned).filter(|owned| owned.by == by)
    }

    /// How much what stands under the key takes.
    pub(super) fn size_of(&self, key: &SlotKey) -> Size {
        self.slots.get(key).map(Slot::size).unwrap_or_default()
    }

    /// Whose a record under the key will be: known already, if it is whose it was.
    pub(super) fn owned(&self, slot: &SlotKey, key: &StoreKey, record: &Kept) -> Option<Box<Owned>> {
        let principal = record.principal.as_deref()?;
        let known = self.slots.get(slot).and_then(|slot| slot.owned.as_ref());
        let known = known.filter(|owned| *owned.principal == *principal).cloned();
        Some(known.unwrap_or_else(|| Owned::new(key, principal)))
    }

    /// Stores a session, in the place of what is under the key. Returns the size of what was swept to make room for it, and of
    /// that only.
    pub(super) fn insert(
        &mut self,
        key: SlotKey,
        (record, owned): (Kept, Option<Box<Owned>>),
        owners: &Owners,
        now: Timestamp,
    ) -> Size {
        let (place, expires_at) = (Place(self.number, key), record.expires_at);
        let owner = owned.as_ref().map(|owned| owned.by);
        // Not by `entry`, which makes the table grow before it is asked to insert anything.
        if let Some(taken) = self.slots.get_mut(&key) {
            self.earliest = earlier(self.earliest, expires_at);
            let before = taken.owned().map(|owned| owned.by);
            *taken = Slot::of(record, owned);
            if before != owner {
                owner.inspect(|by| owners.add(*by, place));
                before.inspect(|by| owners.remove(*by, place));
            }
            return Size::default();
        }
        owner.inspect(|by| owners.add(*by, place));
        let mut swept = Size::default();
        if self.slots.len() == self.slots.capacity() {
            // The table is about to double: first get rid of the dead. If those were few, double anyway, or
            // the insertions that follow would each sweep again.
            swept = self.sweep(owners, now).0.size;
            let used = self.slots.len();
            if self.slots.capacity() - used < used / 4 {
                self.slots.reserve(used / 2);
            }
        }
        // After the sweep, which knows only the sessions that are in the table.
        self.earliest = earlier(self.earliest, expires_at);
        self.slots.insert(key, Slot::of(record, owned));
        self.room = self.room.max(self.slots.capacity());
        swept
    }

    pub(super) fn remove(&mut self, key: &SlotKey, owners: &Owners) -> Size {
        let Some(slot) = self.slots.remove(key) else { return Size::default() };
        slot.owned().inspect(|owned| owners.remove(owned.by, Place(self.number, *key)));
        slot.size()
    }

    /// Extends a live session's life. `false`: there is none.
    pub(super) fn extend(&mut self, key: &SlotKey, expires_at: Timestamp, now: Timestamp) -> bool {
        let live = self.slots.get_mut(key).filter(|slot| slot.is_live(now));
        let found = live.is_some();
        if let Some(slot) = live {
            slot.expires_at = slot.expires_at.max(expires_at);
        }
        found
    }

    /// Takes expired sessions out, [`SWEEP_LIMIT`] at most, for the caller to free: no lock need be held for that. Each
    /// time the list of them is what an allocator calls large, at which glibc's tidies up what was freed the time before:
    /// without it a million small pieces would wait for one request to pay for all.
    pub(super) fn sweep(&mut self, owners: &Owners, now: Timestamp) -> (Swept, Vec<Slot>) {
        let mut size = Size::default();
        if self.earliest.is_none_or(|first| first > now) {
            return (Swept { size, all: true }, Vec::new());
        }
        let mut dead = Vec::with_capacity(SWEEP_LIMIT);
        let mut earliest: Option<Timestamp> = None;
        let expired = self.slots.extract_if(|_, slot| {
            let live = slot.expires_at > now;
            if live {
                earliest = earlier(earliest, slot.expires_at);
            }
            !live
        });
        for (key, slot) in expired.take(SWEEP_LIMIT) {
            slot.owned().inspect(|owned| owners.remove(owned.by, Place(self.number, key)));
            size = size + slot.size();
            dead.push(slot);
        }
        let all = size.entries < SWEEP_LIMIT;
        if all {
            self.earliest = earliest;
            let used = self.slots.len();
            if self.room > SMALL && used < self.room / 4 {
                self.slots.shrink_to(used * 2);
                self.room = self.slots.capacity();
            }
        }
        (Swept { size, all }, dead)
    }
}

#[cfg(test)]
mod tests;
