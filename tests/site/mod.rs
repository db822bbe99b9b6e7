//! The site that the tests visit: a store that can be probed, a clock that is moved by hand, and a few pages.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses what it needs")]

use axum::{
    Json, Router,
    body::Bytes,
    extract::Path,
    http::StatusCode,
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use axum_generic_session::{
    Clock, CookieOptions, Error, Map, MemoryStore, Session, SessionId, SessionLayer, Store, StoreKey,
    Timestamp,
    store::{Record, StoreError, ThreeMethods, When, Written},
    testing::{Answer, Client, ManualClock, ProbeStore},
};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

pub type Probe = ProbeStore<MemoryStore>;

/// The cookie's name, unless a test chooses another.
pub const COOKIE: &str = "axum.sid";

/// How long a call may be held by a gate: longer than the slowest machine needs for what is done meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(3600);

pub struct Site {
    pub store: Probe,
    pub clock: ManualClock,
    pub layer: SessionLayer,
    /// Without a layer.
    pub pages: Router,
}

impl Site {
    /// The default layer.
    pub fn new() -> Self {
        Self::with(|layer| layer)
    }

    /// A layer of other settings.
    pub fn with(settings: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let clock = ManualClock::new();
        let store = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
        let layer = SessionLayer::new(store.clone()).clock(clock.clone()).operation_timeout(PATIENCE);
        let layer = settings(layer);
        Self { store, clock, layer, pages: pages() }
    }

    /// A site whose requests do not load their session unless they ask for it.
    pub fn deferred() -> Self {
        Self::with(|layer| layer.defer(true))
    }

    /// One more page.
    pub fn page(mut self, path: &str, handler: MethodRouter) -> Self {
        self.pages = self.pages.route(path, handler);
        self
    }

    pub fn app(&self) -> Router {
        self.under(self.layer.clone())
    }

    /// The same pages under another layer.
    pub fn under<K: 'static>(&self, layer: SessionLayer<K>) -> Router {
        self.pages.clone().layer(layer)
    }

    /// Somebody who has never been here.
    pub fn visitor(&self) -> Client {
        Client::new(self.app()).clock(self.clock.clone())
    }

    /// Somebody whose session holds `{"user": name}`; the calls that took are not counted.
    pub async fn known(&self, name: &str) -> Client {
        let mut visitor = self.visitor();
        let _ = visitor.get(&format!("/set/user/{name}")).await.expect_status(200);
        let _ = self.store.take_calls();
        visitor
    }

    /// The moment that lies so far ahead.
    pub fn after(&self, time: Duration) -> Timestamp {
        self.clock.now().saturating_add(time)
    }

    /// What the store holds under this id, read past the probe.
    pub async fn record(&self, id: &str) -> Option<Record> {
        let key = self.key(id);
        self.store.inner().get(&key).await.expect("the memory store")
    }

    pub fn key(&self, id: &str) -> StoreKey {
        StoreKey::hashed("axum:sess:", &SessionId::parse(id).expect("an id"))
    }

    /// The stored session's data; `None` if there is no such session.
    pub async fn data(&self, id: &str) -> Option<Value> {
        Some(object(&self.record(id).await?))
    }

    /// The data of the session whose cookie this visitor holds.
    pub async fn data_of(&self, visitor: &Client) -> Option<Value> {
        self.data(visitor.cookie(COOKIE)?).await
    }
}

/// An engine of three methods. It keeps the time to live, and like most it does not tell.
#[derive(Clone, Default)]
pub struct Cache {
    values: Arc<Mutex<HashMap<String, (Bytes, Timestamp)>>>,
    clock: ManualClock,
}

impl Cache {
    pub fn new(clock: ManualClock) -> Self {
        Self { values: Arc::default(), clock }
    }

    /// All that it holds, as text.
    pub fn dump(&self) -> String {
        let values = self.values.lock().unwrap();
        values.iter().map(|(key, (data, _))| format!("{key} {}\n", String::from_utf8_lossy(data))).collect()
    }
}

impl ThreeMethods for Cache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let values = self.values.lock().unwrap();
        Ok(values.get(key).filter(|(_, end)| *end > self.clock.now()).map(|(data, _)| data.clone()))
    }

    async fn set(&self, key: &str, data: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let end = self.clock.now().saturating_add(ttl);
        self.values.lock().unwrap().insert(key.to_owned(), (data, end));
        Ok(())
    }

    async fn destroy(&self, key: &str) -> Result<(), StoreError> {
        self.values.lock().unwrap().remove(key);
        Ok(())
    }
}

/// A store without a rotation of its own: the provided one takes several steps.
#[derive(Clone)]
pub struct Stepwise<S>(pub S);

impl<S: Store> Store for Stepwise<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.0.set(key, record, when).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at).await
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
}

/// The data line of the envelope.
pub fn object(record: &Record) -> Value {
    let end = record.data.iter().position(|b| *b == b'\n').expect("an envelope");
    serde_json::from_slice(&record.data[end + 1..]).expect("JSON")
}

/// A request of this visitor that goes on beside others. Its cookies are those of now.
pub fn in_another_tab(visitor: &Client, path: &str) -> JoinHandle<Answer> {
    let (mut visitor, path) = (visitor.clone(), path.to_owned());
    tokio::spawn(async move { visitor.get(&path).await })
}

/// The attributes of a `Set-Cookie`, without the pair in front.
pub fn attributes(line: &str) -> Vec<&str> {
    line.split("; ").skip(1).collect()
}

/// Cookie settings with another path.
pub fn at_path(path: &'static str) -> CookieOptions {
    CookieOptions::new().path(path)
}

/// The same cases of a property in every run.
pub fn cases(number: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(20_231_114);
    ProptestConfig { failure_persistence: None, rng_seed, ..ProptestConfig::with_cases(number) }
}

/// Does to the session what a word says.
pub async fn act(session: &Session, word: &str) -> Result<(), Error> {
    match word {
        "nothing" => {}
        "read" => drop(session.get().await?),
        "write" => session.insert("new", 1).await?,
        "same" => session.insert("user", "alice").await?,
        "clear" => session.clear().await?,
        "settings" => session.update_cookie(|c| c.http_only = false).await?,
        "destroy" => session.destroy()?,
        "regenerate" => session.regenerate()?,
        "renew" => session.renew().await?,
        "force" => session.force_save(),
        "prevent" => session.prevent_save(),
        "auto" => session.auto_save(),
        "save" => drop(session.save().await?),
        other => unreachable!("{other}"),
    }
    Ok(())
}

fn pages() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/untouched", get(|_: Session| async { "hello" }))
        .route("/read", get(read))
        .route("/id", get(|s: Session| async move { s.id().await.map(|id| id.expose().to_owned()) }))
        .route("/set/{key}/{value}", get(set))
        .route("/set/{key}/{value}/then/{status}", get(set_then))
        .route("/remove/{key}", get(remove))
        .route("/count", get(count))
        .route("/logout", get(|s: Session| async move { s.destroy() }))
        .route("/renew", get(|s: Session| async move { s.renew().await }))
        .route("/regenerate", get(|s: Session| async move { s.regenerate() }))
        .route("/login/{name}", get(login))
}

async fn read(session: Session) -> Result<Json<Map>, Error> {
    Ok(Json(session.get().await?.as_ref().clone()))
}

async fn set(session: Session, Path((key, value)): Path<(String, String)>) -> Result<(), Error> {
    session.insert(&key, value).await
}

async fn set_then(
    session: Session,
    Path((key, value, status)): Path<(String, String, u16)>,
) -> Result<impl IntoResponse, Error> {
    session.insert(&key, value).await?;
    Ok(StatusCode::from_u16(status).expect("a status"))
}

async fn remove(session: Session, Path(key): Path<String>) -> Result<(), Error> {
    session.remove(&key).await
}

async fn count(session: Session) -> Result<String, Error> {
    let n = session.value::<u64>("count").await?.unwrap_or(0) + 1;
    session.insert("count", n).await?;
    Ok(n.to_string())
}

async fn login(session: Session, Path(name): Path<String>) -> Result<(), Error> {
    session.renew().await?;
    session.insert("user", name).await
}
