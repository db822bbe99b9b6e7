//! The layer's builder: every setting by its name, the safe value by default.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{StatusCode, request::Parts};
use cookie::Key;

use crate::{
    clock::{Clock, SharedClock},
    codec::Codec,
    config::{Config, KeepNewest},
    cookie::{CookieOptions, MaxAge, Style},
    engine::{Engine, Limits},
    error::{ConfigError, see},
    hooks::{Candidate, Draft, Failure, Hooks, Snapshot, Verdict, hook},
    keyring::{KeyRing, Scheme},
    lifetime::{DEFAULT_TTL, Lifetime, Rolling},
    listing::{CanList, Listing, NoListing},
    manager::Sessions,
    observe::Observer,
    session::Main,
    store::{
        BoxError, ByPrincipal, Guarantee, Predecessor, SharedByPrincipal, SharedPredecessor, SharedStore,
        Store,
    },
    transport::{Carrier, Transport},
};

/// The session layer: put it around a router, after its routes.
///
/// ```
/// use axum::{Router, routing::get};
/// use axum_generic_session::{MemoryStore, Rolling, Session, SessionLayer};
/// use std::time::Duration;
///
/// # async fn home(_: Session) {}
/// let sessions = SessionLayer::new(MemoryStore::new())
///     .ttl(Duration::from_secs(30 * 60))
///     .rolling(Rolling::After(0.25))
///     .max_lifetime(Duration::from_secs(12 * 60 * 60));
/// let app: Router = Router::new().route("/", get(home)).layer(sessions);
/// ```
///
/// Cheap to clone; clones share the store. A clone with other settings may go around some of the routes, for
/// instance with [`defer(true)`](Self::defer). A layer inside of another one of the same cookie stands aside.
///
/// Settings that cannot work make [`check`](Self::check) an error, and `layer` a panic with the same sentence.
pub struct SessionLayer<K = Main, L = NoListing> {
    config: Arc<Config>,
    listing: L,
    /// The checked settings; shared by clones, since axum makes one for each request of a router without state.
    ready: Arc<OnceLock<Arc<Config>>>,
    kind: PhantomData<fn() -> K>,
}

impl SessionLayer {
    /// Sessions in this store, with the defaults: cookie `axum.sid`, one day.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::over(SharedStore(Arc::new(store)), NoListing)
    }

    /// The same, over a store that finds sessions by their principal: [`sessions`](Self::sessions) can then list and end
    /// [those of a person](crate::Sessions::of), and [`keep_newest`](Self::keep_newest) bounds their number.
    ///
    /// ```
    /// use axum_generic_session::{MemoryStore, SessionLayer};
    ///
    /// # async fn close_account() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = SessionLayer::by_principal(MemoryStore::new()).keep_newest(5);
    /// let sessions = layer.sessions()?;
    /// sessions.of("42").end_all().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn by_principal(store: impl ByPrincipal) -> SessionLayer<Main, Listing> {
        let store = Arc::new(store);
        SessionLayer::over(SharedStore(store.clone()), Listing(SharedByPrincipal(store)))
    }

    /// Sessions shared with koa-generic-session 2 and koa-redis: cookie `koa.sid` and `koa.sid.sig` by keygrip with
    /// these keys, store keys `koa:sess:<id>`, their JSON, their defaults. A koa and an axum application behind one
    /// address serve one session.
    ///
    /// As in koa the cookie is not `Secure` unless [`cookie`](Self::cookie) says so, and what a handler did to the
    /// session is saved whatever the status of its answer ([`commit_on`](Self::commit_on)). koa writes without
    /// conditions: what is promised about concurrent requests holds between axum nodes, not against a write of koa's.
    #[must_use]
    pub fn koa<S: AsRef<[u8]>>(store: impl Store, keys: &[S]) -> Self {
        let layer = Self::new(store).name("koa.sid").prefix("koa:sess:").hash_ids(false).set(|c| {
            c.carrier.keys = Some(KeyRing::secrets(Scheme::Keygrip, keys));
            c.carrier.style = Style::Koa;
            c.codec = Codec::Koa { signed: true };
            c.commit_on = Arc::new(|_| true);
            c.lifetime.whole_seconds = true;
        });
        layer.cookie(CookieOptions::new().secure(false).same_site(None).max_age(DEFAULT_TTL))
    }

    /// Sessions shared with express-session and connect-redis: cookie `connect.sid`, signed with these secrets,
    /// store keys `sess:<id>`, their JSON with its `cookie` object, their defaults.
    ///
    /// As in express the cookie is not `Secure`, and lasts until the browser is closed, unless
    /// [`cookie`](Self::cookie) says otherwise. As in express every request on the cookie's path prolongs the stored
    /// session and sends no cookie for it (its `touch`); [`rolling`](Self::rolling) decides otherwise:
    /// `Rolling::EveryRequest` is express's `rolling: true`, `Rolling::Off` is connect-redis's `disableTouch: true`.
    /// What is said of koa's writes holds for express's.
    #[must_use]
    pub fn express<S: AsRef<[u8]>>(store: impl Store, secrets: &[S]) -> Self {
        let layer = Self::new(store).name("connect.sid").prefix("sess:").hash_ids(false).set(|c| {
            c.carrier.keys = Some(KeyRing::secrets(Scheme::Express, secrets));
            c.carrier.style = Style::Express;
            c.codec = Codec::Express;
            c.commit_on = Arc::new(|_| true);
            c.lifetime.whole_seconds = true;
            c.lifetime.rolling = Rolling::EveryRequest;
            c.lifetime.silent = true;
        });
        layer.cookie(CookieOptions::new().secure(false).same_site(None).max_age(MaxAge::BrowserSession))
    }
}

impl<K, L> SessionLayer<K, L> {
    fn over(store: SharedStore, listing: L) -> Self {
        if store.0.guarantee() == Guarantee::LastWriteWins {
            tracing::warn!(
                store = store.0.name(),
                "this session store has no conditional writes: of two requests at one time the last writer wins, and \
                 one that is at work during a logout may bring the session back{}",
                see!("stores", "a-store-of-your-own")
            );
        }
        let engine = Arc::new(Engine::new(store));
        let config = Config {
            observer: Observer::new("axum.sid", engine.watch()),
            engine,
            predecessor: None,
            carrier: Carrier {
                transport: Transport::cookie(),
                name: "axum.sid".into(),
                keys: None,
                style: Style::MaxAge,
            },
            cookie: CookieOptions::default(),
            lifetime: Lifetime::default(),
            hooks: Hooks::default(),
            clock: SharedClock::system(),
            codec: Codec::Native,
            prefix: "axum:sess:".into(),
            hash_ids: true,
            limits: Limits::default(),
            defer: false,
            allow_empty: false,
            strict: false,
            cache_headers: true,
            discard_corrupt: false,
            max_size: 1024 * 1024,
            commit_on: Arc::new(|status| !status.is_server_error()),
            keep_newest: None,
        };
        Self { config: Arc::new(config), listing, ready: Arc::default(), kind: PhantomData }
    }
    fn set(mut self, change: impl FnOnce(&mut Config)) -> Self {
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
    /// that does not use its session costs nothing, not even a look at the cookie.
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

    /// How many sessions a principal may have; a login beyond that ends the oldest. Default: any number. Of a layer from
    /// [`by_principal`](SessionLayer::by_principal) only.
    ///
    /// A login is the save of a session whose principal has just been [set](crate::Session::set_principal). It is stored
    /// first, so a failure to end the others does not fail the login: it is logged, and the next login makes up for it. Of
    /// several logins at one time the newest stay; two cannot end each other.
    #[must_use]
    pub fn keep_newest(self, sessions: usize) -> Self
    where
        L: CanList,
    {
        let store = self.listing.listing().0.clone();
        self.set(|c| c.keep_newest = Some(KeepNewest { sessions, store }))
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
        self.set(|c| c.clock = SharedClock(Arc::new(clock)))
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

    /// Makes this another kind of session, for an application that has several side by side: `Session<T, Admin>`
    /// finds the layer of kind `Admin`. Each kind needs a cookie name of its own.
    ///
    /// ```
    /// use axum_generic_session::{MemoryStore, Session, SessionLayer};
    ///
    /// enum Admin {}
    ///
    /// async fn dashboard(site: Session, admin: Session<axum_generic_session::Map, Admin>) {}
    ///
    /// let site = SessionLayer::new(MemoryStore::new());
    /// let admin = SessionLayer::new(MemoryStore::new()).name("admin.sid").kind::<Admin>();
    /// # let app: axum::Router = axum::Router::new()
    /// #     .route("/", axum::routing::get(dashboard)).layer(site).layer(admin);
    /// ```
    #[must_use]
    pub fn kind<M: 'static>(self) -> SessionLayer<M, L> {
        SessionLayer { config: self.config, listing: self.listing, ready: self.ready, kind: PhantomData }
    }

    /// The sessions of this layer outside of requests: for jobs and admin tools.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn sessions(&self) -> Result<Sessions<K, L>, ConfigError>
    where
        L: Clone,
    {
        self.ready().map(|config| Sessions::new(config, self.listing.clone()))
    }

    /// Whether the settings can work together.
    ///
    /// ```
    /// use axum_generic_session::{CookieOptions, MemoryStore, SessionLayer};
    ///
    /// let layer = SessionLayer::new(MemoryStore::new())
    ///     .name("__Host-sid")
    ///     .cookie(CookieOptions::new().path("/app"));
    /// let why = layer.check().unwrap_err();
    /// assert_eq!(why.to_string(), "session layer: the prefix __Host- needs the path `/` and no domain");
    /// ```
    ///
    /// # Errors
    /// With the sentence that says what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.ready().map(|_| ())
    }

    /// The settings, checked once and shared from then on.
    pub(crate) fn ready(&self) -> Result<Arc<Config>, ConfigError> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready.clone());
        }
        let mut config = self.config.clone();
        if config.codec != Codec::Native && config.cookie.max_age == MaxAge::Ttl {
            // Their cookies know nothing of a store's ttl.
            let ttl = config.lifetime.ttl.unwrap_or(DEFAULT_TTL);
            Arc::make_mut(&mut config).cookie.max_age = MaxAge::For(ttl);
        }
        if matches!(config.codec, Codec::Koa { .. }) {
            let signed = config.carrier.keys.is_some();
            Arc::make_mut(&mut config).codec = Codec::Koa { signed };
        }
        config.check().map_err(ConfigError)?;
        let observer = Observer::new(&config.carrier.name, config.engine.watch());
        Arc::make_mut(&mut config).observer = observer;
        Ok(self.ready.get_or_init(|| config).clone())
    }
}

impl<K, L: Clone> Clone for SessionLayer<K, L> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            listing: self.listing.clone(),
            ready: self.ready.clone(),
            kind: PhantomData,
        }
    }
}

impl<K, L> fmt::Debug for SessionLayer<K, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionLayer").field(&self.config).finish()
    }
}
