//! Redis behind a memory of each node's own: what it costs is counted at the server, and a session ends for all.
#![cfg(all(feature = "memory-store", feature = "redis-store", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod servers;

use std::time::Duration;

use axum::{Router, routing::get};
use axum_generic_session::{
    CachedStore, Clock, Error, Map, MemoryStore, RedisStore, Session, SessionLayer, SystemClock,
    testing::{Client, ManualClock},
};
use serde_json::Value;
use servers::redis::Redis;

const STALENESS: Duration = Duration::from_secs(2);
const COOKIE: &str = "axum.sid";

/// Both nodes see the time of the test; Redis has its own, which is the same to begin with.
fn clock() -> ManualClock {
    let clock = ManualClock::new();
    clock.set(SystemClock.now());
    clock
}

async fn node(server: &Redis, clock: &ManualClock) -> Client {
    async fn name(session: Session) -> Result<String, Error> {
        let n = session.value::<u64>("n").await?;
        Ok(n.map(|n| n.to_string()).unwrap_or_default())
    }
    async fn add(session: Session) -> Result<(), Error> {
        let more = |map: &mut Map| {
            let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
            map.insert("n".into(), n.into());
        };
        session.transact(more).await
    }
    let front = MemoryStore::new().clock(clock.clone());
    let back = RedisStore::builder(server.url()).time_limit(Duration::from_secs(20)).connect().await.unwrap();
    let store = CachedStore::new(front, back, STALENESS).clock(clock.clone());
    let pages = Router::new()
        .route("/", get(name))
        .route("/add", get(add))
        .route("/renew", get(|session: Session| async move { session.renew().await }))
        .route("/logout", get(|session: Session| async move { session.destroy() }));
    let layer = SessionLayer::new(store).operation_timeout(Duration::from_secs(20));
    Client::new(pages.layer(layer.reconnect_timeout(Duration::ZERO)))
}

/// Two nodes, and one visitor with a session on both.
async fn site(server: &Redis, clock: &ManualClock) -> (Client, Client) {
    let (mut here, mut there) = (node(server, clock).await, node(server, clock).await);
    let _ = here.get("/add").await.expect_status(200);
    there.set_cookie(COOKIE, here.cookie(COOKIE).unwrap());
    assert_eq!(there.get("/").await.expect_status(200).text(), "1", "a login is seen at once");
    (here, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_cost_no_round_trip_and_a_logout_is_seen_in_time() {
    let (server, clock) = (Redis::start(), clock());
    let (mut here, mut there) = site(&server, &clock).await;
    server.reset_calls();
    for _ in 0..100 {
        assert_eq!(there.get("/").await.expect_status(200).text(), "1");
    }
    let session_calls = || {
        let names = ["get", "set", "evalsha", "eval", "del"];
        server.calls().into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(session_calls(), [], "a hundred reads");
    clock.advance(STALENESS);
    assert_eq!(there.get("/").await.expect_status(200).text(), "1");
    assert_eq!(session_calls(), [("get".to_owned(), 1)], "and one that is no longer fresh");

    let _ = here.get("/logout").await.expect_status(200);
    // A copy shows it still; nothing can be done with it.
    assert_eq!(there.clone().get("/").await.expect_status(200).text(), "1");
    let late = there.clone().get("/add").await.expect_status(409);
    assert_eq!(late.set_cookies(), [""; 0]);
    assert_eq!(there.get("/").await.expect_status(200).text(), "", "the refusal has taken the copy away");
    assert_eq!(server.try_run::<usize>(&["DBSIZE"]).unwrap(), 0);

    let (mut here, mut there) = site(&server, &clock).await;
    let _ = here.get("/renew").await.expect_status(200);
    clock.advance(STALENESS);
    assert_eq!(there.get("/").await.expect_status(200).text(), "", "the old id is dead");
    there.set_cookie(COOKIE, here.cookie(COOKIE).unwrap());
    assert_eq!(there.get("/").await.expect_status(200).text(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_on_old_copies_are_not_lost() {
    let (server, clock) = (Redis::start(), clock());
    let (mut here, mut there) = site(&server, &clock).await;
    for n in 1..=50 {
        // Each has a copy of its own from before the other's change, and time stands still.
        let _ = here.get("/").await.expect_status(200);
        let _ = there.get("/").await.expect_status(200);
        let (one, other) = tokio::join!(here.get("/add"), there.get("/add"));
        let _ = (one.expect_status(200), other.expect_status(200));
        clock.advance(STALENESS);
        assert_eq!(here.get("/").await.expect_status(200).text(), (1 + 2 * n).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nobody_is_logged_out_and_nothing_is_saved() {
    let (mut server, clock) = (Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]), clock());
    let (mut here, _) = site(&server, &clock).await;
    assert_eq!(here.get("/").await.expect_status(200).text(), "1");
    server.kill();
    clock.advance(STALENESS);
    for path in ["/", "/add", "/logout"] {
        let answer = here.clone().get(path).await.expect_status(503);
        assert_eq!(answer.set_cookies(), [""; 0], "{path}");
    }
    server.launch();
    let waiting = async {
        while here.get("/").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the store is back");
    assert_eq!(here.get("/").await.expect_status(200).text(), "1");
}
