//! The least that a session can be in axum: one layer, one extractor, one store, written for these routes alone. It keeps what a
//! session has to be (the store knows digests of ids, sessions expire, who writes names the version that is replaced, an answer
//! with a cookie is not for caches) and nothing else: no settings, no hooks, no signature, no rolling, no logout, no errors,
//! no second handle that writes at the same time. Where a target asks for less than this takes, it asks a session layer to do
//! less than that. It is no lower bound of each row: it reads values by serde_json, and who signs or loads early does more.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    hash::{BuildHasherDefault, Hasher},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    extract::{FromRequestParts, Request},
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY},
        request::Parts,
    },
    response::Response,
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nix::time::{ClockId, clock_gettime};
use rand::{Rng, RngCore};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::{Size, profile};

const SHARDS: usize = 64;
const DAY: i64 = 86_400;

type Key = [u8; 32];

/// The text of an id: 24 bytes as base64url.
type Id = [u8; 32];

/// A digest is as good a hash as any.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().copied().map_or(0, u64::from_ne_bytes);
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type Shard = HashMap<Key, Stored, BuildHasherDefault<AsItIs>>;

struct Store([Mutex<Shard>; SHARDS]);

#[derive(Clone)]
struct Stored {
    expires: i64,
    version: u64,
    text: Arc<str>,
}

impl Store {
    fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        self.0[usize::from(key[31]) % SHARDS].lock().expect("nobody panics here")
    }

    fn find(&self, key: &Key) -> Option<Stored> {
        let found = self.shard(key).get(key).cloned();
        found.filter(|stored| stored.expires > now())
    }

    /// Whether it was stored: nobody else was faster.
    fn replace(&self, key: Key, version: Option<u64>, text: &str) -> bool {
        let mut shard = self.shard(&key);
        if shard.get(&key).map(|stored| stored.version) != version {
            return false;
        }
        let stored =
            Stored { expires: now() + DAY, version: rand::thread_rng().next_u64(), text: text.into() };
        shard.insert(key, stored);
        true
    }
}

fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE).expect("a clock that Linux has").tv_sec()
}

/// The session of one request, as its layer and its handler share it.
#[derive(Clone)]
struct Session(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    data: Mutex<Data>,
}

#[derive(Default)]
struct Data {
    id: Option<Id>,
    /// What the store has: asked once.
    found: Option<Option<(Key, Stored)>>,
    /// What it is to have.
    written: Option<String>,
}

impl Data {
    fn found(&mut self, store: &Store) -> Option<&str> {
        let id = self.id;
        let found = self.found.get_or_insert_with(|| {
            let key = Sha256::digest(id?).into();
            Some((key, store.find(&key)?))
        });
        found.as_ref().map(|(_, stored)| &*stored.text)
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let session = parts.extensions.get::<Self>().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let cookie = parts.headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
        let id = cookie.and_then(|cookie| {
            let value = cookie.split("; ").find_map(|pair| pair.strip_prefix("least.sid="))?;
            value.as_bytes().try_into().ok()
        });
        session.data().id = id;
        Ok(session.clone())
    }
}

impl Session {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.0.data.lock().expect("nobody panics here")
    }

    fn read<T: for<'a> Deserialize<'a> + Default>(&self) -> T {
        let mut data = self.data();
        let found = data.found(&self.0.store);
        found.map(|text| serde_json::from_str(text).expect("what was written")).unwrap_or_default()
    }

    fn write(&self, values: &[(&str, Box<RawValue>)]) {
        let mut data = self.data();
        let found = data.found(&self.0.store);
        let mut all: BTreeMap<&str, &RawValue> =
            found.map(|text| serde_json::from_str(text).expect("what was written")).unwrap_or_default();
        let mut changed = false;
        for (key, value) in values {
            changed |= all.insert(key, value).is_none_or(|before| before.get() != value.get());
        }
        if changed {
            data.written = Some(serde_json::to_string(&all).expect("JSON"));
        }
    }

    fn close(&self, response: &mut Response) {
        let mut data = self.data();
        let Some(text) = data.written.take() else { return };
        let (id, key, version) = match (data.id, data.found.take().flatten()) {
            (Some(id), Some((key, stored))) => (id, key, Some(stored.version)),
            _ => {
                let mut id = [0; 32];
                let bytes: [u8; 24] = rand::thread_rng().r#gen();
                URL_SAFE_NO_PAD.encode_slice(bytes, &mut id).expect("room");
                (id, Sha256::digest(id).into(), None)
            }
        };
        if !self.0.store.replace(key, version, &text) {
            *response.status_mut() = StatusCode::CONFLICT;
            return;
        }
        let mut cookie = Vec::with_capacity(128);
        cookie.extend_from_slice(b"least.sid=");
        cookie.extend_from_slice(&id);
        cookie.extend_from_slice(b"; Path=/; Max-Age=86400; SameSite=Lax; Secure; HttpOnly");
        let headers = response.headers_mut();
        headers.append(SET_COOKIE, HeaderValue::try_from(cookie).expect("text"));
        headers.append(VARY, HeaderValue::from_static("cookie"));
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

#[derive(Clone)]
pub struct Layered<S> {
    inner: S,
    store: Arc<Store>,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Layered<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Closing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let session = Session(Arc::new(Shared { store: self.store.clone(), data: Mutex::default() }));
        request.extensions_mut().insert(session.clone());
        Closing { inner: self.inner.call(request), session }
    }
}

pin_project_lite::pin_project! {
    pub struct Closing<F> {
        #[pin]
        inner: F,
        session: Session,
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for Closing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.session.close(&mut response);
        Poll::Ready(Ok(response))
    }
}

pub fn app() -> Router {
    routes().layer(layer())
}

pub fn layer<S>() -> impl Layer<S, Service = Layered<S>> + Clone {
    let store = Arc::new(Store::new());
    layer_fn(move |inner| Layered { inner, store: store.clone() })
}

pub fn routes() -> Router {
    Router::new()
        .route("/untouched", get(|| async { 1_u64.to_string() }))
        .route("/extracted", get(|_: Session| async { 1_u64.to_string() }))
        .route("/read", get(read))
        .route("/change", get(change))
        .route("/same", get(|session: Session| async move { write(&session, "lang", &"en") }))
        .route("/new", get(|session: Session| async move { write(&session, "profile", &profile()) }))
        .route("/typed/read", get(read))
        .route("/typed/change", get(change))
        .route("/fill/small", get(|session: Session| async move { fill(&session, Size::Small) }))
        .route("/fill/large", get(|session: Session| async move { fill(&session, Size::Large) }))
}

/// The part of the session that the handlers ask for.
#[derive(Default, Deserialize)]
struct Visits {
    n: u64,
}

async fn read(session: Session) -> String {
    session.read::<Visits>().n.to_string()
}

async fn change(session: Session) -> String {
    let n = session.read::<Visits>().n + 1;
    write(&session, "n", &n);
    n.to_string()
}

fn write(session: &Session, key: &str, value: &impl serde::Serialize) -> String {
    session.write(&[(key, to_raw_value(value).expect("JSON"))]);
    1_u64.to_string()
}

fn fill(session: &Session, size: Size) -> String {
    let data = size.data();
    let values: Vec<_> =
        data.iter().map(|(key, value)| (&**key, to_raw_value(value).expect("JSON"))).collect();
    session.write(&values);
    1_u64.to_string()
}
