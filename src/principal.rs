//! The handle on the sessions of one person: a list of devices, and the ways to sign them out.

use std::{fmt, marker::PhantomData, sync::Arc};

use crate::{
    clock::Timestamp,
    config::Config,
    error::{Error, Operation},
    id::handle,
    listing::{self, Listing, Seen},
    session::{Main, Session},
    store::{StoreError, Which},
    view::{self, SessionData},
};

/// The sessions of one principal; from [`Sessions::of`](crate::Sessions::of).
///
/// ```
/// use axum::{Extension, extract::Form};
/// use axum_generic_session::{Error, Listing, Main, MemoryStore, Session, SessionLayer, Sessions};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct User {
///     id: Option<u64>,
///     device: String, // what the application wants to show: here the User-Agent at login
/// }
///
/// type People = Extension<Sessions<Main, Listing>>;
///
/// async fn devices(session: Session<User>, Extension(people): People) -> Result<String, Error> {
///     let Some(principal) = session.principal().await? else { return Ok("please log in".into()) };
///     let this = session.handle().await?;
///     let mut page = String::new();
///     for device in people.of(principal).list::<User>().await? {
///         let mark = if Some(&device.handle) == this.as_ref() { " (this one)" } else { "" };
///         page += &format!("{}{mark}\n", device.value?.device);
///     }
///     Ok(page)
/// }
///
/// #[derive(Deserialize)]
/// struct Device { handle: String }
///
/// async fn sign_out(session: Session<User>, Extension(people): People, Form(form): Form<Device>) -> Result<(), Error> {
///     if let Some(principal) = session.principal().await? {
///         people.of(principal).end(&form.handle).await?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = SessionLayer::by_principal(MemoryStore::new());
/// let people = layer.sessions()?;
/// # use axum::routing::{get, post};
/// let app: axum::Router = axum::Router::new()
///     .route("/devices", get(devices))
///     .route("/devices/end", post(sign_out))
///     .layer(layer)
///     .layer(Extension(people));
/// # Ok(()) }
/// ```
///
/// All of it is about what is in the store at this moment: a login or logout that a handler has only intended so far
/// is not there yet.
pub struct SessionsOf<K = Main> {
    config: Arc<Config>,
    listing: Listing,
    principal: Box<str>,
    kind: PhantomData<fn() -> K>,
}

/// A session in the list of a principal's.
#[derive(Clone)]
#[non_exhaustive]
pub struct Listed<T> {
    /// Names the session in pages, forms and logs: eight characters, as [`StoreKey::handle`](crate::StoreKey::handle)
    /// and [`Session::handle`] give them. It opens nothing: neither the id nor the store's key can be had from it, and
    /// [`SessionsOf::end`] looks for it among this principal's sessions only. It changes when the session gets a new id.
    pub handle: String,
    /// When the session began, perhaps as a guest's.
    pub created: Timestamp,
    /// Since when it has been this principal's: the login.
    pub since: Timestamp,
    /// When its life was last extended: at every save, and with [`rolling`](crate::SessionLayer::rolling) when
    /// that was due. So with `Rolling::EveryRequest` the last request, with `Rolling::After(0.25)` up to a quarter of
    /// the life before it, with `Rolling::Off` the last save. Computed from `expires_at` with the layer's present
    /// settings; a session whose end is fixed (`max_lifetime` draws near, `MaxAge::Until`) may have been used later.
    pub last_seen: Timestamp,
    /// When it ends if nothing happens.
    pub expires_at: Timestamp,
    /// What is in it; an error if it does not fit `T`.
    pub value: Result<Arc<T>, Error>,
}

// What is in it is the visitor's.
impl<T> fmt::Debug for Listed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed")
            .field("handle", &self.handle)
            .field("created", &self.created)
            .field("since", &self.since)
            .field("last_seen", &self.last_seen)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl<K> SessionsOf<K> {
    pub(crate) fn new(config: Arc<Config>, listing: Listing, principal: Box<str>) -> Self {
        Self { config, listing, principal, kind: PhantomData }
    }

    /// The live sessions, the newest login first. Each is read, none is prolonged.
    ///
    /// A session that nobody could use is left out: one whose record cannot be read (a line in the log says so), one that
    /// is past the layer's `max_lifetime`. So is one that a [predecessor](crate::SessionLayer::take_over) still has. A
    /// [`valid`](crate::SessionLayer::valid) hook is not asked: it judges requests.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list<T: SessionData>(&self) -> Result<Vec<Listed<T>>, Error> {
        let seen = self.find().await?;
        Ok(seen.into_iter().map(|seen| self.listed(seen)).collect())
    }

    fn listed<T: SessionData>(&self, seen: Seen) -> Listed<T> {
        let Config { lifetime, clock, cookie, .. } = &*self.config;
        let Seen { digest, expires_at, created, since, content } = seen;
        let visitor = content.head.cookie.as_deref();
        let last_seen =
            lifetime.last_extended(clock.now(), created, expires_at, &content.object, cookie, visitor);
        let value = view::read(&content.object).map(Arc::new).map_err(|error| Error::json(&error));
        Listed { handle: handle(&digest), created, since, last_seen, expires_at, value }
    }

    /// Signs one out. `false`: the principal has no session of this handle (any more).
    ///
    /// A request of that session that is under way is refused its save (409) and revives nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self, handle: &str) -> Result<bool, Error> {
        let seen = self.find().await?;
        let Some(seen) = seen.iter().find(|seen| crate::id::handle(&seen.digest) == handle) else {
            return Ok(false);
        };
        Ok(self.destroy(Which::Only(seen.digest)).await? > 0)
    }

    /// Signs out all but this session, and says how many they were: for "sign out everywhere else", and after a change
    /// of password. What was the principal's when the call began is dead when it returns, whatever its requests do
    /// meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_others<T: SessionData>(&self, session: &Session<T, K>) -> Result<u64, Error> {
        let this = session.stored_key().await?;
        self.destroy(this.map_or(Which::All, |key| Which::AllBut(key.digest()))).await
    }

    /// Signs out all, and says how many they were. In a request of one of them call [`Session::destroy`] too: it
    /// clears the cookie, and drops what the handler has changed, which could not be saved any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_all(&self) -> Result<u64, Error> {
        self.destroy(Which::All).await
    }

    async fn find(&self) -> Result<Vec<Seen>, Error> {
        let found = listing::find(&self.config, &self.listing.0, &self.principal).await;
        found.map_err(|error| Error::store(Operation::Get, error))
    }

    async fn destroy(&self, which: Which) -> Result<u64, Error> {
        let ended: Result<u64, StoreError> =
            listing::end(&self.config, &self.listing.0, &self.principal, which).await;
        ended.map_err(|error| Error::store(Operation::Destroy, error))
    }
}

impl<K> Clone for SessionsOf<K> {
    fn clone(&self) -> Self {
        Self::new(self.config.clone(), self.listing.clone(), self.principal.clone())
    }
}

// Whose they are does not belong into a log.
impl<K> fmt::Debug for SessionsOf<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionsOf").field(&self.config.engine.store()).finish()
    }
}
