//! Signed cookies: without the key nothing is accepted, and the store is not even asked.
#![no_main]

use axum::{Router, routing::get};
use axum_generic_session::{Error, Session, SessionLayer};
use axum_generic_session_fuzz::{Canned, ID, key, visit};
use libfuzzer_sys::fuzz_target;

async fn page(session: Session) -> Result<(), Error> {
    assert!(session.is_new().await?);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let store = Canned::holding(b"{\"v\":1,\"created\":0}\n{\"user\":\"anna\"}");
    let koa = [b"koa.sid=".as_slice(), ID.as_bytes(), b"; koa.sid.sig=", data].concat();
    let express = [b"connect.sid=s%3A".as_slice(), ID.as_bytes(), b".", data].concat();
    let native = [b"axum.sid=".as_slice(), data, ID.as_bytes()].concat();
    let free = [b"axum.sid=".as_slice(), data].concat();
    let signed = || SessionLayer::new(store.clone()).keys([&key()]);
    for (layer, line) in [
        (signed(), native),
        (signed(), free),
        (SessionLayer::koa(store.clone(), &["a secret"]), koa),
        (SessionLayer::express(store.clone(), &["a secret"]), express),
    ] {
        let (status, _) = visit(&Router::new().route("/", get(page)).layer(layer), [line.as_slice()]);
        assert_eq!(status, 200);
    }
    assert_eq!(store.state().reads, 0, "a forged cookie has reached the store");
});
