//! Sessions without a server.

use std::sync::Arc;

use crate::{
    SessionId, SessionLayer, StoreKey, Timestamp,
    object::Object,
    session::{Main, Session},
    state::{Origin, State},
    store::{Record, Store, StoreError, Tag, When, Written},
    transport::Signature,
    view::SessionData,
};

/// A session that holds `data`, for calling a handler in a unit test: as if a visitor had come back with it.
///
/// It lives in no store: every method works and its effect can be looked at, but what is saved goes nowhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), axum_generic_session::Error> {
/// use axum_generic_session::{Error, Session, testing};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// async fn add(cart: Session<Cart>) -> Result<usize, Error> {
///     cart.update(|c| { c.items.push("book".into()); c.items.len() }).await
/// }
///
/// let cart = testing::session(Cart { items: vec!["pen".into()] });
/// assert_eq!(add(cart.clone()).await?, 2);
/// assert_eq!(cart.get().await?.items, ["pen", "book"]);
/// # Ok(()) }
/// ```
///
/// # Panics
/// When `data` is not written as a JSON object: this is for tests.
#[must_use]
pub fn session<T: SessionData>(data: T) -> Session<T, Main> {
    let layer = SessionLayer::new(Nowhere);
    let config = layer.ready().expect("the defaults are sound");
    let object = Object::of(&data).expect("session data that serialize to a JSON object");
    let state = State::new(config, None);
    let id = SessionId::random();
    state.loaded_as(|data| {
        let key = state.config.key(&id);
        let expires_at = state.config.clock.now();
        data.origin = Some(Origin { id, key, tag: Tag::random(), expires_at, signature: Signature::None });
        data.base.object = object;
    });
    Session::new(Arc::new(state))
}

/// Agrees to everything and keeps nothing.
struct Nowhere;

impl Store for Nowhere {
    async fn get(&self, _: &StoreKey) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    async fn set(&self, _: &StoreKey, _: &Record, _: When) -> Result<Written, StoreError> {
        Ok(Written::Done)
    }

    async fn touch(&self, _: &StoreKey, _: Timestamp) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn destroy(&self, _: &StoreKey) -> Result<(), StoreError> {
        Ok(())
    }
}
