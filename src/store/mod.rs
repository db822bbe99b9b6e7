//! What a store is: the contract in prose, the words it speaks, and the trait.
//!
//! A store keeps [`Record`]s under [`StoreKey`]s. It never sees a session id (by default the key is a
//! digest of it), never looks into the data, and never decides anything but its own conditions:
//!
//! * **Expired is absent.** From `expires_at` on a record is gone for `get`, for `touch` and for every
//!   condition of `set`, whether or not the engine has swept it away yet. A write that has expired
//!   already, its condition met, removes the record.
//! * **Conditions are atomic.** [`When`] is checked and the write is made in one step that no other
//!   writer can come between. That is what keeps a logged-out session dead and an update from being lost.
//! * **A refusal is an answer, not an error.** [`Written::Gone`] and [`Written::Conflict`] are `Ok`, and
//!   change nothing. Errors are for the engine: unreachable, full, read-only, corrupt.
//! * **A retry recognises itself.** When the record in place already carries the tag that is being
//!   written, the write has happened: `set` answers [`Written::Done`]. Only in [`Layout::Native`]: a tag
//!   of [`Layout::Plain`] names bytes, not a write, and two visitors' clicks may write the same bytes; there
//!   the conditions are taken by the letter, or one of two equal increments would be lost.
//! * **`Ok` means durable**, as durable as the engine has been configured to be, and seen by every node.
//!
//! | [`set`](Store::set) when | nothing, or expired | live, carries the tag asked for | live, another tag |
//! |---|---|---|---|
//! | [`When::Absent`] | `Done` | `Conflict` | `Conflict` |
//! | [`When::Present`] | `Gone` | `Done` | `Done` |
//! | [`When::Tagged`] | `Gone` | `Done` | `Conflict` |
//!
//! Run the conformance suite (`store::contract`, feature `store-contract`) over a store
//! of your own: it is the same one that the stores of this crate pass.

mod cached;
#[cfg(feature = "store-contract")]
pub mod contract;
mod at_hand;
mod erased;
mod error;
mod predecessor;
mod principal;
#[cfg(feature = "memory-store")]
mod memory;
#[cfg(feature = "redis-store")]
mod redis;
#[cfg(feature = "mysql-store")]
mod mysql;
#[cfg(feature = "postgres-store")]
mod postgres;
#[cfg(any(feature = "sqlite-store", feature = "postgres-store", feature = "mysql-store"))]
mod sql;
#[cfg(feature = "sqlite-store")]
mod sqlite;
mod three_method;
#[cfg(any(feature = "tower-sessions-store", feature = "tower-sessions-014-store"))]
mod tower_sessions;

use std::{fmt, future::Future};

use axum::body::Bytes;
use rand::RngCore;
use sha1::{Digest, Sha1};
use tokio::{sync::watch, time::Instant};

#[doc(hidden)]
pub use self::at_hand::{AtHand, Kept};
pub(crate) use self::erased::{Call, SharedByPrincipal, SharedStore};
pub(crate) use self::error::BoxError;
#[cfg(feature = "memory-store")]
pub use self::memory::MemoryStore;
#[cfg(feature = "mysql-store")]
pub use self::mysql::MySqlStore;
#[cfg(feature = "postgres-store")]
pub use self::postgres::PostgresStore;
pub(crate) use self::predecessor::SharedPredecessor;
#[cfg(feature = "redis-store")]
pub use self::redis::{RedisStore, RedisStoreBuilder};
#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
pub use self::sql::sweeper::Sweeper;
#[cfg(feature = "sqlite-store")]
pub use self::sqlite::{SqliteBuilder, SqliteStore, Synchronous};
#[cfg(feature = "tower-sessions-store")]
pub use self::tower_sessions::TowerSessions;
#[cfg(feature = "tower-sessions-014-store")]
pub use self::tower_sessions::TowerSessions014;
pub use self::{
    cached::CachedStore,
    error::{Applied, StoreError, StoreErrorKind},
    predecessor::{Legacy, Predecessor},
    principal::{ByPrincipal, Found, Owner, Which},
    three_method::{ThreeMethodStore, ThreeMethods},
};
use crate::{clock::Timestamp, id::StoreKey, object::notes};

/// One stored session, as the store sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Names this very version of the record; every write brings a new one.
    pub tag: Tag,
    /// From this moment on the record does not exist. [`Timestamp::MAX`] in what was read: never, or an
    /// engine that does not tell when.
    pub expires_at: Timestamp,
    /// Whom the session belongs to, if the application has said so. An index for stores that can list by it.
    pub principal: Option<Box<str>>,
    /// The session, encoded. Opaque to the store; any bytes, up to the layer's `max_size`.
    pub data: Bytes,
}

impl Record {
    /// A copy to be kept in this process, with notes of where its keys lie. These data may be a corner of a much larger
    /// buffer.
    pub(crate) fn noted(&self, layout: Layout) -> Kept {
        let Self { tag, expires_at, ref principal, ref data } = *self;
        Kept { expires_at, principal: principal.clone(), data: notes::noted(data, layout, tag) }
    }
}

// The data and the principal are the visitor's: a log line must not carry them.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("tag", &self.tag)
            .field("expires_at", &self.expires_at)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// The version of a record: 8 bytes, compared for equality only.
///
/// Random rather than counted: after a failover that lost writes a counter may come to the same number
/// over other data, a random tag cannot; and a retry after a lost reply recognises its own write.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; 8]);

impl Tag {
    /// A new tag from the operating system's randomness.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        rand::thread_rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The tag of a record in a layout that has no room for one ([`Layout::Plain`]): the first 8 bytes
    /// of the SHA-1 of its data (SHA-1, since a Redis script can compute it too).
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        let digest = Sha1::digest(data);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        Self(bytes)
    }

    /// The tag as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl From<[u8; 8]> for Tag {
    fn from(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:016x})", u64::from_be_bytes(self.0))
    }
}

/// How the bytes of a key's record lie in an engine that stores one value per key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// The store frames the record as it likes: tag, principal and data in one value.
    Native,
    /// Another program (koa, express) reads and writes the same key: the value is `data`, byte for byte,
    /// and the tag is [`Tag::of`] it, in what is read and in what is written. There is no room for a
    /// principal.
    Plain,
}

/// The condition under which [`Store::set`] writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Create: only if there is no live record.
    Absent,
    /// Replace: only if there is a live record, whichever.
    Present,
    /// Compare-and-swap: only if the live record carries this tag.
    Tagged(Tag),
}

/// What became of a conditional write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// The record is stored.
    Done,
    /// Refused: there is no live record under the key. Nothing was written.
    Gone,
    /// Refused: a live record is in the way. It comes back with the refusal where the engine can do that
    /// in the same round trip; `None` asks the caller to read it.
    Conflict(Option<Record>),
}

/// What a store can promise about two requests that write at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarantee {
    /// Conditions are atomic: no update is lost, no dead session returns.
    Atomic,
    /// The engine has no conditional write: the last writer wins, and a write that races a logout may
    /// bring the session back. The layer says so once, in a warning.
    LastWriteWins,
}

/// Whether the engine can be reached, as its client reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// The engine answers.
    Connected,
    /// The engine has not been reachable since this moment.
    Disconnected {
        /// When the connection was lost. Not moved by further losses until it is back.
        since: Instant,
    },
}

/// A place to keep sessions. Implementations write plain `async fn`s.
///
/// The [module](crate::store) documentation states the contract; the example is a complete store.
///
/// ```
/// use axum_generic_session::{
///     Clock, StoreKey, SystemClock, Timestamp,
///     store::{Layout, Record, Store, StoreError, When, Written},
/// };
/// use std::{collections::HashMap, sync::Mutex};
///
/// #[derive(Default)]
/// struct OneMap(Mutex<HashMap<String, Record>>);
///
/// impl OneMap {
///     fn live(map: &HashMap<String, Record>, key: &StoreKey) -> Option<Record> {
///         map.get(key.as_str()).filter(|r| r.expires_at > SystemClock.now()).cloned()
///     }
/// }
///
/// impl Store for OneMap {
///     async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
///         Ok(Self::live(&self.0.lock().unwrap(), key))
///     }
///     async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
///         let mut map = self.0.lock().unwrap();
///         match (Self::live(&map, key), when) {
///             (Some(current), _) if current.tag == record.tag && key.layout() == Layout::Native => {
///                 return Ok(Written::Done);
///             }
///             (None, When::Present | When::Tagged(_)) => return Ok(Written::Gone),
///             (Some(current), When::Absent) => return Ok(Written::Conflict(Some(current))),
///             (Some(current), When::Tagged(tag)) if current.tag != tag => {
///                 return Ok(Written::Conflict(Some(current)));
///             }
///             _ => {}
///         }
///         map.insert(key.as_str().to_owned(), record.clone());
///         Ok(Written::Done)
///     }
///     async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
///         let mut map = self.0.lock().unwrap();
///         let Some(mut record) = Self::live(&map, key) else { return Ok(false) };
///         record.expires_at = record.expires_at.max(expires_at);
///         map.insert(key.as_str().to_owned(), record);
///         Ok(true)
///     }
///     async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
///         self.0.lock().unwrap().remove(key.as_str());
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session store",
    label = "this cannot keep sessions",
    note = "give a store of this crate, such as `MemoryStore::new()`, or implement `axum_generic_session::store::Store`",
    note = "a store with only `get`, `set` and `destroy` goes through `ThreeMethodStore::new(..)`",
    note = "see https://docs.rs/axum-generic-session/latest/axum_generic_session/guide/stores/index.html#a-store-of-your-own"
)]
pub trait Store: Send + Sync + 'static {
    /// The live record under `key`. An expired one is `None`, always.
    ///
    /// # Errors
    /// When the engine cannot answer, or what it holds cannot be read. Never for "not there".
    fn get(&self, key: &StoreKey) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Writes `record` under `key` if `when` holds, in one atomic step.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses the write; see [`StoreErrorKind`].
    fn set(
        &self,
        key: &StoreKey,
        record: &Record,
        when: When,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Extends the life of a live record to `expires_at`; leaves tag and data alone, and never shortens.
    /// `false`: there is no live record, and none was made.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses the write.
    fn touch(
        &self,
        key: &StoreKey,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends a session. Destroying what is not there is no error; failing to destroy is one.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses: a logout that did not happen must not look like one.
    fn destroy(&self, key: &StoreKey) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Moves a session to a new key: writes `record` under `new` and ends `old`, if `when` holds for `old`
    /// and `new` is free. A refusal leaves `old` as it was and nothing under `new`.
    ///
    /// A conflict shows the live record under `old`. If `new` is taken, the answer is `Conflict(None)`, since
    /// what is there is not this visitor's: when a read of `old` still finds the tag that was asked for, it
    /// was the new key that was in the way, and another one will do. A retry that finds its own record under
    /// `new` is [`Written::Done`].
    ///
    /// The provided way takes three steps and is safe to be cut off between any two of them: the new
    /// record is created first, so that a visitor may for a moment own two sessions, but never none. An
    /// engine with transactions or one `UPDATE` of the key does it in one.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses a write. Both records may live then, and the same call again
    /// finishes the move.
    fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send {
        async move {
            // Found there before it is written: an earlier try got this far, perhaps all the way.
            let again = self.get(new).await?.is_some_and(|found| found.tag == record.tag);
            if !again && self.set(new, record, When::Absent).await? != Written::Done {
                return Ok(Written::Conflict(None));
            }
            // A conditional write that is already expired is a conditional removal.
            let nothing = Record {
                tag: Tag::random(),
                expires_at: Timestamp::EPOCH,
                principal: None,
                data: Bytes::new(),
            };
            // An error leaves the new record: the old one may have ended, and removing both is the one
            // thing that must not happen.
            match self.set(old, &nothing, when).await? {
                Written::Done => Ok(Written::Done),
                Written::Gone if again => Ok(Written::Done),
                refused => {
                    self.destroy(new).await?;
                    Ok(refused)
                }
            }
        }
    }

    // A store in this process, which the layer asks without making a future of it.
    #[doc(hidden)]
    fn at_hand(&self) -> Option<&dyn AtHand> {
        None
    }

    /// Whether the engine is there, for stores whose client tells. `None`: always connected.
    ///
    /// While it says [`Connection::Disconnected`], requests that need the session wait for it, together,
    /// up to the layer's `reconnect_timeout` after the loss; later ones fail at once.
    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        None
    }

    /// What the engine promises under concurrency. Only an adapter over an engine without conditional
    /// writes says anything but [`Guarantee::Atomic`].
    fn guarantee(&self) -> Guarantee {
        Guarantee::Atomic
    }

    /// How many records the engine holds, where it knows without asking anybody; those may be among them that have
    /// expired and were not swept yet. For the pages of operators.
    fn held(&self) -> Option<usize> {
        None
    }

    /// A word for logs: which engine this is.
    fn name(&self) -> &'static str {
        "custom"
    }
}
