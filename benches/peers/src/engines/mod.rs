//! Requests per second in process over real engines: this crate's stores beside tower-sessions'. Both have the same
//! server, the same settings of durability and as many connections as their stores like to have.

mod tower_sessions;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::HeaderValue};
use axum_generic_session::{MySqlStore, PostgresStore, RedisStore, SessionLayer, SqliteStore, store::Store};
use sqlx::{mysql::MySqlPoolOptions, postgres::PgPoolOptions, sqlite};
use tower_sessions_redis_store::fred::{self, prelude::ClientLike};

use crate::{
    apps::{Peer, Size, call, ours, visitors},
    report::{Cell, Row, Target, median},
    servers::{mariadb::MariaDb, postgres::Postgres, redis::Redis},
};

/// Requests at one time.
const UNDER_WAY: usize = 16;
/// A multiple of it, so that each task has visitors of its own.
const VISITORS: usize = 1024;
/// Of both SQL pools.
const CONNECTIONS: u32 = 8;

/// One engine: its name, the least of tower-sessions' rate for reads and for changes, and the two applications.
struct Contest {
    name: &'static str,
    least: [f64; 2],
    apps: [(Peer, Router); 2],
}

pub fn rows(rounds: usize, slice: Duration) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut rows = Vec::new();
        let redis = Redis::start();
        rows.extend(on_redis(&redis).await.rows(rounds, slice).await);
        drop(redis);
        let folder = tempfile::tempdir().expect("a temporary folder");
        rows.extend(on_sqlite(folder.path()).await.rows(rounds, slice).await);
        let postgres = Postgres::start(&[]);
        rows.extend(on_postgres(&postgres).await.rows(rounds, slice).await);
        drop(postgres);
        let mariadb = MariaDb::start(&[]);
        rows.extend(on_mariadb(&mariadb).await.rows(rounds, slice).await);
        rows
    })
}

fn ours(store: impl Store) -> (Peer, Router) {
    (Peer::Ours, ours::routes().layer(SessionLayer::new(store).defer(true)).with_state(()))
}

fn theirs(store: impl tower_sessions_014::SessionStore + Clone) -> (Peer, Router) {
    (Peer::TowerSessions, tower_sessions::app(store).with_state(()))
}

async fn on_redis(server: &Redis) -> Contest {
    let store = RedisStore::connect(&server.url()).await.expect("Redis");
    let config = fred::prelude::Config::from_url(&server.url()).expect("a URL");
    // As in its documentation.
    let pool = fred::prelude::Pool::new(config, None, None, None, 6).expect("a pool");
    drop(pool.connect());
    pool.wait_for_connect().await.expect("Redis");
    let their_store = tower_sessions_redis_store::RedisStore::new(pool);
    Contest { name: "Redis", least: [1.2, 1.0], apps: [ours(store), theirs(their_store)] }
}

async fn on_sqlite(folder: &std::path::Path) -> Contest {
    let store = SqliteStore::open(folder.join("ours.db")).expect("SQLite");
    // The settings that our store makes by itself: without them each change is an fsync of the whole file.
    let options = sqlite::SqliteConnectOptions::new()
        .filename(folder.join("theirs.db"))
        .create_if_missing(true)
        .journal_mode(sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlite::SqliteSynchronous::Full);
    let pool = sqlite::SqlitePoolOptions::new().max_connections(CONNECTIONS);
    let pool = pool.connect_with(options).await.expect("SQLite");
    let their_store = tower_sessions_sqlx_store::SqliteStore::new(pool);
    their_store.migrate().await.expect("a table");
    Contest { name: "SQLite", least: [1.3, 1.2], apps: [ours(store), theirs(their_store)] }
}

async fn on_postgres(server: &Postgres) -> Contest {
    let pool = || async {
        let pool = PgPoolOptions::new().min_connections(CONNECTIONS).max_connections(CONNECTIONS);
        pool.connect(&server.url()).await.expect("PostgreSQL")
    };
    let store = PostgresStore::new(pool().await);
    store.migrate().await.expect("a table");
    let their_store = tower_sessions_sqlx_store::PostgresStore::new(pool().await);
    their_store.migrate().await.expect("a table");
    Contest { name: "PostgreSQL", least: [1.1, 0.9], apps: [ours(store), theirs(their_store)] }
}

async fn on_mariadb(server: &MariaDb) -> Contest {
    let pool = || async {
        let pool = MySqlPoolOptions::new().min_connections(CONNECTIONS).max_connections(CONNECTIONS);
        pool.connect(&server.url()).await.expect("MariaDB")
    };
    let store = MySqlStore::new(pool().await);
    store.migrate().await.expect("a table");
    let their_store = tower_sessions_sqlx_store::MySqlStore::new(pool().await);
    their_store.migrate().await.expect("a table");
    Contest { name: "MariaDB", least: [1.1, 0.9], apps: [ours(store), theirs(their_store)] }
}

impl Contest {
    async fn rows(mut self, rounds: usize, slice: Duration) -> Vec<Row> {
        let mut cookies = Vec::new();
        for (_, app) in &mut self.apps {
            cookies.push(Arc::new(visitors(app, Size::Small, VISITORS).await));
        }
        let mut rows = Vec::new();
        for ((what, path), least) in [("read", "/read"), ("change", "/change")].into_iter().zip(self.least) {
            eprintln!("{}, {what}", self.name);
            let mut rates = [Vec::new(), Vec::new()];
            for round in 0..rounds {
                for turn in 0..2 {
                    let i = (round + turn) % 2;
                    rates[i].push(rate(&self.apps[i].1, path, &cookies[i], slice).await);
                }
            }
            let cells = self.apps.iter().zip(rates).map(|((peer, _), rates)| Cell::of(*peer, median(rates)));
            let name = format!("{}, {what}, {UNDER_WAY} under way", self.name);
            rows.push(Row::new(name, "requests/s", Target::ratio(least), cells.collect()));
        }
        rows
    }
}

async fn rate(app: &Router, path: &'static str, cookies: &Arc<Vec<HeaderValue>>, slice: Duration) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let tasks: Vec<_> = (0..UNDER_WAY)
        .map(|task| {
            let (mut app, cookies) = (app.clone(), cookies.clone());
            let (stop, done) = (stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut at = task;
                while !stop.load(Relaxed) {
                    drop(call(&mut app, path, Some(&cookies[at % VISITORS])).await);
                    at += UNDER_WAY;
                    done.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(slice).await;
    stop.store(true, Relaxed);
    for task in tasks {
        task.await.expect("requests");
    }
    done.load(Relaxed) as f64 / began.elapsed().as_secs_f64()
}
