//! tower-sessions on its Redis and SQL stores. They are for its version 0.14, whose types are others than 0.15's.

use axum::{Router, http::StatusCode, routing::get};
use time::Duration;
use tower_sessions_014::{Expiry, Session, SessionManagerLayer, SessionStore, session::Error};

use crate::apps::Size;

pub fn app(store: impl SessionStore + Clone) -> Router {
    let layer = SessionManagerLayer::new(store).with_expiry(Expiry::OnInactivity(Duration::days(1)));
    Router::new()
        .route("/read", get(read))
        .route("/change", get(change))
        .route("/fill/small", get(fill))
        .layer(layer)
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

async fn fill(session: Session) -> Answer {
    for (key, value) in Size::Small.data() {
        session.insert(&key, value).await.map_err(failed)?;
    }
    Ok(1_u64.to_string())
}
