//! What the targets share: sites whose store says whatever it is told to, and what came of a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header::COOKIE},
};
use axum_generic_session::{
    Key, SessionLayer, Store, StoreKey, Timestamp,
    store::{Layout, Record, StoreError, Tag, When, Written},
};
use tower::ServiceExt;

/// A cookie value that has the form of an id.
pub const ID: &str = "abcdefghijklmnopqrstuvwxyz012345";

/// The keys of every site here.
pub fn key() -> Key {
    Key::from(&[7; 64])
}

/// One session under every key: the next read finds these bytes, the next refusals show those.
#[derive(Clone, Default)]
pub struct Canned(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    pub found: Vec<u8>,
    /// What another request writes between the read and the write.
    pub meanwhile: Option<Vec<u8>>,
    pub written: Option<Vec<u8>>,
    pub reads: usize,
}

impl Canned {
    pub fn holding(data: &[u8]) -> Self {
        let store = Self::default();
        store.state().found = data.to_vec();
        store
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(key: &StoreKey, data: &[u8], tag: u8) -> Record {
    let tag = if key.layout() == Layout::Plain { Tag::of(data) } else { Tag::from([tag; 8]) };
    Record { tag, expires_at: Timestamp::MAX, principal: None, data: data.to_vec().into() }
}

impl Store for Canned {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let mut state = self.state();
        state.reads += 1;
        Ok(Some(record(key, &state.found, 1)))
    }

    async fn set(&self, key: &StoreKey, new: &Record, _: When) -> Result<Written, StoreError> {
        let mut state = self.state();
        if let Some(data) = state.meanwhile.take() {
            return Ok(Written::Conflict(Some(record(key, &data, 2))));
        }
        state.written = Some(new.data.to_vec());
        Ok(Written::Done)
    }

    async fn touch(&self, _: &StoreKey, _: Timestamp) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn destroy(&self, _: &StoreKey) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The three layouts, with the name of the cookie of each.
pub fn layouts(store: impl Store + Clone) -> [(&'static str, SessionLayer); 3] {
    [
        ("axum.sid", SessionLayer::new(store.clone())),
        ("koa.sid", SessionLayer::koa(store.clone(), &["a secret"]).unsigned()),
        ("connect.sid", SessionLayer::express(store, &["a secret"]).unsigned()),
    ]
}

/// One request with these cookie lines, as bytes.
pub fn visit<'a>(app: &Router, cookies: impl IntoIterator<Item = &'a [u8]>) -> (StatusCode, HeaderMap) {
    let mut request = Request::get("/").body(Body::empty()).expect("a request");
    // What is no header value never gets past the server.
    for line in cookies.into_iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        request.headers_mut().append(COOKIE, line);
    }
    let answer = futures_executor::block_on(app.clone().oneshot(request));
    let Ok(answer) = answer;
    (answer.status(), answer.headers().clone())
}
