//! The store with its type forgotten, so that no handler has to name it.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tokio::sync::watch;

use super::{
    AtHand, ByPrincipal, Connection, Found, Guarantee, Owner, Record, Store, StoreError, When, Which, Written,
};
use crate::{clock::Timestamp, id::StoreKey};

/// A call of a store.
pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`Store`] as a trait object: an allocation a call, unless the answer is there at once.
pub(crate) trait DynStore: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Record>>;
    fn set<'a>(&'a self, key: &'a StoreKey, record: &'a Record, when: When) -> Call<'a, Written>;
    fn touch<'a>(&'a self, key: &'a StoreKey, expires_at: Timestamp) -> Call<'a, bool>;
    fn destroy<'a>(&'a self, key: &'a StoreKey) -> Call<'a, ()>;
    fn rotate<'a>(
        &'a self,
        old: &'a StoreKey,
        when: When,
        new: &'a StoreKey,
        record: &'a Record,
    ) -> Call<'a, Written>;
    fn at_hand(&self) -> Option<&dyn AtHand>;
    fn connection(&self) -> Option<watch::Receiver<Connection>>;
    fn guarantee(&self) -> Guarantee;
    #[cfg(feature = "inspector")]
    fn held(&self) -> Option<usize>;
    fn name(&self) -> &'static str;
}

impl<S: Store> DynStore for S {
    fn get<'a>(&'a self, key: &'a StoreKey) -> Call<'a, Option<Record>> {
        Box::pin(Store::get(self, key))
    }

    fn set<'a>(&'a self, key: &'a StoreKey, record: &'a Record, when: When) -> Call<'a, Written> {
        Box::pin(Store::set(self, key, record, when))
    }

    fn touch<'a>(&'a self, key: &'a StoreKey, expires_at: Timestamp) -> Call<'a, bool> {
        Box::pin(Store::touch(self, key, expires_at))
    }

    fn destroy<'a>(&'a self, key: &'a StoreKey) -> Call<'a, ()> {
        Box::pin(Store::destroy(self, key))
    }

    fn rotate<'a>(
        &'a self,
        old: &'a StoreKey,
        when: When,
        new: &'a StoreKey,
        record: &'a Record,
    ) -> Call<'a, Written> {
        Box::pin(Store::rotate(self, old, when, new, record))
    }

    fn at_hand(&self) -> Option<&dyn AtHand> {
        Store::at_hand(self)
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        Store::connection(self)
    }

    fn guarantee(&self) -> Guarantee {
        Store::guarantee(self)
    }

    #[cfg(feature = "inspector")]
    fn held(&self) -> Option<usize> {
        Store::held(self)
    }

    fn name(&self) -> &'static str {
        Store::name(self)
    }
}

/// [`ByPrincipal`] as a trait object.
pub(crate) trait DynByPrincipal: Send + Sync + 'static {
    fn sessions_of<'a>(&'a self, owner: Owner<'a>) -> Call<'a, Vec<Found>>;
    fn destroy_of<'a>(&'a self, owner: Owner<'a>, which: Which) -> Call<'a, u64>;
}

impl<S: ByPrincipal> DynByPrincipal for S {
    fn sessions_of<'a>(&'a self, owner: Owner<'a>) -> Call<'a, Vec<Found>> {
        Box::pin(ByPrincipal::sessions_of(self, owner))
    }

    fn destroy_of<'a>(&'a self, owner: Owner<'a>, which: Which) -> Call<'a, u64> {
        Box::pin(ByPrincipal::destroy_of(self, owner, which))
    }
}

/// A store behind an `Arc` is that store: the application may keep a handle of its own.
impl<S: Store> Store for Arc<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        Store::get(&**self, key).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        Store::set(&**self, key, record, when).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        Store::touch(&**self, key, expires_at).await
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        Store::destroy(&**self, key).await
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        Store::rotate(&**self, old, when, new, record).await
    }

    fn at_hand(&self) -> Option<&dyn AtHand> {
        Store::at_hand(&**self)
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        Store::connection(&**self)
    }

    fn guarantee(&self) -> Guarantee {
        Store::guarantee(&**self)
    }

    fn held(&self) -> Option<usize> {
        Store::held(&**self)
    }

    fn name(&self) -> &'static str {
        Store::name(&**self)
    }
}

impl<S: ByPrincipal> ByPrincipal for Arc<S> {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        ByPrincipal::sessions_of(&**self, owner).await
    }

    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        ByPrincipal::destroy_of(&**self, owner, which).await
    }
}

/// The layer's handle on its store.
#[derive(Clone)]
pub(crate) struct SharedStore(pub(crate) Arc<dyn DynStore>);

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.name())
    }
}

/// The layer's handle on its store, where that finds sessions by their principal.
#[derive(Clone)]
pub(crate) struct SharedByPrincipal(pub(crate) Arc<dyn DynByPrincipal>);
