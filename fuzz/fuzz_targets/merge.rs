//! Two requests change one session: three lines of JSON, as it was, as this one makes it, as the other has made it.
#![no_main]

use axum::{Extension, Router, routing::get};
use axum_generic_session::{Error, Map, Session, SessionLayer};
use axum_generic_session_fuzz::{Canned, ID, visit};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

async fn page(session: Session, Extension(mine): Extension<Map>) -> Result<(), Error> {
    session.update(|map| *map = mine).await
}

/// The rule, once more and from its words alone.
fn merged(base: &Map, mine: &Map, theirs: &Map) -> Map {
    let keys = base.keys().chain(mine.keys()).chain(theirs.keys());
    let value = |key: &String| match (base.get(key), mine.get(key), theirs.get(key)) {
        (b, m, t) if m == b => t,
        (b, m, t) if t == b => m,
        (_, m, Some(_)) => m,
        (_, _, None) => None,
    };
    keys.filter_map(|key| Some((key.clone(), value(key)?.clone()))).collect()
}

/// Numbers in one form, since 1 and 1.0 are a question of their own.
fn plain(value: &mut Value) {
    match value {
        Value::Number(n) => *value = n.as_i64().unwrap_or(0).into(),
        Value::Array(values) => values.iter_mut().for_each(plain),
        Value::Object(map) => map.values_mut().for_each(plain),
        _ => {}
    }
}

fn envelope(map: &Map) -> Vec<u8> {
    let header = b"{\"v\":1,\"created\":0}\n".to_vec();
    [header, serde_json::to_vec(map).expect("JSON")].concat()
}

fuzz_target!(|data: &[u8]| {
    let mut maps = data.split(|byte| *byte == b'\n').map_while(|line| {
        let mut value = serde_json::from_slice::<Value>(line).ok()?;
        plain(&mut value);
        serde_json::from_value::<Map>(value).ok()
    });
    let (Some(base), Some(mine), Some(theirs)) = (maps.next(), maps.next(), maps.next()) else { return };
    if base == mine {
        return;
    }
    let store = Canned::holding(&envelope(&base));
    store.state().meanwhile = Some(envelope(&theirs));
    let app = Router::new().route("/", get(page)).layer(SessionLayer::new(store.clone()));
    let (status, _) = visit(&app.layer(Extension(mine.clone())), [format!("axum.sid={ID}").as_bytes()]);
    assert_eq!(status, 200);
    let expected = merged(&base, &mine, &theirs);
    let written = store.state().written.take();
    let stored = written.map_or(theirs, |data| {
        let end = data.iter().position(|byte| *byte == b'\n').expect("an envelope");
        serde_json::from_slice(&data[end + 1..]).expect("JSON")
    });
    assert_eq!(stored, expected);
});
