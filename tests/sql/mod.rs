//! What every engine of SQL must pass, written once. `tests/postgres` and `tests/mysql` say what they are
//! (`Engine`) and list these tests; one that an engine forgets is dead code in its crate, which the lints refuse.

pub mod contract;
pub mod doubt;
pub mod faults;
pub mod migrate;
pub mod outages;
pub mod owners;
pub mod sweeps;
pub mod traps;

use std::{future::Future, sync::Arc, time::Duration};

use axum_generic_session::{
    StoreKey,
    store::{ByPrincipal, StoreError, Sweeper, Tag},
};
use sqlx::Database;

/// Functions of this folder as tests of an engine, each under its own name.
macro_rules! tests {
    ($engine:ty: $($module:ident::$test:ident($($word:expr),*),)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $crate::sql::$module::$test::<$engine>($($word),*).await;
        }
    )*};
}
pub(crate) use tests;

/// The levels of isolation, as the standard names them.
pub const LEVELS: [&str; 4] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

pub type Pool<E> = sqlx::Pool<<E as Engine>::Db>;
pub type Connection<E> = <<E as Engine>::Db as Database>::Connection;

/// What the stores of SQL have besides the contract.
pub trait SqlStore: ByPrincipal + Clone {
    fn migrate(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
    fn sweep(&self, batch: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
    fn sweep_every(&self, every: Duration) -> Sweeper;
}

/// A server of the test's own. A `place` is the test's own, too: a table of this name, or a schema.
pub trait Engine: Sized + Send + Sync + 'static {
    type Db: Database;
    type Store: SqlStore;

    /// As the figures name it.
    const NAME: &'static str;

    fn start(settings: &[&str]) -> Self;
    fn shared() -> Arc<Self>;
    fn kill(&mut self);
    fn restart(&mut self);
    fn port(&self) -> u16;
    fn url(&self) -> String;
    fn url_of(&self, user: &str) -> String;

    /// A pool of at most this many connections, each of which first runs `setting`.
    fn pool(port: u16, connections: u32, setting: &str) -> Pool<Self>;
    fn store_on(pool: Pool<Self>, place: &str) -> Self::Store;

    fn table(place: &str) -> String;
    /// Bytes as SQL has them.
    fn bytes(bytes: &[u8]) -> String;
    /// What sets a connection's level of isolation.
    fn isolation(level: &str) -> String;
    /// How many rows it was about.
    async fn run(connection: &mut Connection<Self>, sql: &str) -> u64;
    async fn number(&self, sql: &str) -> i64;
    /// The connections whose statements on this place wait for a lock.
    async fn waiters(&self, place: &str) -> Vec<i64>;

    /// A store that is ready, on a pool of its own.
    fn store_with(&self, place: &str, setting: &str) -> impl Future<Output = Self::Store> + Send {
        let store = Self::store_on(Self::pool(self.port(), 8, setting), place);
        async move {
            store.migrate().await.unwrap();
            store
        }
    }

    fn store(&self, place: &str) -> impl Future<Output = Self::Store> + Send {
        self.store_with(place, "")
    }

    /// A connection of another program.
    async fn other(&self) -> Connection<Self> {
        sqlx::Connection::connect(&self.url()).await.unwrap()
    }

    /// What another program has to say.
    async fn script(&self, sql: &str) {
        Self::run(&mut self.other().await, sql).await;
    }

    async fn waiting(&self, place: &str) -> usize {
        self.waiters(place).await.len()
    }

    async fn rows(&self, place: &str) -> usize {
        self.number(&format!("SELECT count(*) FROM {}", Self::table(place))).await.try_into().unwrap()
    }

    /// Another program's transaction that has changed, and so locked, a record.
    async fn locked(&self, place: &str, key: &StoreKey, tag: Tag) -> Connection<Self> {
        let (table, id) = (Self::table(place), Self::bytes(&key.digest()));
        let tag = i64::from_be_bytes(*tag.as_bytes());
        let update = format!("UPDATE {table} SET tag = {tag}, data = 'theirs' WHERE id = {id}");
        self.begun(&update).await
    }

    /// Another program's transaction that has begun with a statement about one row.
    async fn begun(&self, statement: &str) -> Connection<Self> {
        let mut other = self.other().await;
        Self::run(&mut other, "BEGIN").await;
        assert_eq!(Self::run(&mut other, statement).await, 1);
        other
    }
}

/// The pool, with less patience where there is no connection to be had.
pub fn impatient<DB: Database>(pool: sqlx::Pool<DB>, patience: Duration) -> sqlx::Pool<DB> {
    let options = pool.options().clone().acquire_timeout(patience);
    options.connect_lazy_with(pool.connect_options().as_ref().clone())
}
