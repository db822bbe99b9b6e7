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
    session::{Main, Session},
    state::State,
    takeover::forget,
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
pub struct Sessions<K = Main> {
    config: Arc<Config>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Sessions<K> {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, kind: PhantomData }
    }

    /// The session of this id, if there is one. There is no response that would save its changes: call
    /// [`save`](Session::save).
    ///
    /// # Errors
    /// When the store fails, or what it holds is no session.
    pub async fn load<T: SessionData>(&self, id: &SessionId) -> Result<Option<Session<T, K>>, Error> {
        let state = Arc::new(State::new(self.config.clone(), None, id.clone().into()));
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
        let key = self.config.key(id);
        let done = self.config.engine.destroy(&self.config.limits, &key).await;
        let done = match done {
            Ok(()) => forget(&self.config, id).await,
            failed => failed,
        };
        done.map_err(|e| Error::store(Operation::Destroy, e))
            .inspect(|()| self.config.observer.destroyed(&key))
            .inspect_err(|error| self.config.observer.failed(Some(&key), error))
    }
}

impl<K> Clone for Sessions<K> {
    fn clone(&self) -> Self {
        Self::new(self.config.clone())
    }
}

impl<K> fmt::Debug for Sessions<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.config.engine.store()).finish()
    }
}
