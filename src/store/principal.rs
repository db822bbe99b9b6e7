//! Sessions by whom they belong to: what a store must do beyond [`Store`] for "your devices" and "sign out
//! everywhere".

use std::{fmt, future::Future};

use super::{Record, Store, StoreError};

/// Whose sessions are meant: those of one principal, as [`Record::principal`] names it, among the keys of one
/// [prefix](crate::StoreKey::prefix).
///
/// Two layers with prefixes of their own may share a store; `42` of the one is nobody to the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner<'a> {
    /// What the keys begin with.
    pub prefix: &'a str,
    /// Whom the records belong to.
    pub principal: &'a str,
}

// Who it is does not belong into a log.
impl fmt::Debug for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Which sessions of an [`Owner`] are to end. They are named by [`StoreKey::digest`](crate::StoreKey::digest),
/// the one thing that every store knows of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All of them.
    All,
    /// All but the one under this key.
    AllBut([u8; 32]),
    /// The one under this key, if it belongs to the owner.
    Only([u8; 32]),
}

impl Which {
    /// Whether the session under the key of this digest is meant.
    #[must_use]
    pub fn means(&self, digest: &[u8; 32]) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(kept) => kept != digest,
            Self::Only(one) => one == digest,
        }
    }
}

/// A session that was found by its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// [`StoreKey::digest`](crate::StoreKey::digest) of its key.
    pub digest: [u8; 32],
    /// The live record.
    pub record: Record,
}

/// A store that finds sessions by their principal; what [`SessionLayer::by_principal`](crate::SessionLayer::by_principal)
/// asks for.
///
/// Beyond the contract of [`Store`]:
///
/// * **The index is never behind.** A session belongs to the principal of its last write from that write on, and to
///   nobody else: an answer of `Done` to a caller anywhere is in the next list of everybody.
/// * **Nothing escapes [`destroy_of`](Self::destroy_of).** A session that was its owner's when the call began is
///   dead when it returns, also if it was prolonged, written or moved to a new key meanwhile: those who did so
///   are told `Gone`, or have their new key ended too. One that becomes the owner's during the call may be either.
/// * Records in [`Layout::Plain`](super::Layout::Plain) have no principal, and are nobody's.
///
/// `store::contract::Contract::run_by_principal` (feature `store-contract`) asks all this of a store.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot list sessions by principal",
    label = "this store cannot tell whose a session is",
    note = "`MemoryStore`, `SqliteStore`, `PostgresStore`, `MySqlStore` and `RedisStore` can, and `CachedStore` over \
            one of them; a store of your own \
            implements `axum_generic_session::store::ByPrincipal`",
    note = "without lists of sessions, `SessionLayer::new(..)` takes any store"
)]
pub trait ByPrincipal: Store {
    /// The owner's live sessions, in no order. One that cannot be read is left out, with a line in the log.
    ///
    /// # Errors
    /// When the engine cannot answer.
    fn sessions_of(&self, owner: Owner<'_>) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send;

    /// Ends those of the owner's sessions that are meant, and says how many live ones they were. Those that cannot be
    /// read end too.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses. Some may have ended then; the same call again ends the rest.
    fn destroy_of(
        &self,
        owner: Owner<'_>,
        which: Which,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}
