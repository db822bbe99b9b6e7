//! Tries: writes that find room or not, and looks at an owner's sessions that may be moved meanwhile.

use super::{
    MemoryStore, locate,
    owners::{OwnerKey, Place},
    shard::{Size, Slot},
    shared::SHARDS,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Found, Kept, Layout, StoreError, StoreErrorKind, Tag, When, Which, Written},
};

impl MemoryStore {
    /// One try at a write: `None` if there is no room for it.
    pub(super) fn try_set(
        &self,
        key: &StoreKey,
        record: Kept,
        when: When,
        now: Timestamp,
    ) -> Option<Written> {
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
    pub(super) fn try_rotate(
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
    pub(super) async fn make(
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

    pub(super) fn no_room(&self, size: Size) -> StoreError {
        if size.bytes > self.limits.bytes {
            let reason = "it takes more than all the memory that `MemoryStore::max_bytes` allows";
            return StoreError::new(StoreErrorKind::TooLarge, reason);
        }
        let reason = "`MemoryStore` holds as many live sessions as its `max_entries` and `max_bytes` allow; \
                      raise them, or let sessions live shorter";
        StoreError::new(StoreErrorKind::Full, reason)
    }

    /// The owner's sessions; none if one of them was moved, ended or given away between two looks.
    pub(super) fn try_find(&self, by: OwnerKey, now: Timestamp) -> Option<Vec<Found>> {
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
    pub(super) fn try_end(&self, by: OwnerKey, which: Which, now: Timestamp, ended: &mut u64) -> bool {
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
