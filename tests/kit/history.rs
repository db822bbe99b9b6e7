//! Who was told what: every write carries a tag of its own, and after a crash each key must hold what was
//! acknowledged last, or what was under way.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum_generic_session::{
    Store, StoreKey,
    store::{Record, StoreError, Tag, When, Written},
};

use super::{key, record};

/// What a key may hold. More than one thing if a write to it was not answered.
type Allowed = Vec<Option<Tag>>;

#[derive(Default)]
pub struct History {
    keys: Mutex<HashMap<StoreKey, Allowed>>,
    acknowledged: AtomicUsize,
    ended: AtomicBool,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged writes", self.acknowledged())
    }
}

impl History {
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Creates, changes and ends sessions until [`end`](Self::end). A write that fails ends that session's
    /// part in it.
    pub async fn write(self: Arc<Self>, store: impl Store) {
        while !self.ended.load(Ordering::SeqCst) {
            self.one_life(&store).await.ok();
        }
    }

    /// Ends the writers.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    async fn one_life(&self, store: &impl Store) -> Result<(), StoreError> {
        let mut key = key();
        let mut last = record("0");
        self.step(&key, Some(last.tag), store.set(&key, &last, When::Absent)).await?;
        for change in 1..5 {
            let next = record(change.to_string());
            self.step(&key, Some(next.tag), store.set(&key, &next, When::Tagged(last.tag))).await?;
            last = next;
        }
        let (moved, next) = (super::key(), record("moved"));
        self.under_way(&key, None);
        self.step(&moved, Some(next.tag), rotated(store, (&key, last.tag), (&moved, &next))).await?;
        self.settle(&key, None);
        key = moved;
        if rand_bit() {
            self.step(&key, None, async { store.destroy(&key).await.map(|()| Written::Done) }).await?;
        }
        Ok(())
    }

    async fn step(
        &self,
        key: &StoreKey,
        leads_to: Option<Tag>,
        write: impl Future<Output = Result<Written, StoreError>>,
    ) -> Result<(), StoreError> {
        self.under_way(key, leads_to);
        let answer = write.await?;
        assert_eq!(answer, Written::Done, "nobody else writes to this key");
        self.settle(key, leads_to);
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn under_way(&self, key: &StoreKey, leads_to: Option<Tag>) {
        self.keys.lock().unwrap().entry(key.clone()).or_insert_with(|| vec![None]).push(leads_to);
    }

    fn settle(&self, key: &StoreKey, at: Option<Tag>) {
        self.keys.lock().unwrap().insert(key.clone(), vec![at]);
    }

    /// Every key holds what it may; panics with the number of those that do not.
    pub async fn verify(&self, store: &impl Store) {
        let keys = self.keys.lock().unwrap().clone();
        let mut wrong = 0;
        for (key, allowed) in &keys {
            let found: Option<Record> = store.get(key).await.expect("a read after the restart");
            wrong += usize::from(!allowed.contains(&found.map(|record| record.tag)));
        }
        assert_eq!(wrong, 0, "of {} sessions ({self:?}), these are not what was acknowledged", keys.len());
    }
}

async fn rotated(
    store: &impl Store,
    (old, tag): (&StoreKey, Tag),
    (new, record): (&StoreKey, &Record),
) -> Result<Written, StoreError> {
    store.rotate(old, When::Tagged(tag), new, record).await
}

fn rand_bit() -> bool {
    Tag::random().as_bytes()[0] & 1 == 1
}
