//! The layer: made over a store, given its settings (`options`), checked once, put around a router.

mod options;

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use crate::{
    clock::SharedClock,
    codec::Codec,
    config::{Config, KeepNewest},
    cookie::{CookieOptions, MaxAge, Style},
    engine::{Engine, Limits},
    error::{ConfigError, see},
    hooks::Hooks,
    keyring::{KeyRing, Scheme},
    lifetime::{DEFAULT_TTL, Lifetime, Rolling},
    listing::{CanList, Listing, NoListing},
    manager::Sessions,
    observe::Observer,
    session::Main,
    store::{ByPrincipal, Guarantee, SharedByPrincipal, SharedStore, Store},
    transport::Carrier,
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
            carrier: Carrier::new("axum.sid", None, Style::MaxAge),
            cookie: CookieOptions::default(),
            lifetime: Lifetime::default(),
            hooks: Hooks::default(),
            clock: SharedClock::System,
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
        let complete = Arc::make_mut(&mut config);
        complete.observer = Observer::new(&complete.carrier.name, complete.engine.watch());
        complete.carrier.prepare(&complete.cookie);
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
