//! axum_session without a database: its sessions live in a map of the process, shared by all requests.

use ::axum_session::{Key, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use axum::{Router, routing::get};

use super::{Mode, SIDES, Size, meet, profile};

type Session = ::axum_session::Session<SessionNullPool>;

pub async fn app(mode: Mode) -> Router {
    let config = SessionConfig::default();
    routes().layer(
        layer(match mode {
            Mode::Signed => config.with_key(Key::generate()),
            _ => config,
        })
        .await,
    )
}

pub async fn layer(config: SessionConfig) -> SessionLayer<SessionNullPool> {
    SessionLayer::new(SessionStore::new(None, config).await.expect("a store without a database"))
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

async fn read(session: Session) -> String {
    session.get::<u64>("n").unwrap_or(0).to_string()
}

async fn change(session: Session) -> String {
    let n = session.get::<u64>("n").unwrap_or(0) + 1;
    session.set("n", n);
    n.to_string()
}

async fn same(session: Session) -> String {
    session.set("lang", "en");
    1_u64.to_string()
}

async fn new(session: Session) -> String {
    session.set("profile", profile());
    1_u64.to_string()
}

async fn fill(session: Session, size: Size) -> String {
    for (key, value) in size.data() {
        session.set(&key, value);
    }
    1_u64.to_string()
}

async fn increment(session: Session) -> String {
    let n = session.get::<u64>("n").unwrap_or(0) + 1;
    tokio::task::yield_now().await;
    session.set("n", n);
    n.to_string()
}

async fn side(session: Session, key: &'static str) -> String {
    let _ = session.get::<u64>("n");
    meet().await;
    session.set(key, 1);
    1_u64.to_string()
}

async fn sides(session: Session) -> String {
    SIDES.iter().filter(|side| session.get::<u64>(side).is_some()).count().to_string()
}

async fn late(session: Session) -> String {
    let _ = session.get::<u64>("n");
    meet().await;
    meet().await;
    session.set("late", 1);
    1_u64.to_string()
}

async fn logout(session: Session) -> String {
    session.destroy();
    1_u64.to_string()
}
