//! A store near by in front of one far away.
//!
//! What is in the front is a copy with a date: the moment before the back was asked for it. It counts for so long, and
//! no longer, whatever the front's own idea of time is. Only reads look at it. Every write is the back's to allow, so a
//! copy that is out of date leads to a refusal there, never to a lost update or a session that has ended.

use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::sync::{Mutex, watch};

use super::{
    ByPrincipal, Connection, Found, Guarantee, Layout, Owner, Record, Store, StoreError, StoreErrorKind, Tag,
    When, Which, Written,
};
use crate::{
    clock::{Clock, SharedClock, Timestamp},
    id::StoreKey,
};

/// Keys are watched in so many groups, as many as a byte of the key's fingerprint tells apart. What happens to one key
/// of a group costs the others a copy, at most.
const GROUPS: usize = 256;
/// What a copy carries before the data: when the back was asked, when the session ends, and its tag.
const HEAD: usize = 24;

/// Two stores as one: `Back` keeps the sessions, `Front` answers reads, for a limited time, without asking it.
///
/// A read that the front answers makes no round trip; see [`new`](Self::new) for when that pays, and what it gives up.
/// To clone it, put it in an [`Arc`](std::sync::Arc).
pub struct CachedStore<Front, Back> {
    front: Front,
    back: Back,
    staleness: Duration,
    clock: SharedClock,
    groups: Box<[Group]>,
    /// Copies of what was asked for up to this moment, in milliseconds since 1970, do not count: sessions have ended
    /// whose keys are not known.
    void_until: AtomicU64,
}

impl<Front: Store, Back: Store> CachedStore<Front, Back> {
    /// Keeps sessions in `back`, and answers reads from `front` for at most `staleness` after they were read from
    /// `back`.
    ///
    /// ```no_run
    /// # #[cfg(all(feature = "memory-store", feature = "redis-store"))]
    /// # async fn open() -> Result<(), axum_generic_session::store::StoreError> {
    /// use axum_generic_session::{CachedStore, MemoryStore, RedisStore, SessionLayer};
    /// use std::time::Duration;
    ///
    /// let front = MemoryStore::new().max_bytes(64 << 20);
    /// let back = RedisStore::connect("redis://sessions.far-away/").await?;
    /// let sessions = SessionLayer::new(CachedStore::new(front, back, Duration::from_secs(2)));
    /// # let _ = sessions; Ok(()) }
    /// ```
    ///
    /// **It pays** where a visitor's requests come in bursts, most of them only read, and the way to `back` is long: a
    /// page and its twenty API calls, all within `staleness`, cost one round trip then, not twenty-one. It does not
    /// where every request writes, or extends the session ([`Rolling::EveryRequest`](crate::Rolling::EveryRequest)):
    /// both go to `back` each time.
    ///
    /// **What it gives up**: a node may show a session as it was up to `staleness` ago. What was changed or *logged out
    /// on another node* is seen here after that time at the latest; what was done on the node itself, at once. So
    /// `staleness` is also how long a session that somebody has stolen can still be read after its logout: one to five
    /// seconds are a good bargain. A [`transact`](crate::Session::transact) that changes nothing has looked no further
    /// than any other read.
    ///
    /// **What stays as it was**: every change is carried out by `back` under its own conditions. A request that has
    /// read an old copy merges with what is there, or is told that the session has ended; nothing is lost, counted
    /// twice or brought back. Unknown ids are asked for each time, so a login is seen everywhere at once.
    ///
    /// **When `back` is away**, writes fail as they would without a front; so do reads, once the copy is older than
    /// `staleness`. The layer waits for the connection of `back`. When `front` fails, or is full, it is done without.
    ///
    /// `front` is best a [`MemoryStore`](crate::MemoryStore), one for each node, with a bound; that its sessions end with
    /// the process, as its warning says, is as it should be here. `staleness` of zero asks `back` each time.
    #[must_use]
    pub fn new(front: Front, back: Back, staleness: Duration) -> Self {
        let groups = (0..GROUPS).map(|_| Group::default()).collect();
        Self { front, back, staleness, clock: SharedClock::System, groups, void_until: AtomicU64::new(0) }
    }

    /// Reads the time from `clock`: for tests that do not want to wait.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::of(clock);
        self
    }

    fn group(&self, key: &StoreKey) -> &Group {
        let [first, ..] = key.fingerprint();
        &self.groups[first as usize % self.groups.len()]
    }

    /// The copy under the key, if it still counts, and how it is named in the front.
    async fn copy(&self, key: &StoreKey) -> Option<(Dated, Tag)> {
        let found = self.ask(self.front.get(&in_front(key))).await??;
        let now = self.clock.now();
        let copy = Dated::read(&found)?;
        // A copy from the future is from before somebody set the clock.
        let void = copy.asked.as_millis() <= self.void_until.load(SeqCst);
        let fresh = !void && copy.asked <= now && now < copy.asked.saturating_add(self.staleness);
        (fresh && copy.record.expires_at > now).then_some((copy, found.tag))
    }

    /// Puts a copy in the front, unless a write has begun since `glance`.
    async fn fill(&self, key: &StoreKey, glance: u64, copy: &Dated) {
        let group = self.group(key);
        let _turn = group.front.lock().await;
        if group.glance() != Some(glance) {
            return;
        }
        let (key, copy) = (in_front(key), copy.write(self.staleness));
        if let Some(Written::Conflict(_)) = self.ask(self.front.set(&key, &copy, When::Absent)).await {
            self.ask(self.front.set(&key, &copy, When::Present)).await;
        }
    }

    /// Begins a write: from here on until it ends nothing comes into the front. Before the back is asked, since a caller
    /// that is dropped halfway could not do it any more.
    async fn begin(&self, key: &StoreKey) -> Writing<'_> {
        let group = self.group(key);
        let writing = group.begin();
        // A copy that is on its way into the front gets there first.
        let _turn = group.front.lock().await;
        self.ask(self.front.destroy(&in_front(key))).await;
        writing
    }

    /// What the front says. Its troubles are for the log only.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let answer = call.await;
        if let Err(error) = &answer
            && !matches!(error.kind(), StoreErrorKind::Full | StoreErrorKind::TooLarge)
        {
            tracing::warn!(%error, "the front of a `CachedStore` fails, the store behind it is asked");
        }
        answer.ok()
    }
}

/// Two sessions of different layouts have different keys; in the front all copies have a tag of their own.
fn in_front(key: &StoreKey) -> StoreKey {
    key.clone().with_layout(Layout::Native)
}

/// A copy of a record, and when the back was asked for it.
struct Dated {
    asked: Timestamp,
    record: Record,
}

impl Dated {
    /// As the front keeps it.
    fn write(&self, staleness: Duration) -> Record {
        let Record { tag, expires_at, principal, data } = &self.record;
        let mut bytes = Vec::with_capacity(HEAD + data.len());
        for moment in [self.asked, *expires_at] {
            bytes.extend_from_slice(&moment.as_millis().to_be_bytes());
        }
        bytes.extend_from_slice(tag.as_bytes());
        bytes.extend_from_slice(data);
        Record {
            // Not the record's own: the same record is put there again with another date.
            tag: Tag::random(),
            expires_at: self.asked.saturating_add(staleness).min(*expires_at),
            principal: principal.clone(),
            data: bytes.into(),
        }
    }

    fn read(found: &Record) -> Option<Self> {
        let (head, _) = found.data.split_first_chunk::<HEAD>()?;
        let (asked, rest) = head.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (tag, _) = rest.split_first_chunk::<8>()?;
        let moment = |bytes: &[u8; 8]| Timestamp::from_millis(u64::from_be_bytes(*bytes));
        let record = Record {
            tag: Tag::from(*tag),
            expires_at: moment(expires_at),
            principal: found.principal.clone(),
            data: found.data.slice(HEAD..),
        };
        Some(Self { asked: moment(asked), record })
    }
}

/// A group of keys: whether one of them is being written, and how often one has been.
#[derive(Default)]
struct Group {
    /// How many writes are under way, and above [`ENDED`] how many have ended.
    writes: AtomicU64,
    /// Held while a copy is put into the front, or taken out.
    front: Mutex<()>,
}

/// One ended write.
const ENDED: u64 = 1 << 24;

impl Group {
    /// The writes that there have been; `None` while one is under way.
    fn glance(&self) -> Option<u64> {
        let writes = self.writes.load(SeqCst);
        writes.is_multiple_of(ENDED).then_some(writes)
    }

    fn begin(&self) -> Writing<'_> {
        self.writes.fetch_add(1, SeqCst);
        Writing(self)
    }
}

/// A write under way; dropped, it has ended.
struct Writing<'a>(&'a Group);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writes.fetch_add(ENDED - 1, SeqCst);
    }
}

// An error about another type should not depend on what stores there are.
#[diagnostic::do_not_recommend]
impl<Front: Store, Back: Store> Store for CachedStore<Front, Back> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        if let Some((copy, _)) = self.copy(key).await {
            return Ok(Some(copy.record));
        }
        let (glance, asked) = (self.group(key).glance(), self.clock.now());
        let Some(record) = self.back.get(key).await? else { return Ok(None) };
        let copy = Dated { asked, record };
        if let Some(glance) = glance {
            self.fill(key, glance, &copy).await;
        }
        Ok(Some(copy.record))
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        let _writing = self.begin(key).await;
        self.back.set(key, record, when).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        if !self.back.touch(key, expires_at).await? {
            self.begin(key).await;
            return Ok(false);
        }
        // The data are as old as they were. Whoever takes the copy out meanwhile is not undone: it is asked for by tag.
        if let Some((mut copy, tag)) = self.copy(key).await {
            copy.record.expires_at = copy.record.expires_at.max(expires_at);
            let copy = copy.write(self.staleness);
            self.ask(self.front.set(&in_front(key), &copy, When::Tagged(tag))).await;
        }
        Ok(true)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        let _writing = self.begin(key).await;
        self.back.destroy(key).await
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        let _writing = self.begin(old).await;
        self.back.rotate(old, when, new, record).await
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        self.back.connection()
    }

    fn guarantee(&self) -> Guarantee {
        self.back.guarantee()
    }

    fn held(&self) -> Option<usize> {
        self.back.held()
    }

    fn name(&self) -> &'static str {
        self.back.name()
    }
}

#[diagnostic::do_not_recommend]
impl<Front: Store, Back: ByPrincipal> ByPrincipal for CachedStore<Front, Back> {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        self.back.sessions_of(owner).await
    }

    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        let _void = VoidAfterwards { clock: &self.clock, void_until: &self.void_until };
        self.back.destroy_of(owner, which).await
    }
}

/// Sees to it that no copy of before counts, also when the caller is dropped halfway.
struct VoidAfterwards<'a> {
    clock: &'a SharedClock,
    void_until: &'a AtomicU64,
}

impl Drop for VoidAfterwards<'_> {
    fn drop(&mut self) {
        self.void_until.fetch_max(self.clock.now().as_millis(), SeqCst);
    }
}

impl<Front: fmt::Debug, Back: fmt::Debug> fmt::Debug for CachedStore<Front, Back> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("front", &self.front)
            .field("back", &self.back)
            .field("staleness", &self.staleness)
            .finish_non_exhaustive()
    }
}
