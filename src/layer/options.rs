//! Every setting by its name, the safe value by default.

use std::{future::Future, sync::Arc, time::Duration};

use axum::http::{StatusCode, request::Parts};
use cookie::Key;

use super::SessionLayer;
use crate::{
    clock::{Clock, SharedClock},
    config::Config,
    cookie::CookieOptions,
    hooks::{Candidate, Draft, Failure, Snapshot, Verdict, hook},
    keyring::KeyRing,
    lifetime::Rolling,
    store::{BoxError, Predecessor, SharedPredecessor},
    transport::Transport,
};

impl<K, L> SessionLayer<K, L> {
    pub(super) fn set(mut self, change: impl FnOnce(&mut Config)) -> Self {
        self.ready = Arc::default();
        change(Arc::make_mut(&mut self.config));
        self
    }

    /// The cookie's name (the originals' `key`). Default `axum.sid`. A name that starts with `__Host-` binds the
    /// cookie to this very host: the strictest choice where no subdomain needs it.
    #[must_use]
    pub fn name(self, name: impl Into<Box<str>>) -> Self {
        self.set(|c| c.carrier.name = name.into())
    }

    /// What stands before the id's digest in a store key. Default `axum:sess:`.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Box<str>>) -> Self {
        self.set(|c| c.prefix = (&*prefix.into()).into())
    }

    /// How long a session lives without being saved or, with [`rolling`](Self::rolling), used: the idle timeout.
    /// Default one day, or the cookie's `max_age` if that is a duration. The store never keeps a session longer.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|c| c.lifetime.ttl = Some(ttl))
    }

    /// The same by a function of the session; `None` leaves it to the other settings.
    #[must_use]
    pub fn ttl_with(self, ttl: impl Fn(&Snapshot) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.set(|c| c.lifetime.ttl_of = Some(Arc::new(ttl)))
    }

    /// How long a session lives at most, counted from its beginning, however much it is used; kept by
    /// [`renew`](crate::Session::renew) (OWASP: absolute timeout). Default none.
    #[must_use]
    pub fn max_lifetime(self, max: Duration) -> Self {
        self.set(|c| c.lifetime.max_lifetime = Some(max))
    }

    /// Whether using the session prolongs its life. Default [`Rolling::Off`]: only saving does.
    #[must_use]
    pub fn rolling(self, rolling: Rolling) -> Self {
        self.set(|c| {
            c.lifetime.rolling = rolling;
            c.lifetime.silent = false;
        })
    }

    /// The cookie's attributes. Default: [`CookieOptions::default`].
    #[must_use]
    pub fn cookie(self, cookie: CookieOptions) -> Self {
        self.set(|c| c.cookie = cookie)
    }

    /// Signs the cookie with the first key and accepts each, so that keys can be changed without logging anybody
    /// out; an old key's cookie is sent anew. The key type is the `cookie` crate's, as in axum-extra.
    ///
    /// An id has 192 random bits and needs no signature to be safe. What a signature saves is the store call for
    /// an id that nobody issued.
    #[must_use]
    pub fn keys<'a>(self, keys: impl IntoIterator<Item = &'a Key>) -> Self {
        self.set(|c| c.carrier.keys = Some(KeyRing::cookie_jar(keys)))
    }

    /// Leaves the cookie unsigned: the default, but for the presets of the Node libraries.
    #[must_use]
    pub fn unsigned(self) -> Self {
        self.set(|c| c.carrier.keys = None)
    }

    /// Keeps the visitors of a running site signed in that comes from another library: an id that this layer's store
    /// does not know is looked for in the predecessor's, and what is found there is moved over, once, under the same
    /// id. Give this layer the name, and where it was signed the keys, of the old cookie.
    ///
    /// From then on the session is as any other. Drop the setting when the old sessions have expired; until then an
    /// unknown id costs two calls more.
    ///
    /// ```
    /// # use axum_generic_session::{MemoryStore, SessionLayer, store::Predecessor};
    /// # fn layer(their_store: impl Predecessor) {
    /// let sessions = SessionLayer::new(MemoryStore::new()).name("id").take_over(their_store);
    /// # let _ = sessions; }
    /// ```
    #[must_use]
    pub fn take_over(self, predecessor: impl Predecessor) -> Self {
        self.set(|c| c.predecessor = Some(SharedPredecessor(Arc::new(predecessor))))
    }

    /// Where the id travels. Default [`Transport::cookie`].
    #[must_use]
    pub fn transport(self, transport: Transport) -> Self {
        self.set(|c| c.carrier.transport = transport)
    }

    /// `false` (the default, as in the originals): every request on the cookie's path loads its session before the
    /// handler runs, fails there if the store does, and prolongs it if that is the rule. `true`: a request
    /// whose handler takes no session costs nothing, not even a look at the cookie; one that does not use it, no call of
    /// the store.
    #[must_use]
    pub fn defer(self, defer: bool) -> Self {
        self.set(|c| c.defer = defer)
    }

    /// Whether a new session with nothing in it is stored and gets its cookie. Default `false`.
    #[must_use]
    pub fn allow_empty(self, allow_empty: bool) -> Self {
        self.set(|c| c.allow_empty = allow_empty)
    }

    /// Whether the store key holds a digest of the id instead of the id. Default `true`: a stolen dump of the store
    /// logs nobody in.
    #[must_use]
    pub fn hash_ids(self, hash_ids: bool) -> Self {
        self.set(|c| c.hash_ids = hash_ids)
    }

    /// The most bytes that an encoded session may have. Default 1 MiB. A larger one is an error at the save, and the
    /// stored one stays as it was.
    #[must_use]
    pub fn max_size(self, bytes: usize) -> Self {
        self.set(|c| c.max_size = bytes)
    }

    /// For which status of the response the handler's changes take effect. Default: all but 5xx; with the presets
    /// of the Node libraries all, as there. A panic never does. An explicit [`save`](crate::Session::save) does not
    /// wait for the status.
    #[must_use]
    pub fn commit_on(self, commit: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.set(|c| c.commit_on = Arc::new(commit))
    }

    /// Whether responses that depend on the session say so to caches: `Vary: Cookie` when it was read, and
    /// `Cache-Control: private` when a cookie is set. Default `true`.
    #[must_use]
    pub fn cache_headers(self, cache_headers: bool) -> Self {
        self.set(|c| c.cache_headers = cache_headers)
    }

    /// What happens when another request has saved the session meanwhile: `false` (the default) puts the changed
    /// fields onto what it wrote, `true` refuses with 409.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        self.set(|c| c.strict = strict)
    }

    /// What happens when a stored session cannot be read: `false` (the default) is an error and leaves it for
    /// somebody to look at, `true` ends it and starts anew.
    #[must_use]
    pub fn discard_corrupt(self, discard: bool) -> Self {
        self.set(|c| c.discard_corrupt = discard)
    }

    /// How long requests wait for a lost connection to come back, counted from the loss. Default 10 s; later requests
    /// fail at once until it is back.
    #[must_use]
    pub fn reconnect_timeout(self, timeout: Duration) -> Self {
        self.set(|c| c.limits.reconnect = timeout)
    }

    /// How long one call of the store may take. Default 2 s.
    #[must_use]
    pub fn operation_timeout(self, timeout: Duration) -> Self {
        self.set(|c| c.limits.operation = timeout)
    }

    /// How many calls may wait for the store at one time before further ones fail at once. Default 4096.
    #[must_use]
    pub fn max_in_flight(self, calls: usize) -> Self {
        self.set(|c| c.limits.in_flight = calls)
    }

    /// The clock that every lifetime is computed by. Default the system's. Give the store the same one.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.set(|c| c.clock = SharedClock::of(clock))
    }

    /// Ids of the application's own making: 1 to 256 characters that may stand in a cookie, unguessable, never given
    /// twice. Default [`SessionId::random`](crate::SessionId::random).
    #[must_use]
    pub fn gen_id<F, Fut>(self, gen_id: F) -> Self
    where
        F: Fn(Arc<Parts>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.set(|c| c.hooks.gen_id = Some(hook(gen_id)))
    }

    /// Judges each loaded session before anybody uses it. One that is found invalid ends, and the visitor is new.
    ///
    /// ```
    /// use axum_generic_session::{MemoryStore, SessionLayer};
    ///
    /// let sessions = SessionLayer::new(MemoryStore::new())
    ///     .valid(|candidate| async move { Ok(candidate.session().value::<bool>("banned")? != Some(true)) });
    /// ```
    #[must_use]
    pub fn valid<F, Fut>(self, valid: F) -> Self
    where
        F: Fn(Candidate) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, BoxError>> + Send + 'static,
    {
        self.set(|c| c.hooks.valid = Some(hook(valid)))
    }

    /// Sees each session that is about to be saved, and may change it.
    ///
    /// ```
    /// use axum_generic_session::{MemoryStore, SessionLayer};
    ///
    /// let sessions = SessionLayer::new(MemoryStore::new()).before_save(|draft| async move {
    ///     draft.insert("last_path", draft.parts().uri.path())?;
    ///     Ok(())
    /// });
    /// ```
    #[must_use]
    pub fn before_save<F, Fut>(self, before_save: F) -> Self
    where
        F: Fn(Draft) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.set(|c| c.hooks.before_save = Some(hook(before_save)))
    }

    /// Decides what becomes of a request whose store operation failed. Default: a failed touch is logged and the
    /// request goes on, anything else fails with the error's own response.
    ///
    /// ```
    /// use axum::response::IntoResponse;
    /// use axum_generic_session::{MemoryStore, Operation, SessionLayer, Verdict};
    ///
    /// let sessions = SessionLayer::new(MemoryStore::new()).error_handler(|failure| async move {
    ///     match failure.operation() {
    ///         Operation::Get => Verdict::Continue, // the shop stays open, for guests
    ///         _ => Verdict::Respond((failure.error().status(), "try again in a minute").into_response()),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn error_handler<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Failure) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        self.set(|c| c.hooks.error_handler = Some(hook(handler)))
    }
}
