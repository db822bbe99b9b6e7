//! The same cuts over the engines. There a call of the store waits for a socket or a thread as well, and what it was
//! about may go on in the engine after the caller has gone.

use std::time::Duration;

use axum_generic_session::{CachedStore, MemoryStore, MySqlStore, PostgresStore, RedisStore, SqliteStore};
use sqlx::{MySqlPool, PgPool};

use crate::{
    figures::size,
    scene::{Pace, at_every_await},
    servers::{
        mariadb::MariaDb,
        postgres::Postgres,
        redis::{Redis, RedisCluster},
    },
};

/// Where the cut falls differs a little from run to run.
fn times() -> usize {
    size(1, 25)
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("sessions.db")).unwrap();
    at_every_await("SQLite", &store, || store.clone(), Pace::WhenWoken, times()).await;
}

#[tokio::test]
async fn redis() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    at_every_await("Redis", &store, || store.clone(), Pace::WhenWoken, times()).await;
}

#[tokio::test]
async fn redis_cluster() {
    let cluster = RedisCluster::start();
    let store = RedisStore::cluster(cluster.urls()).connect().await.unwrap();
    at_every_await("Redis Cluster", &store, || store.clone(), Pace::WhenWoken, times()).await;
}

#[tokio::test]
async fn redis_cached() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let cached = || CachedStore::new(MemoryStore::new(), store.clone(), Duration::from_secs(5));
    at_every_await("Redis, cached", &store, cached, Pace::WhenWoken, times()).await;
}

#[tokio::test]
async fn postgres() {
    let server = Postgres::shared();
    let store = PostgresStore::new(PgPool::connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    at_every_await("PostgreSQL", &store, || store.clone(), Pace::WhenWoken, times()).await;
}

#[tokio::test]
async fn mariadb() {
    let server = MariaDb::shared();
    let store = MySqlStore::new(MySqlPool::connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    at_every_await("MariaDB", &store, || store.clone(), Pace::WhenWoken, times()).await;
}
