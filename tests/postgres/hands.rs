//! Connections that go from call to call, and the application's own queries on the same pool.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use axum_generic_session::{
    StoreKey,
    store::{PostgresStore, Store, When, Written},
};
use futures_util::future::join_all;
use sqlx::postgres::PgPoolOptions;
use tokio::time::timeout;

use crate::{
    kit::{key as fresh, record},
    servers::postgres::Postgres,
    sql::Engine,
};

/// Far more than any of this takes, far less than forever.
const LONG: Duration = Duration::from_secs(60);

async fn store_of(connections: u32, server: &Postgres, schema: &str) -> (sqlx::PgPool, PostgresStore) {
    let pool = Postgres::pool(server.port(), connections, "");
    let store = Postgres::store_on(pool.clone(), schema);
    store.migrate().await.unwrap();
    (pool, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_own_queries_have_their_turn() {
    let server = Postgres::shared();
    let (pool, store) = store_of(1, &server, "turns").await;
    let (key, stop) = (fresh(), AtomicBool::new(false));
    assert_eq!(store.set(&key, &record("here"), When::Absent).await.unwrap(), Written::Done);
    let busy = || calls_until(&stop, &store, &key);
    let application = async {
        for _ in 0..20 {
            let own = sqlx::query("SELECT 1").execute(&pool);
            timeout(LONG, own).await.expect("a turn").unwrap();
        }
        stop.store(true, Relaxed);
    };
    tokio::join!(busy(), busy(), busy(), application);
}

async fn calls_until(stop: &AtomicBool, store: &PostgresStore, key: &StoreKey) {
    while !stop.load(Relaxed) {
        assert!(store.get(key).await.unwrap().is_some());
    }
}

/// A call that was cut off in the middle of its statement hands nothing on: what is left of its answer would be
/// taken for another's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_off_is_nobody_elses() {
    let server = Postgres::shared();
    let (_, store) = store_of(2, &server, "cut_off").await;
    let keys: Vec<_> = (0..8).map(|_| fresh()).collect();
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(store.set(key, &record(i.to_string()), When::Absent).await.unwrap(), Written::Done);
    }
    let calls = keys.iter().enumerate().map(|(i, key)| {
        let store = store.clone();
        async move {
            for round in 0..200_u32 {
                // Each time a little further into the call.
                let soon = Duration::from_micros(u64::from(round % 20) * 50);
                if let Ok(answer) = timeout(soon, store.get(key)).await {
                    assert_eq!(answer.unwrap().expect("it is there").data, record(i.to_string()).data);
                }
            }
        }
    });
    timeout(LONG, join_all(calls)).await.expect("an end");
}

/// All of the pool's connections broke while they were idle: each of the next calls finds a good one.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_every_call_is_answered() {
    let mut server = Postgres::start(&["fsync=off"]);
    let pool =
        PgPoolOptions::new().min_connections(6).max_connections(6).connect(&server.url()).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    let (key, before) = (fresh(), record("before"));
    assert_eq!(store.set(&key, &before, When::Absent).await.unwrap(), Written::Done);
    server.kill();
    server.restart();
    let answers = (0..24).map(|_| store.get(&key));
    for answer in timeout(LONG, join_all(answers)).await.expect("answers") {
        assert_eq!(answer.unwrap().as_ref(), Some(&before));
    }
}
