//! This crate.

use axum::{Router, routing::get};
use axum_generic_session::{Error, MemoryStore, Session, SessionLayer};
use cookie::Key;
use serde::{Deserialize, Serialize};

use super::{Mode, SIDES, Size, meet, profile};

/// A view on one of the session's values.
#[derive(Default, Serialize, Deserialize)]
struct Visits {
    n: u64,
}

pub fn app(mode: Mode) -> Router {
    routes().layer(layer(mode))
}

pub fn layer(mode: Mode) -> SessionLayer {
    let layer = SessionLayer::new(MemoryStore::new()).defer(mode != Mode::Eager);
    match mode {
        Mode::Signed => layer.keys([&Key::generate()]),
        _ => layer,
    }
}

pub fn routes() -> Router {
    Router::new()
        .route("/untouched", get(|| async { 1_u64.to_string() }))
        .route("/extracted", get(|_: Session| async { 1_u64.to_string() }))
        .route("/read", get(read))
        .route("/change", get(change))
        .route("/same", get(same))
        .route("/new", get(new))
        .route("/typed/read", get(typed_read))
        .route("/typed/change", get(typed_change))
        .route("/fill/small", get(|session| fill(session, Size::Small)))
        .route("/fill/large", get(|session| fill(session, Size::Large)))
        .route("/increment", get(increment))
        .route("/left", get(|session| side(session, SIDES[0])))
        .route("/right", get(|session| side(session, SIDES[1])))
        .route("/sides", get(sides))
        .route("/late", get(late))
        .route("/logout", get(logout))
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.value::<u64>("n").await?.unwrap_or(0).to_string())
}

async fn change(session: Session) -> Result<String, Error> {
    let n = session.value::<u64>("n").await?.unwrap_or(0) + 1;
    session.insert("n", n).await?;
    Ok(n.to_string())
}

async fn same(session: Session) -> Result<String, Error> {
    session.insert("lang", "en").await?;
    Ok(1_u64.to_string())
}

async fn new(session: Session) -> Result<String, Error> {
    session.insert("profile", profile()).await?;
    Ok(1_u64.to_string())
}

async fn typed_read(session: Session<Visits>) -> Result<String, Error> {
    Ok(session.get().await?.n.to_string())
}

async fn typed_change(session: Session<Visits>) -> Result<String, Error> {
    let n = session.update(|visits| {
        visits.n += 1;
        visits.n
    });
    Ok(n.await?.to_string())
}

async fn fill(session: Session, size: Size) -> Result<String, Error> {
    for (key, value) in size.data() {
        session.insert(&key, value).await?;
    }
    Ok(1_u64.to_string())
}

/// A counter that many requests count at one time, each with something else to wait for.
async fn increment(session: Session<Visits>) -> Result<String, Error> {
    session.get().await?;
    tokio::task::yield_now().await;
    let n = session.transact(|visits| {
        visits.n += 1;
        visits.n
    });
    Ok(n.await?.to_string())
}

/// Writes one value, once another request has read the session, too.
async fn side(session: Session, key: &'static str) -> Result<String, Error> {
    session.get().await?;
    meet().await;
    session.insert(key, 1).await?;
    Ok(1_u64.to_string())
}

/// How many of the sides are there.
async fn sides(session: Session) -> Result<String, Error> {
    let data = session.get().await?;
    Ok(SIDES.iter().filter(|side| data.contains_key(**side)).count().to_string())
}

/// Has read the session before somebody logs out, and writes it afterwards.
async fn late(session: Session) -> Result<String, Error> {
    session.get().await?;
    meet().await;
    meet().await;
    session.insert("late", 1).await?;
    Ok(1_u64.to_string())
}

async fn logout(session: Session) -> Result<String, Error> {
    session.destroy()?;
    Ok(1_u64.to_string())
}
