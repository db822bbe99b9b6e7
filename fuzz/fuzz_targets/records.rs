//! What lies in the store: read or refused, never a panic; and what is read goes back with nothing missing.
#![no_main]

use std::sync::{Arc, Mutex};

use axum::{Extension, Router, routing::get};
use axum_generic_session::{Error, Map, Session};
use axum_generic_session_fuzz::{Canned, ID, layouts, visit};
use libfuzzer_sys::fuzz_target;

type Seen = Arc<Mutex<Map>>;

async fn page(session: Session, Extension(seen): Extension<Seen>) -> Result<(), Error> {
    let map = session.get().await?;
    *seen.lock().expect("a lock") = map.as_ref().clone();
    session.insert("added", "here").await
}

fuzz_target!(|data: &[u8]| {
    for (number, (name, _)) in layouts(Canned::default()).into_iter().enumerate() {
        let seen = Seen::default();
        let read = |bytes: &[u8]| {
            let store = Canned::holding(bytes);
            let [(_, native), (_, koa), (_, express)] = layouts(store.clone());
            let layer = [native, koa, express].into_iter().nth(number).expect("a layout");
            let app = Router::new().route("/", get(page)).layer(layer).layer(Extension(seen.clone()));
            let (status, _) = visit(&app, [format!("{name}={ID}").as_bytes()]);
            assert!(status == 200 || status == 500, "{status}");
            let written = store.state().written.take();
            (status == 200, written, seen.lock().expect("a lock").clone())
        };
        let (true, Some(written), mut first) = read(data) else { continue };
        first.insert("added".into(), "here".into());
        let (readable, _, second) = read(&written);
        assert!(readable, "what was written cannot be read");
        assert_eq!(first, second);
    }
});
