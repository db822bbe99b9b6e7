//! The Redis store when things go wrong: every fault is made with a real server or at the byte, by a proxy.
//! "At once" is shown by limits that are far longer than what the test waits.
#![cfg(feature = "redis-store")]
#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod away;
mod cuts;
mod demoted;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../kit/mod.rs"]
mod kit;
mod refused;
#[path = "../servers/mod.rs"]
mod servers;
mod slow;

use std::time::Duration;

use axum_generic_session::{
    RedisStore, StoreKey,
    store::{Applied, Connection, Record, Store, StoreError, StoreErrorKind, When},
};
use kit::{HOUR, key, record};
use servers::{proxy::Proxy, redis::Redis};
use tokio::{sync::watch, time::timeout};

/// Longer than any test waits, so that what comes back earlier has not waited for it.
const NEVER: Duration = Duration::from_secs(300);
/// Longer than anything takes that does not wait for [`NEVER`].
const SOON: Duration = Duration::from_secs(30);
const NO: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);
const UNKNOWN: StoreErrorKind = StoreErrorKind::Unavailable(Applied::Unknown);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it hangs")
}

fn kind<T>(answer: Result<T, StoreError>) -> Option<StoreErrorKind> {
    answer.err().map(|error| error.kind())
}

async fn becomes(status: &mut watch::Receiver<Connection>, connected: bool) -> Connection {
    let wanted = |now: &Connection| (*now == Connection::Connected) == connected;
    *soon(status.wait_for(wanted)).await.expect("the store is there")
}

/// A server behind a proxy, a store that will not wait, and a session in it.
struct Scene {
    server: Redis,
    proxy: Proxy,
    store: RedisStore,
    status: watch::Receiver<Connection>,
    key: StoreKey,
    before: Record,
}

impl Scene {
    async fn set() -> Self {
        let server = Redis::start();
        let proxy = Proxy::to(server.port()).await;
        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let store = RedisStore::builder(url).time_limit(NEVER).connect().await.unwrap();
        let status = store.connection().unwrap();
        let (key, before) = (key(), record("before"));
        // Each script once, so that what follows is one request.
        store.touch(&key, before.expires_at).await.unwrap();
        store.set(&key, &before, When::Present).await.unwrap();
        store.rotate(&key, When::Present, &self::key(), &before).await.unwrap();
        store.set(&key, &before, When::Absent).await.unwrap();
        Self { server, proxy, store, status, key, before }
    }

    /// As after the next request of the same visitor.
    async fn reconnected(&mut self) {
        becomes(&mut self.status, true).await;
    }

    async fn stored(&self) -> Option<Record> {
        soon(self.store.get(&self.key)).await.unwrap()
    }
}
