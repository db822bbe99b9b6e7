//! The engines that several nodes of a site share. Each node has a store handle and a layer of its own, so that nothing but
//! the engine connects them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum_generic_session::{
    CachedStore, MemoryStore, MySqlStore, PostgresStore, RedisStore, SessionLayer, SqliteStore, Store,
    StoreKey, Timestamp,
    store::{Record, StoreError, When, Written},
};
use sqlx::{mysql::MySqlPoolOptions, postgres::PgPoolOptions};

use crate::{
    servers::{mariadb::MariaDb, postgres::Postgres, redis::Redis},
    site::Node,
};

/// For how long a front answers.
const STALENESS: Duration = Duration::from_millis(50);

pub struct Engine {
    pub name: &'static str,
    place: Place,
    care: Care,
}

enum Place {
    Memory(MemoryStore),
    Sqlite(tempfile::TempDir),
    Redis(Redis),
    /// Each node with a front of its own.
    Cached(Redis),
    Postgres(Arc<Postgres>, String),
    MariaDb(Arc<MariaDb>, String),
}

/// Whether the conditions of writes reach the engine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Full,
    None,
}

impl Engine {
    pub fn memory() -> Self {
        Self::new("memory", Place::Memory(MemoryStore::new()))
    }

    pub fn sqlite() -> Self {
        Self::new("SQLite", Place::Sqlite(tempfile::tempdir().expect("a folder")))
    }

    pub fn redis() -> Self {
        Self::new("Redis", Place::Redis(Redis::start()))
    }

    pub fn cached() -> Self {
        Self::new("Redis, cached", Place::Cached(Redis::start()))
    }

    pub fn postgres() -> Self {
        Self::new("PostgreSQL", Place::Postgres(Postgres::shared(), a_name()))
    }

    pub fn mariadb() -> Self {
        Self::new("MariaDB", Place::MariaDb(MariaDb::shared(), a_name()))
    }

    fn new(name: &'static str, place: Place) -> Self {
        Self { name, place, care: Care::Full }
    }

    /// The control: the same engine under a store that ignores conditions, as most session stores are.
    pub fn careless(self) -> Self {
        Self { care: Care::None, ..self }
    }

    /// So many nodes of one site.
    pub async fn nodes(&self, count: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.node().await);
        }
        nodes
    }

    async fn node(&self) -> Node {
        match &self.place {
            Place::Memory(store) => self.over(store.clone()),
            Place::Sqlite(folder) => self.over(sqlite(folder)),
            Place::Redis(redis) => self.over(RedisStore::connect(&redis.url()).await.expect("Redis")),
            Place::Cached(redis) => {
                let back = RedisStore::connect(&redis.url()).await.expect("Redis");
                let store = CachedStore::new(MemoryStore::new(), back, STALENESS);
                self.over(store).late_by(STALENESS)
            }
            Place::Postgres(server, schema) => self.over(postgres(server, schema).await),
            Place::MariaDb(server, table) => self.over(mariadb(server, table).await),
        }
    }

    fn over(&self, store: impl Store) -> Node {
        let layer = match self.care {
            Care::Full => SessionLayer::new(store),
            Care::None => SessionLayer::new(Careless(store)),
        };
        // Longer than the default: a machine that others use too is no outage.
        Node::new(layer.operation_timeout(Duration::from_secs(20)))
    }

    /// Removes what has expired, where the engine does not do that by itself.
    pub async fn sweep(&self) {
        match &self.place {
            Place::Memory(_) | Place::Redis(_) | Place::Cached(_) => {}
            Place::Sqlite(folder) => drop(sqlite(folder).sweep(10_000).await.expect("a sweep")),
            Place::Postgres(server, schema) => {
                postgres(server, schema).await.sweep(10_000).await.expect("a sweep");
            }
            Place::MariaDb(server, table) => {
                mariadb(server, table).await.sweep(10_000).await.expect("a sweep");
            }
        }
    }
}

/// A name for a schema or a table that no other test uses.
fn a_name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("nodes_{}", NUMBER.fetch_add(1, Ordering::SeqCst))
}

fn sqlite(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(folder.path().join("sessions.db")).expect("a file")
}

async fn postgres(server: &Postgres, schema: &str) -> PostgresStore {
    let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(20));
    let pool = pool.connect_lazy(&server.url()).expect("a URL");
    let store = PostgresStore::new(pool).schema(schema).expect("a name");
    store.migrate().await.expect("a table");
    store
}

async fn mariadb(server: &MariaDb, table: &str) -> MySqlStore {
    let pool = MySqlPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(20));
    let pool = pool.connect_lazy(&server.url()).expect("a URL");
    let store = MySqlStore::new(pool).table(table).expect("a name");
    store.migrate().await.expect("a table");
    store
}

/// Writes whatever it is given, whatever is there.
struct Careless<S>(S);

impl<S: Store> Store for Careless<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, _: When) -> Result<Written, StoreError> {
        if self.0.set(key, record, When::Absent).await? == Written::Done {
            return Ok(Written::Done);
        }
        self.0.set(key, record, When::Present).await?;
        Ok(Written::Done)
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at).await
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
}
