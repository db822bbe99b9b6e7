//! Cookie headers: whatever is sent, the visitor is nobody, is served, and gets an id of our own choice.
#![no_main]

use axum::{Router, routing::get};
use axum_generic_session::{Error, MemoryStore, Session, SessionLayer, Transport};
use axum_generic_session_fuzz::{key, layouts, visit};
use libfuzzer_sys::fuzz_target;

async fn page(session: Session) -> Result<(), Error> {
    assert!(session.is_new().await?);
    session.insert("a", 1).await
}

fuzz_target!(|data: &[u8]| {
    let lines = || data.split(|byte| *byte == b'\n').take(8);
    let store = MemoryStore::new();
    let chain = SessionLayer::new(store.clone()).transport(Transport::cookie().or(Transport::bearer()));
    let signed = SessionLayer::new(store.clone()).keys([&key()]);
    let layers = layouts(store).map(|(_, layer)| layer);
    for layer in layers.into_iter().chain([chain, signed]) {
        let (status, headers) = visit(&Router::new().route("/", get(page)).layer(layer), lines());
        assert_eq!(status, 200);
        let cookie = headers["set-cookie"].as_bytes();
        let id = cookie.split(|b| *b == b'=').nth(1).and_then(|rest| rest.split(|b| *b == b';').next());
        let id = id.expect("an id");
        assert!(!data.windows(id.len()).any(|sent| sent == id), "a client has chosen its id");
    }
});
