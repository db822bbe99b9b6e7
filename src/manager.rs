//! Sessions outside of requests: for jobs, admin tools, and whoever has stored an id.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    config::Config,
    error::{Error, Operation},
    id::SessionId,
    listing::{CanList, NoListing},
    principal::SessionsOf,
    session::{Main, Session},
    state::State,
    takeover::end,
    view::SessionData,
};

/// A handle on all sessions of a layer; from [`SessionLayer::sessions`](crate::SessionLayer::sessions).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum_generic_session::{Map, MemoryStore, SessionId, SessionLayer};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// let sessions = layer.sessions()?;
/// let id = SessionId::random(); // one that a visitor has, in earnest
/// if let Some(session) = sessions.load::<Map>(&id).await? {
///     session.insert("notice", "your export is ready").await?;
///     session.save().await?;
/// }
/// sessions.destroy(&id).await?;
/// # Ok(()) }
/// ```
pub struct Sessions<K = Main, L = NoListing> {
    config: Arc<Config>,
    listing: L,
    kind: PhantomData<fn() -> K>,
}

impl<K, L> Sessions<K, L> {
    pub(crate) fn new(config: Arc<Config>, listing: L) -> Self {
        Self { config, listing, kind: PhantomData }
    }
}

impl<K, L: Sync> Sessions<K, L> {
    /// The session of this id, if there is one. There is no response that would save its changes: call
    /// [`save`](Session::save).
    ///
    /// # Errors
    /// When the store fails, or what it holds is no session.
    pub async fn load<T: SessionData>(&self, id: &SessionId) -> Result<Option<Session<T, K>>, Error> {
        let state = Arc::new(State::of(self.config.clone(), id.clone()));
        state.flags.closed.store(true, Relaxed);
        state.load().await?;
        if state.is_new() {
            // One that was found invalid is no session; nobody here has anything to save.
            state.discard();
            return Ok(None);
        }
        Ok(Some(Session::new(state)))
    }

    /// Ends the session of this id. One that is not there is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn destroy(&self, id: &SessionId) -> Result<(), Error> {
        let done = end(&self.config, id).await.map_err(|e| Error::store(Operation::Destroy, e));
        let (observer, key) = (&self.config.observer, self.config.key(id));
        done.inspect(|()| observer.destroyed(&key)).inspect_err(|error| observer.failed(Some(&key), error))
    }

    /// The sessions of this principal, as [`Session::set_principal`] has named it: for "your devices", "sign out
    /// everywhere", and jobs that close an account. Of a layer from
    /// [`SessionLayer::by_principal`](crate::SessionLayer::by_principal) only.
    #[must_use]
    pub fn of(&self, principal: impl Into<Box<str>>) -> SessionsOf<K>
    where
        L: CanList,
    {
        SessionsOf::new(self.config.clone(), self.listing.listing().clone(), principal.into())
    }
}

impl<K, L: Clone> Clone for Sessions<K, L> {
    fn clone(&self) -> Self {
        Self::new(self.config.clone(), self.listing.clone())
    }
}

impl<K, L> fmt::Debug for Sessions<K, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.config.engine.store()).finish()
    }
}
