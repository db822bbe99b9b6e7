//! The engines, set to lose nothing that they have acknowledged, and what happens to them.

use std::{future::Future, time::Duration};

use axum::{Json, Router, extract::Path, routing::get};
use axum_generic_session::{
    Error, Map, MySqlStore, PostgresStore, RedisStore, Session, SessionLayer, SqliteStore, Store,
    testing::Client,
};
use rand::Rng;
use sqlx::{mysql::MySqlPoolOptions, postgres::PgPoolOptions};
use tokio::time::sleep;

use crate::{
    Nodes,
    servers::{mariadb::MariaDb, postgres::Postgres, proxy::Proxy, redis::Redis},
};

pub trait Engine {
    fn name(&self) -> &'static str;

    /// Another node of the site.
    fn node(&self) -> impl Future<Output = Router>;

    /// The next mishap, and its end.
    fn fault(&mut self, number: usize, nodes: &Nodes) -> impl Future<Output = ()>;

    /// Waits until the engine answers every node again.
    fn settle(&mut self, nodes: &Nodes) -> impl Future<Output = ()> {
        async {
            for number in 0..2 {
                let node = nodes.lock().expect("no panic holds it")[number].clone();
                let mut tries = 0;
                while Client::new(node.clone()).get("/set/a/1").await.status != 200 {
                    tries += 1;
                    assert!(tries < 200, "{} does not come back", self.name());
                    sleep(Duration::from_millis(100)).await;
                }
            }
            // What was under way inside the engine is over by now.
            sleep(Duration::from_secs(1)).await;
        }
    }
}

fn site(store: impl Store) -> Router {
    let layer = SessionLayer::new(store)
        .operation_timeout(Duration::from_secs(1))
        .reconnect_timeout(Duration::from_secs(2));
    Router::new()
        .route("/", get(read))
        .route("/set/{key}/{value}", get(set))
        .route("/renew", get(|session: Session| async move { session.renew().await }))
        .route("/logout", get(|session: Session| async move { session.destroy() }))
        .layer(layer)
}

async fn read(session: Session) -> Result<Json<Map>, Error> {
    Ok(Json(session.get().await?.as_ref().clone()))
}

async fn set(session: Session, Path((key, value)): Path<(String, u64)>) -> Result<(), Error> {
    session.insert(&key, value).await
}

/// What a network does; each is over when this returns.
async fn trouble(proxy: &Proxy, number: usize) {
    let moment = Duration::from_millis(rand::thread_rng().gen_range(100..1500));
    match number % 4 {
        0 => proxy.reset(),
        1 => {
            proxy.refuse(true);
            sleep(moment).await;
            proxy.refuse(false);
        }
        2 => {
            proxy.black_hole(true);
            sleep(moment).await;
            proxy.black_hole(false);
        }
        _ => {
            proxy.delay(Duration::from_millis(50));
            sleep(moment).await;
            proxy.delay(Duration::ZERO);
        }
    }
}

/// How often, of three faults, it is the server itself.
fn is_a_crash(number: usize) -> bool {
    number.is_multiple_of(3)
}

pub struct OverRedis(Redis, Proxy);

impl OverRedis {
    pub async fn start() -> Self {
        Self::over(Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])).await
    }

    /// Nothing of it is ever on disk.
    pub async fn that_forgets() -> Self {
        Self::over(Redis::start()).await
    }

    async fn over(redis: Redis) -> Self {
        let proxy = Proxy::to(redis.port()).await;
        Self(redis, proxy)
    }
}

impl Engine for OverRedis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    async fn node(&self) -> Router {
        let url = format!("redis://127.0.0.1:{}", self.1.port());
        site(RedisStore::connect(&url).await.expect("Redis"))
    }

    async fn fault(&mut self, number: usize, _: &Nodes) {
        match number % 6 {
            0 => tokio::task::block_in_place(|| {
                self.0.kill();
                self.0.launch();
            }),
            3 => {
                self.0.signal("STOP");
                sleep(Duration::from_millis(1500)).await;
                self.0.signal("CONT");
            }
            _ => trouble(&self.1, number).await,
        }
    }
}

pub struct OverPostgres(Postgres, Proxy);

impl OverPostgres {
    pub async fn start() -> Self {
        let postgres = Postgres::start(&["max_connections=100"]);
        let proxy = Proxy::to(postgres.port()).await;
        Self(postgres, proxy)
    }
}

impl Engine for OverPostgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    async fn node(&self) -> Router {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.1.port());
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(1));
        let store = PostgresStore::new(pool.connect_lazy(&url).expect("a URL"));
        store.migrate().await.expect("a table");
        site(store)
    }

    async fn fault(&mut self, number: usize, _: &Nodes) {
        if is_a_crash(number) {
            tokio::task::block_in_place(|| {
                self.0.kill();
                self.0.restart();
            });
        } else {
            trouble(&self.1, number).await;
        }
    }
}

pub struct OverMariaDb(MariaDb, Proxy);

impl OverMariaDb {
    pub async fn start() -> Self {
        let mariadb = MariaDb::start(&["max_connections=100"]);
        let proxy = Proxy::to(mariadb.port()).await;
        Self(mariadb, proxy)
    }
}

impl Engine for OverMariaDb {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    async fn node(&self) -> Router {
        let url = format!("mysql://root@127.0.0.1:{}/app", self.1.port());
        let pool = MySqlPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(1));
        let store = MySqlStore::new(pool.connect_lazy(&url).expect("a URL"));
        store.migrate().await.expect("a table");
        site(store)
    }

    async fn fault(&mut self, number: usize, _: &Nodes) {
        if is_a_crash(number) {
            tokio::task::block_in_place(|| {
                self.0.kill();
                self.0.restart();
            });
        } else {
            trouble(&self.1, number).await;
        }
    }
}

pub struct OverSqlite(tempfile::TempDir);

impl OverSqlite {
    pub fn start() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("sessions.db")
    }
}

impl Engine for OverSqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    async fn node(&self) -> Router {
        let store = SqliteStore::builder(self.file()).busy_timeout(Duration::from_millis(500));
        site(store.open().expect("a file"))
    }

    /// Another program holds the file, or a node is replaced under way. (kill -9: tests/sqlite/crash.rs)
    async fn fault(&mut self, number: usize, nodes: &Nodes) {
        if number.is_multiple_of(2) {
            let other = rusqlite::Connection::open(self.file()).expect("the file");
            other.busy_timeout(Duration::from_secs(10)).expect("a setting");
            other.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
            sleep(Duration::from_millis(rand::thread_rng().gen_range(100..1500))).await;
            other.execute_batch("ROLLBACK").expect("its end");
        } else {
            let node = self.node().await;
            nodes.lock().expect("no panic holds it")[number / 2 % 2] = node;
        }
    }
}
