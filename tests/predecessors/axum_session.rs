//! axum_session with its Redis pool.

use std::time::Duration;

use axum::{Router, extract::Query, routing::get};
use axum_generic_session::{
    Clock, Error, Key, Map, RedisStore, Session, SessionId, SessionLayer, SystemClock,
    redis::{self, AsyncCommands, aio::MultiplexedConnection},
    store::{Legacy, Predecessor, StoreError},
    testing::Client,
};
use axum_session_redispool::SessionRedisPool;
use serde_json::Value;

use crate::servers::redis::Redis;

/// The application as it was: `/?user=ada` signs in.
async fn before(redis: &Redis, config: axum_session::SessionConfig) -> Router {
    async fn home(session: axum_session::Session<SessionRedisPool>, Query(query): Query<Map>) -> String {
        for (key, value) in query {
            session.set(&key, value);
        }
        session.get::<String>("user").unwrap_or_default()
    }
    let client = redis::Client::open(redis.url()).expect("an address");
    let pool = SessionRedisPool::from(redis_pool::RedisPool::from(client));
    let store = axum_session::SessionStore::new(Some(pool), config).await.expect("a store");
    Router::new().route("/", get(home)).layer(axum_session::SessionLayer::new(store))
}

/// Where axum_session keeps its sessions in Redis: under `<table>:<id>`.
struct Before(MultiplexedConnection);

impl Predecessor for Before {
    async fn find(&self, id: &SessionId) -> Result<Option<Legacy>, StoreError> {
        let key = format!("sessions:{}", id.expose());
        let mut pipe = redis::pipe();
        pipe.get(&key).pttl(&key);
        let found: (Option<String>, i64) =
            pipe.query_async(&mut self.0.clone()).await.map_err(StoreError::unavailable)?;
        let (Some(text), Ok(left)) = (found.0, u64::try_from(found.1)) else { return Ok(None) };
        let end = SystemClock.now().saturating_add(Duration::from_millis(left));
        Legacy::axum_session(&text, end).map(Some)
    }

    async fn remove(&self, id: &SessionId) -> Result<(), StoreError> {
        let key = format!("sessions:{}", id.expose());
        self.0.clone().del(key).await.map_err(StoreError::in_doubt)
    }
}

async fn now(redis: &Redis) -> SessionLayer {
    let client = redis::Client::open(redis.url()).expect("an address");
    let old = client.get_multiplexed_async_connection().await.expect("a connection");
    let store = RedisStore::connect(&redis.url()).await.expect("a store");
    SessionLayer::new(store).name("session").take_over(Before(old))
}

async fn home(session: Session, Query(query): Query<Map>) -> Result<String, Error> {
    session.update(|s| s.extend(query)).await?;
    let user = session.value::<Value>("user").await?;
    Ok(user.map_or_else(String::new, |user| user.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_axum_session_stay_signed_in() {
    let redis = tokio::task::spawn_blocking(Redis::start).await.expect("a Redis");
    let key = Key::generate();
    let plain = axum_session::SessionConfig::default;
    // Their signature is that of the `cookie` crate, unless the visitor's address and browser are mixed in.
    let signed = || plain().with_key(key.clone()).with_ip_and_user_agent(false);
    for (config, keys) in [(plain(), None), (signed(), Some(&key))] {
        let mut visitor = Client::new(before(&redis, config).await);
        let _ = visitor.get("/?user=ada&cart=%C3%A9").await.expect_status(200);
        assert_eq!(redis.run::<Vec<String>>(&["KEYS", "sessions:*"]).len(), 1);
        let layer = now(&redis).await;
        let layer = match keys {
            Some(key) => layer.keys([key]),
            None => layer,
        };
        let mut after = Client::new(Router::new().route("/", get(home)).layer(layer));
        after.set_cookie("session", visitor.cookie("session").expect("their cookie"));
        for path in ["/", "/?theme=dark", "/"] {
            assert_eq!(after.get(path).await.expect_status(200).text(), "\"ada\"", "{path}");
        }
        assert_eq!(redis.run::<Vec<String>>(&["KEYS", "sessions:*"]), [""; 0], "it has moved");
        let _: () = redis.run(&["FLUSHALL"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_over_address_and_browser_is_no_session() {
    let redis = tokio::task::spawn_blocking(Redis::start).await.expect("a Redis");
    let key = Key::generate();
    let config = axum_session::SessionConfig::default().with_key(key.clone());
    let mut visitor = Client::new(before(&redis, config).await);
    let request = axum::http::Request::get("/?user=ada").header("user-agent", "a browser");
    let _ = visitor.send(request.body(axum::body::Body::empty())).await.expect_status(200);
    let layer = now(&redis).await.keys([&key]);
    let mut after = Client::new(Router::new().route("/", get(home)).layer(layer));
    after.set_cookie("session", visitor.cookie("session").expect("their cookie"));
    assert_eq!(after.get("/").await.expect_status(200).text(), "");
}
