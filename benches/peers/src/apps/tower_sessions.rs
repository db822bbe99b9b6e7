//! tower-sessions with its memory store.

use ::tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, session::Error};
use axum::{Router, http::StatusCode, routing::get};
use time::Duration;

use super::{Mode, SIDES, Size, meet, profile};

pub fn app(mode: Mode) -> Router {
    match mode {
        Mode::Signed => routes().layer(layer().with_signed(cookie::Key::generate())),
        _ => routes().layer(layer()),
    }
}

pub fn layer() -> SessionManagerLayer<MemoryStore> {
    SessionManagerLayer::new(MemoryStore::default()).with_expiry(Expiry::OnInactivity(Duration::days(1)))
}

pub fn routes() -> Router {
    Router::new()
        .route("/untouched", get(|| async { 1_u64.to_string() }))
        .route("/extracted", get(|_: Session| async { 1_u64.to_string() }))
        .route("/read", get(read))
        .route("/change", get(change))
        .route("/same", get(same))
        .route("/new", get(new))
        .route("/typed/read", get(read))
        .route("/typed/change", get(change))
        .route("/fill/small", get(|session| fill(session, Size::Small)))
        .route("/fill/large", get(|session| fill(session, Size::Large)))
        .route("/increment", get(increment))
        .route("/left", get(|session| side(session, SIDES[0])))
        .route("/right", get(|session| side(session, SIDES[1])))
        .route("/sides", get(sides))
        .route("/late", get(late))
        .route("/logout", get(logout))
}

type Answer = Result<String, StatusCode>;

fn failed(_: Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn read(session: Session) -> Answer {
    Ok(session.get::<u64>("n").await.map_err(failed)?.unwrap_or(0).to_string())
}

async fn change(session: Session) -> Answer {
    let n = session.get::<u64>("n").await.map_err(failed)?.unwrap_or(0) + 1;
    session.insert("n", n).await.map_err(failed)?;
    Ok(n.to_string())
}

async fn same(session: Session) -> Answer {
    session.insert("lang", "en").await.map_err(failed)?;
    Ok(1_u64.to_string())
}

async fn new(session: Session) -> Answer {
    session.insert("profile", profile()).await.map_err(failed)?;
    Ok(1_u64.to_string())
}

async fn fill(session: Session, size: Size) -> Answer {
    for (key, value) in size.data() {
        session.insert(&key, value).await.map_err(failed)?;
    }
    Ok(1_u64.to_string())
}

async fn increment(session: Session) -> Answer {
    let n = session.get::<u64>("n").await.map_err(failed)?.unwrap_or(0) + 1;
    tokio::task::yield_now().await;
    session.insert("n", n).await.map_err(failed)?;
    Ok(n.to_string())
}

async fn side(session: Session, key: &'static str) -> Answer {
    session.get::<u64>("n").await.map_err(failed)?;
    meet().await;
    session.insert(key, 1).await.map_err(failed)?;
    Ok(1_u64.to_string())
}

async fn sides(session: Session) -> Answer {
    let mut count = 0;
    for side in SIDES {
        count += usize::from(session.get::<u64>(side).await.map_err(failed)?.is_some());
    }
    Ok(count.to_string())
}

async fn late(session: Session) -> Answer {
    session.get::<u64>("n").await.map_err(failed)?;
    meet().await;
    meet().await;
    session.insert("late", 1).await.map_err(failed)?;
    Ok(1_u64.to_string())
}

async fn logout(session: Session) -> Answer {
    session.flush().await.map_err(failed)?;
    Ok(1_u64.to_string())
}
