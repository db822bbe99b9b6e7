//! What a plan for many sessions needs to know of the engines: bytes per stored session, how a read changes with the
//! number of sessions, and how fast expired ones leave.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use axum_generic_session::{
    Clock, MySqlStore, PostgresStore, RedisStore, SessionId, SqliteStore, StoreKey, SystemClock, Timestamp,
    store::{Record, Store, StoreError, Tag, When, Written},
};
use sqlx::{mysql::MySqlPoolOptions, postgres::PgPoolOptions};

use crate::{
    apps::{Peer, Size},
    report::{Cell, Row, Target},
    servers::{mariadb::MariaDb, postgres::Postgres, redis::Redis},
};

/// Calls at one time.
const UNDER_WAY: usize = 32;
/// Reads that are timed.
const READS: usize = 20_000;
const DAY: Duration = Duration::from_secs(86_400);
/// Rows that one sweep deletes.
const BATCH: u32 = 1000;

/// A tenth of the sessions, then all of them: what grows in between grows with their number.
pub fn rows(sessions: usize) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut rows = on_redis(sessions).await;
        rows.extend(on_sqlite(sessions).await);
        rows.extend(on_postgres(sessions).await);
        rows.extend(on_mariadb(sessions).await);
        rows
    })
}

fn row(engine: &str, what: &str, unit: &'static str, value: f64) -> Row {
    Row::new(format!("{engine}, {what}"), unit, Target::NONE, vec![Cell::of(Peer::Ours, value)])
}

async fn on_redis(sessions: usize) -> Vec<Row> {
    let server = Redis::start();
    let store = RedisStore::connect(&server.url()).await.expect("Redis");
    let used = || server.info("used_memory").parse::<f64>().expect("a number");
    let empty = used();
    let mut rows = grown("Redis", &store, sessions, async || used() - empty).await;
    // The server's own expiry, which no request waits for.
    let expired = || server.info("expired_keys").parse::<usize>().expect("a number");
    // As many as stay: Redis takes its time where fewer than a tenth of the keys are dead.
    let (doomed, before) = (sessions, expired());
    let (life, began) = (Duration::from_secs(60), Instant::now());
    let _ = fill(&store, doomed, SystemClock.now().saturating_add(life)).await;
    tokio::time::sleep(life.saturating_sub(began.elapsed())).await;
    let began = Instant::now();
    while expired() - before < doomed / 2 && began.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = (expired() - before) as f64 / began.elapsed().as_secs_f64();
    rows.push(row("Redis", "expired by the server", "sessions/s", rate));
    rows
}

async fn on_sqlite(sessions: usize) -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("sessions.db");
    let store = SqliteStore::open(&file).expect("SQLite");
    let size = async || std::fs::metadata(&file).map_or(0.0, |file| file.len() as f64);
    let rows = grown("SQLite", &store, sessions, size).await;
    store.close().await;
    rows
}

async fn on_postgres(sessions: usize) -> Vec<Row> {
    let server = Postgres::start(&["fsync=off"]);
    let pool = PgPoolOptions::new().max_connections(8).connect(&server.url()).await.expect("PostgreSQL");
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.expect("a table");
    let size = async || {
        let size = sqlx::query_as("SELECT pg_total_relation_size('axum_sessions')");
        let (bytes,): (i64,) = size.fetch_one(&pool).await.expect("a size");
        bytes as f64
    };
    let mut rows = grown("PostgreSQL", &store, sessions, size).await;
    rows.push(swept("PostgreSQL", &store, sessions / 10, |batch| store.sweep(batch)).await);
    rows
}

async fn on_mariadb(sessions: usize) -> Vec<Row> {
    let server = MariaDb::start(&["innodb_flush_log_at_trx_commit=0", "innodb-buffer-pool-size=512M"]);
    let pool = MySqlPoolOptions::new().max_connections(8).connect(&server.url()).await.expect("MariaDB");
    let store = MySqlStore::new(pool.clone());
    store.migrate().await.expect("a table");
    let size = async || {
        let tablespaces = "SELECT CAST(FILE_SIZE AS SIGNED) FROM information_schema.INNODB_SYS_TABLESPACES \
                           WHERE NAME = 'app/axum_sessions'";
        let (bytes,): (i64,) = sqlx::query_as(tablespaces).fetch_one(&pool).await.expect("a size");
        bytes as f64
    };
    let mut rows = grown("MariaDB", &store, sessions, size).await;
    rows.push(swept("MariaDB", &store, sessions / 10, |batch| store.sweep(batch)).await);
    rows
}

/// Bytes per session, and the time of a read, with a tenth of the sessions and with all of them.
async fn grown(
    engine: &str,
    store: &(impl Store + Clone),
    sessions: usize,
    size: impl AsyncFn() -> f64,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut keys = Vec::new();
    for count in [sessions / 10, sessions] {
        eprintln!("{engine}: {count} sessions");
        keys.extend(fill(store, count - keys.len(), SystemClock.now().saturating_add(DAY)).await);
        let some = format!("{}k sessions", count / 1000);
        rows.push(row(engine, &format!("a session of {some}"), "bytes", size().await / count as f64));
        rows.push(row(engine, &format!("a read of {some}"), "us", reads(store, &keys).await));
    }
    rows
}

async fn fill(store: &(impl Store + Clone), count: usize, expires_at: Timestamp) -> Vec<StoreKey> {
    let data = Bytes::from(serde_json::to_vec(&Size::Small.data()).expect("JSON"));
    let tasks: Vec<_> = (0..UNDER_WAY)
        .map(|task| {
            let (store, data) = (store.clone(), data.clone());
            tokio::spawn(async move {
                let mut keys = Vec::new();
                for _ in (task..count).step_by(UNDER_WAY) {
                    let key = StoreKey::hashed("axum:sess:", &SessionId::random());
                    let record =
                        Record { tag: Tag::random(), expires_at, principal: None, data: data.clone() };
                    let written = store.set(&key, &record, When::Absent).await.expect("the engine");
                    assert_eq!(written, Written::Done);
                    keys.push(key);
                }
                keys
            })
        })
        .collect();
    let mut keys = Vec::with_capacity(count);
    for task in tasks {
        keys.extend(task.await.expect("writes"));
    }
    keys
}

/// Microseconds of a read, one after another, of sessions from all over.
async fn reads(store: &impl Store, keys: &[StoreKey]) -> f64 {
    let mut times = Vec::with_capacity(READS);
    let mut at = 0;
    for _ in 0..READS {
        // A step that has no divisor in common with any round number.
        at = (at + 7_368_787) % keys.len();
        let began = Instant::now();
        assert!(store.get(&keys[at]).await.expect("the engine").is_some());
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    crate::report::median(times)
}

/// Rows a second that one sweeper deletes.
async fn swept<F: Future<Output = Result<u64, StoreError>>>(
    engine: &str,
    store: &(impl Store + Clone),
    count: usize,
    sweep: impl Fn(u32) -> F,
) -> Row {
    // Long enough to write them all before they expire: what has expired already is not stored.
    let (life, began) = (Duration::from_secs(60), Instant::now());
    let _ = fill(store, count, SystemClock.now().saturating_add(life)).await;
    tokio::time::sleep(life.saturating_sub(began.elapsed())).await;
    let (mut rows, mut took) = (0, Duration::ZERO);
    loop {
        let began = Instant::now();
        let batch = sweep(BATCH).await.expect("the engine");
        took += began.elapsed();
        rows += batch;
        if batch == 0 {
            return row(engine, "swept by one sweeper", "sessions/s", rows as f64 / took.as_secs_f64());
        }
    }
}
