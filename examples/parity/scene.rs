//! One application from reset to reset: store, clock, journal, and the router with its layers.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use axum_generic_session::{
    CookieOptions, ForcedId, MemoryStore, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{Layout, Record, StoreError, Tag, When, Written},
    testing::ManualClock,
};
use serde_json::Value;

use crate::{
    gates::Gates,
    journal::{Journal, STEP},
    page, pages,
    query::Query,
    settings::{Keeper, Options, Setting},
    store::RecordingStore,
    visit::bump,
};

/// What the pages and the control plane share.
pub(crate) struct Scene {
    pub(crate) setting: Arc<Setting>,
    pub(crate) clock: ManualClock,
    pub(crate) gates: Arc<Gates>,
    pub(crate) journal: Arc<Journal>,
    /// Absent where the sessions are in a `MemoryStore`, which shows nothing.
    pub(crate) store: Option<RecordingStore>,
}

impl Scene {
    pub(crate) fn new(setting: Arc<Setting>) -> Self {
        let (clock, gates, journal) = (ManualClock::new(), Arc::new(Gates::new()), Arc::<Journal>::default());
        let recording = |tells| RecordingStore::new(clock.clone(), gates.clone(), journal.clone(), tells);
        let store = match setting.keeper {
            Keeper::Recording => Some(recording(true)),
            Keeper::Silent => Some(recording(false)),
            Keeper::BuiltIn => None,
        };
        Self { setting, clock, gates, journal, store }
    }

    /// The application: its pages, its session layers, and what stands around them.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        let mut app = Router::new().fallback(pages::serve).with_state(self.clone());
        for (i, options) in self.setting.layers.iter().enumerate().rev() {
            app = app.layer(self.layer(options));
            if i > 0 {
                app = app.layer(from_fn(between));
            }
        }
        app = app.layer(from_fn(force_id));
        if self.setting.own_error_page {
            app = app.layer(from_fn(page::draw));
        }
        app.layer(from_fn_with_state(self.clone(), enter))
    }

    fn layer(&self, options: &Options) -> SessionLayer {
        let keys = self.setting.keys;
        let layer = match &self.store {
            Some(store) => options.layer(store.clone(), keys),
            None => options.layer(MemoryStore::new().clock(self.clock.clone()), keys),
        };
        options.hooks.install(layer.clock(self.clock.clone()), &self.journal)
    }

    /// The cookie settings of a visitor who has none of their own.
    pub(crate) fn layer_cookie(&self) -> CookieOptions {
        self.setting.layers[0].cookie.clone()
    }

    /// What the store holds under an id.
    pub(crate) async fn stored(&self, id: &SessionId) -> Result<Value, StoreError> {
        let Some(store) = &self.store else { return Ok(Value::Null) };
        let found = store.get(&self.key(id)).await?;
        Ok(found.and_then(|record| serde_json::from_slice(&record.data).ok()).unwrap_or_default())
    }

    /// Puts a session of another id into the store, for ever.
    pub(crate) async fn keep(&self, id: &SessionId, text: String) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let tag = Tag::of(text.as_bytes());
        let record = Record { tag, expires_at: Timestamp::MAX, principal: None, data: text.into() };
        let key = self.key(id);
        if store.set(&key, &record, When::Absent).await? != Written::Done {
            store.set(&key, &record, When::Present).await?;
        }
        Ok(())
    }

    /// Ends a session of another id.
    pub(crate) async fn end(&self, id: &SessionId) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        store.destroy(&self.key(id)).await
    }

    fn key(&self, id: &SessionId) -> StoreKey {
        StoreKey::plain(self.setting.layers[0].prefix, id).with_layout(Layout::Plain)
    }
}

/// Counts the request in, and notes what happens in it under its number.
async fn enter(State(scene): State<Arc<Scene>>, request: Request, next: Next) -> Response {
    let step = request.headers().get("x-step").and_then(|step| step.to_str().ok()?.parse().ok());
    scene.gates.enter();
    STEP.scope(step.unwrap_or_default(), next.run(request)).await
}

/// An id that the application has chosen: from a ticket, for instance.
async fn force_id(mut request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    if let Some(id) = query.get("force_session_id").as_deref().and_then(SessionId::parse) {
        request.extensions_mut().insert(ForcedId(id));
    }
    next.run(request).await
}

/// What stands between two session layers.
async fn between(session: Option<Session>, request: Request, next: Next) -> Response {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let done = match (query.get("between").as_deref(), session) {
        (Some("null"), Some(session)) => session.destroy(),
        (Some("bump"), Some(session)) => session.update(bump).await.map(drop),
        _ => Ok(()),
    };
    match done {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}
